"""Says in one line why a request failed, of the exceptions of urllib3.

Their own texts hold addresses of Python objects, and name each cause twice.
"""

from __future__ import annotations

import socket
import ssl
from urllib.parse import urlsplit

from urllib3 import exceptions

from kproxy.errors import AccessRefused, Silent, Unreachable
from kproxy.kubernetes.credentials import Settings

CUT_OFF = "the connection ended in the middle of an answer"
_NO_TLS = {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL", "RECORD_LAYER_FAILURE"}
_BROKEN = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)


def failure(
    error: Exception, settings: Settings, *, waited_s: float
) -> AccessRefused | Unreachable:
    """Return what to raise for a failed request. `waited_s`: how long it may wait for bytes."""
    reason = _tls(error)
    if reason and not isinstance(reason, _BROKEN):
        return _refused(reason, settings)
    return unreachable(
        settings,
        _text(error, waited_s),
        through_proxy=isinstance(error, exceptions.ProxyError),
        kind=Silent if _is_silent(_chain(error)) else Unreachable,
    )


def unreachable(
    settings: Settings,
    text: str,
    *,
    through_proxy: bool = False,
    kind: type[Unreachable] = Unreachable,
) -> Unreachable:
    """Return what to raise if there is no complete answer."""
    if settings.proxy and through_proxy:
        host = urlsplit(settings.proxy).netloc.rpartition("@")[2]
        text = f"through the proxy {host}: {text}"
    return kind(
        f"{settings.url}: {text}",
        remedy="see whether the API server runs and can be reached from this node",
    )


def not_authorized(settings: Settings) -> AccessRefused:
    """Return what to raise for the status 401."""
    return AccessRefused(
        [f"{settings.url}: 401 Unauthorized: credentials refused, from {settings.origin}"],
        remedy="renew the token, the client certificate or what the plug-in gives",
    )


def _refused(error: ssl.SSLError, settings: Settings) -> AccessRefused:
    if isinstance(error, ssl.SSLCertVerificationError):
        why = error.verify_message.rstrip(".")
        return AccessRefused(
            [f"{settings.url}: its certificate is not accepted: {why}"],
            remedy="correct certificate-authority, tls-server-name or server in"
            f" {settings.origin}, or renew the server's certificate",
        )
    if error.reason in _NO_TLS:
        return AccessRefused(
            [f"{settings.url}: what answers there does not speak TLS"],
            remedy=f"correct the server, or its port, in {settings.origin}",
        )
    name = (error.reason or "TLS failed").lower().replace("_", " ")
    return AccessRefused(
        [f"{settings.url}: TLS failed: {name}"],
        remedy=f"see whether the client certificate of {settings.origin} is valid",
    )


def _chain(error: BaseException) -> list[BaseException]:
    """Return an error and what has caused it, the innermost last."""
    found: list[BaseException] = []
    pending: list[BaseException] = [error]
    while pending:
        each = pending.pop(0)
        if each not in found:
            found.append(each)
            inside = [*each.args, each.__cause__, getattr(each, "original_error", None)]
            pending += [cause for cause in inside if isinstance(cause, BaseException)]
    return found


def _tls(error: Exception) -> ssl.SSLError | None:
    return next((each for each in _chain(error) if isinstance(each, ssl.SSLError)), None)


def _is_silent(chain: list[BaseException]) -> bool:
    if any(_is_before_the_request(each) for each in chain):
        return False
    return any(isinstance(each, exceptions.ReadTimeoutError | TimeoutError) for each in chain)


def _text(error: Exception, waited_s: float) -> str:
    chain = _chain(error)
    if any(_is_before_the_request(each) for each in chain):
        return "no connection in time"
    if _is_silent(chain):
        return f"nothing came for {waited_s:g} s"
    if any(isinstance(each, _BROKEN) for each in chain):
        return "the connection ended in the middle of TLS"
    for each in reversed(chain):
        if isinstance(each, socket.gaierror):
            return f"its name cannot be resolved: {each.strerror}"
        if isinstance(each, OSError) and each.strerror:
            return each.strerror.lower()
    if any(
        isinstance(each, exceptions.IncompleteRead | exceptions.ProtocolError) for each in chain
    ):
        return CUT_OFF
    last = chain[-1]  # the proxy's answer, or what a later version of urllib3 finds wrong
    return str(last) if isinstance(last, OSError) else type(last).__name__


def _is_before_the_request(error: BaseException) -> bool:
    """Tell whether it took too long to connect, or to agree on TLS."""
    if isinstance(error, TimeoutError):
        return "handshake" in str(error)  # urllib3 calls it a time-out of reading
    return type(error) is exceptions.ConnectTimeoutError  # what derives from it is not about time
