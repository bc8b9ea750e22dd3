"""TLS to a server: contexts of Go's strictness, made without a private key in the file system.

The ssl module loads certificates and keys from files only. Those that are no files are put into
memory files, which have no name that could be left behind, whenever this process is killed.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from ssl import SSLContext


class MemoryFiles:
    """Files in memory without a name, until `with` ends.

    Only this process and others of its user, as the one of the client library, can open them.
    """

    def __init__(self) -> None:
        self._open = ExitStack()

    def __enter__(self) -> MemoryFiles:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._open.close()

    def add(self, contents: bytes) -> str:
        """Return the path of a new file."""
        number = os.memfd_create("kproxy")
        file = self._open.enter_context(os.fdopen(number, "wb"))
        file.write(contents)
        file.flush()
        return f"/proc/{os.getpid()}/fd/{number}"


class Unusable(Exception):
    """A file of certificates or keys cannot be used. `field` says which, the text says why."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(reason)
        self.field = field


class Material(Struct, frozen=True):
    """Paths in PEM format. `authority` "": the authorities of the system. `verify` False: any
    server is taken for the right one.
    """

    authority: str = ""
    certificate: str = ""
    key: str = ""
    verify: bool = True


def context(material: Material) -> SSLContext:
    """Return a context for clients. Raises Unusable.

    As with Go an authority need not be self-signed, and Python's newer demands on certificates
    (VERIFY_X509_STRICT) are not made.
    """
    import ssl

    from kproxy.kubernetes.tls_socket import TlsSocket  # with ssl

    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.sslsocket_class = TlsSocket
    made.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    made.hostname_checks_common_name = False
    if not material.verify:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    elif material.authority:
        try:
            made.load_verify_locations(cafile=material.authority)
        except OSError as error:
            raise Unusable("certificate-authority", _reason(error, "certificate")) from None
    else:
        made.load_default_certs()
    if material.certificate:
        try:
            made.load_cert_chain(material.certificate, material.key, password=_ask_nobody)
        except _Encrypted:
            raise Unusable("client-key", "is encrypted") from None
        except OSError as error:
            reason = _reason(error, "certificate with a key")
            raise Unusable("client-certificate or client-key", reason) from None
    return made


class _Encrypted(Exception):
    pass


def _ask_nobody() -> str:  # OpenSSL would ask for it on the terminal
    raise _Encrypted


def _reason(error: OSError, wanted: str) -> str:
    if getattr(error, "reason", None) == "KEY_VALUES_MISMATCH":
        return "the key is not that of the certificate"
    if hasattr(error, "library"):  # an ssl.SSLError
        return f"is not a {wanted} in PEM format"
    return (error.strerror or str(error)).lower()
