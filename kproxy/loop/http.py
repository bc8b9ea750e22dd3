"""HTTP/1.1, one request and one answer for each connection, read by h11. Pure.

    a server: bytes of a client -> read_request -> Request, Response -> encode -> bytes
    a client: get -> bytes; bytes of a server -> read_answer -> Answer

Readers are given everything received so far, each time that there is more. The first of these
calls imports h11, which takes 20 ms: a process that does not use HTTP does not spend them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from http import HTTPStatus

from msgspec import Struct

from kproxy.errors import BadInput

HEADER_MAX_BYTES = 16384  # Go's server, and so kube-proxy, allows a megabyte
ANSWER_HEADER_MAX_BYTES = 65536
_VERSIONS = (b"1.0", b"1.1")


class Request(Struct, frozen=True, kw_only=True):
    """A request. `target`: path and query. `headers`: by lower-case name; the last of several.

    `body`: "" unless the reader was asked for it.
    """

    method: str
    target: str
    version: str  # 1.0 or 1.1
    headers: Mapping[str, str] = {}
    body: bytes = b""


class Response(Struct, frozen=True, kw_only=True):
    """A response. `headers`: in the order of sending, before those that every response has."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


class Answer(Struct, frozen=True, kw_only=True):
    """An answer, or the part received so far. `status` 0: its header is incomplete or invalid.

    `complete`: all of it was received. `over`: that, or it can no longer become an HTTP answer.
    """

    status: int = 0
    headers: Mapping[str, str] = {}
    body: bytes = b""
    complete: bool = False
    over: bool = False


def read_request(received: bytes, *, body: bool = False) -> Request | Response | None:
    """Return the request once its header is complete, and with `body` its body, too.

    Returns None if more is needed, and a Response for the client if it cannot become a request.
    """
    import h11

    try:
        request = _read_request(received, body)
        line, newline, _ = received.partition(b"\n")
        if request is None and newline:  # one line shows that it is not HTTP; h11 waits for all
            _read_request(line + b"\nHost: x\r\n\r\n", False)
    except h11.RemoteProtocolError as error:
        return _refusal(error.error_status_hint)
    return request


def encode(response: Response, request: Request | None, date: str) -> bytes:
    """Return the bytes of a response. `request` None: it could not be read.

    `date`: in the format of RFC 9110. The version is that of the request, as with Go's server; h11
    would always say HTTP/1.1, and take 55 us for it.
    """
    version = request.version if request else "1.1"
    lines = [
        f"HTTP/{version} {response.status} {HTTPStatus(response.status).phrase}",
        *(f"{name}: {value}" for name, value in response.headers),
        f"Date: {date}",
        f"Content-Length: {len(response.body)}",
        "Connection: close",
    ]
    header = "\r\n".join([*lines, "", ""]).encode()
    return header if request and request.method == "HEAD" else header + response.body


def get(target: str, headers: Sequence[tuple[str, str]]) -> bytes:
    """Return a GET request that asks to close the connection. `headers` must include Host.

    Raises BadInput for a target or a header that HTTP does not allow.
    """
    import h11

    fields = [*headers, ("Connection", "close")]
    try:
        request = h11.Request(method="GET", target=target, headers=fields)
    except (h11.LocalProtocolError, UnicodeEncodeError) as error:
        raise BadInput([f"no request for {target!r}: {error}"]) from None
    return h11.Connection(h11.CLIENT).send(request) or b""


@lru_cache(maxsize=1)  # callers first ask whether the answer is over, and then for its content
def read_answer(received: bytes, *, ended: bool = False) -> Answer:
    """Return the answer to a GET request. `ended`: the server has closed the connection.

    Informational responses (1xx) are passed over, as by Go's client.
    """
    import h11

    connection = h11.Connection(h11.CLIENT, ANSWER_HEADER_MAX_BYTES)
    connection.send(h11.Request(method="GET", target="/", headers=[("Host", "x")]))
    if received:
        connection.receive_data(received)
    if ended:
        connection.receive_data(b"")
    status, headers, body = 0, {}, b""
    complete = over = False
    try:
        while not over:
            event = connection.next_event()
            if isinstance(event, h11.Response):
                status, headers = event.status_code, _by_name(event.headers)
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                complete = over = True
            elif not isinstance(event, h11.InformationalResponse):
                break
    except h11.RemoteProtocolError:
        over = True
    return Answer(status=status, headers=headers, body=body, complete=complete, over=over)


def _read_request(received: bytes, body: bool) -> Request | None:
    """Return the request, None if more is needed. Raises h11.RemoteProtocolError."""
    import h11

    connection = h11.Connection(h11.SERVER, HEADER_MAX_BYTES)
    # One byte over the limit is passed, so that h11 refuses a long header received at once, too.
    header, rest = received[: HEADER_MAX_BYTES + 1], received[HEADER_MAX_BYTES + 1 :]
    if header:  # h11 takes b"" for the end of input
        connection.receive_data(header)
    found = connection.next_event()
    if not isinstance(found, h11.Request):
        return None
    if found.http_version not in _VERSIONS:
        raise h11.RemoteProtocolError("neither HTTP/1.0 nor HTTP/1.1")
    if rest:
        connection.receive_data(rest)
    content = b""
    while body and not isinstance(event := connection.next_event(), h11.EndOfMessage):
        if not isinstance(event, h11.Data):
            return None
        content += event.data
    return Request(
        method=found.method.decode(),
        target=found.target.decode(),
        version=found.http_version.decode(),
        headers=_by_name(found.headers),
        body=content,
    )


def _by_name(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in headers}


def _refusal(status: int) -> Response:
    return Response(
        status=status,
        headers=(("Content-Type", "text/plain; charset=utf-8"),),
        body=f"{status} {HTTPStatus(status).phrase}".encode(),
    )
