"""The certificates of a lab's API: an authority of its own, and a server certificate.

They are made by the program `openssl`: two calls of 8 ms, and nothing stays in memory. (The package
`cryptography` takes 66 ms and 20 MiB to be imported.) The key of the authority is thrown away, so
no other certificate can be made with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from msgspec import Struct

from kproxy.kernel.process import run
from kproxy.resident.records import AUTHORITY

_DAYS = 365
_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
# Not the machine's openssl.cnf, which may add extensions of its own.
_CONFIG = """\
[req]
distinguished_name = name
prompt = no
[name]
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[server]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
authorityKeyIdentifier = keyid
subjectAltName = {names}
"""


class Certificates(Struct, frozen=True):
    """PEM files: of the authority (for clients), of the server, and of the server's key."""

    authority: Path
    server: Path
    key: Path


def make_certificates(
    place: Path, lab: str, hosts: Sequence[str], addresses: Iterable[str]
) -> Certificates:
    """Make the certificates of a lab in its place; they are for these host names and addresses.

    Raises Unsupported if there is no openssl, KernelRefused if it fails.
    """
    made = Certificates(place / AUTHORITY, place / "server.crt", place / "server.key")
    names = [*(f"DNS:{host}" for host in hosts), *(f"IP:{each}" for each in addresses)]
    config, authority_key = place / "openssl.cnf", place / "ca.key"
    config.write_text(_CONFIG.format(names=", ".join(names)))
    common = ("openssl", "req", "-x509", "-config", str(config), "-days", str(_DAYS), *_NEW_KEY)
    try:
        run(
            [
                *common,
                *("-extensions", "authority", "-subj", f"/CN=kproxy-{lab}"),
                *("-keyout", str(authority_key), "-out", str(made.authority)),
            ]
        )
        run(
            [
                *common,
                *("-extensions", "server", "-subj", "/CN=kube-apiserver"),
                *("-CA", str(made.authority), "-CAkey", str(authority_key)),
                *("-keyout", str(made.key), "-out", str(made.server)),
            ]
        )
    finally:
        authority_key.unlink(missing_ok=True)
        config.unlink()
    return made
