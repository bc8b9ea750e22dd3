"""The requests that the page's server answers: who may ask it. Pure."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import NamedTuple

_LOCAL = ("127.0.0.1", "[::1]", "localhost")
_SECURITY = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; object-src 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Refusal(NamedTuple):
    """An answer instead of the one that was asked for."""

    status: int
    text: str


def security_headers() -> dict[str, str]:
    """Return the headers of every answer."""
    return dict(_SECURITY)


def foreign(headers: Mapping[str, str], port: int) -> Refusal | None:
    """Refuse a request that names another host than loopback, or that another site's page makes:
    a name that somebody else points at 127.0.0.1 leads here as well (DNS rebinding).
    """
    own = {f"{host}:{port}" for host in _LOCAL}
    if headers.get("Host", "") not in own:
        return Refusal(421, "this server answers only by its address on loopback\n")
    origin = headers.get("Origin")
    if origin is not None and origin not in {f"http://{host}" for host in own}:
        return Refusal(403, "another site asks\n")
    if headers.get("Sec-Fetch-Site", "none") not in ("same-origin", "none"):
        return Refusal(403, "another site asks\n")
    return None


def without_token(headers: Mapping[str, str], token: str) -> Refusal | None:
    """Refuse a request that does not bear the token."""
    scheme, _, given = headers.get("Authorization", "").partition(" ")
    if scheme == "Bearer" and hmac.compare_digest(given.encode(), token.encode()):
        return None
    return Refusal(401, "the token of the page's address is missing\n")
