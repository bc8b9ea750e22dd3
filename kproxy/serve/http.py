"""Requests and responses of HTTP/1.x, as far as somebody who asks for a status needs them. Pure.

Each connection carries one request; its body, if any, is not looked at.
"""

from __future__ import annotations

import re

from msgspec import Struct

HEADER_MAX_BYTES = 16384  # Go's server, and so kube-proxy, allows a megabyte

_REQUEST_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) (\S+) HTTP/(1\.[01])\r?\n")
_HEADER_LINE = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\n]*")
_END = re.compile(rb"\r?\n\r?\n")
_REASONS = {
    200: "OK",
    400: "Bad Request",
    431: "Request Header Fields Too Large",
    503: "Service Unavailable",
}


class Request(Struct, frozen=True, kw_only=True):
    method: str
    version: str  # 1.0 or 1.1


class Response(Struct, frozen=True, kw_only=True):
    """`headers`: in the order in which they are sent, ahead of those that every response has."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


def read_request(received: bytes) -> Request | Response | None:
    """The request whose header has come in full; None if more must come.

    A Response if this will never be one: what to tell the client.
    """
    line, newline, _ = received.partition(b"\n")
    matched = _REQUEST_LINE.fullmatch(line + newline)
    if newline and not matched:
        return _error(400)
    end = _END.search(received)
    if (end.start() if end else len(received)) > HEADER_MAX_BYTES:
        return _error(431)
    if not matched or not end:
        return None
    fields = received[matched.end() : end.start()].split(b"\n")
    if matched.end() < end.start() and not all(map(_HEADER_LINE.fullmatch, fields)):
        return _error(400)
    return Request(method=matched[1].decode(), version=matched[3].decode())


def encode(response: Response, request: Request | None, date: str) -> bytes:
    """What goes over the wire. `request` None: it could not be read. `date`: as RFC 9110 has it."""
    version = request.version if request else "1.1"
    lines = [
        f"HTTP/{version} {response.status} {_REASONS[response.status]}",
        *(f"{name}: {value}" for name, value in response.headers),
        f"Date: {date}",
        f"Content-Length: {len(response.body)}",
        "Connection: close",
    ]
    header = "\r\n".join([*lines, "", ""]).encode()
    return header if request and request.method == "HEAD" else header + response.body


def _error(status: int) -> Response:
    return Response(
        status=status,
        headers=(("Content-Type", "text/plain; charset=utf-8"),),
        body=f"{status} {_REASONS[status]}".encode(),
    )
