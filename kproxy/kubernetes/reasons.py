"""Says in one line why a request failed, of the exceptions of urllib3.

Their own texts hold addresses of Python objects, and name each cause twice.
"""

from __future__ import annotations

import socket
import ssl
from urllib.parse import urlsplit

from urllib3 import exceptions

from kproxy.errors import AccessRefused, Unreachable
from kproxy.kubernetes.credentials import Settings

_NO_TLS = {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL", "RECORD_LAYER_FAILURE"}
_BROKEN = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)


def failure(
    error: Exception, settings: Settings, *, waited_s: float
) -> AccessRefused | Unreachable:
    """Return what to raise for a failed request. `waited_s`: how long it may wait for bytes."""
    reason = _tls(error)
    if reason and not isinstance(reason, _BROKEN):
        return _refused(reason, settings)
    text = _text(error, waited_s)
    if settings.proxy and isinstance(error, exceptions.ProxyError):
        host = urlsplit(settings.proxy).netloc.rpartition("@")[2]
        text = f"through the proxy {host}: {text}"
    return Unreachable(
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


def _text(error: Exception, waited_s: float) -> str:
    chain = _chain(error)
    if any(isinstance(each, exceptions.ConnectTimeoutError) for each in chain):
        return "no connection in time"
    if any(isinstance(each, exceptions.ReadTimeoutError | TimeoutError) for each in chain):
        return f"nothing came for {waited_s:g} s"
    for each in reversed(chain):
        if isinstance(each, socket.gaierror):
            return f"its name cannot be resolved: {each.strerror}"
        if isinstance(each, OSError) and each.strerror:
            return each.strerror.lower()
    if any(
        isinstance(each, exceptions.IncompleteRead | exceptions.ProtocolError) for each in chain
    ):
        return "the connection ended in the middle of an answer"
    last = chain[-1]  # the proxy's answer, or what a later version of urllib3 finds wrong
    return str(last) if isinstance(last, OSError) else type(last).__name__
