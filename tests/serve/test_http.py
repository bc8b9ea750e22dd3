"""What comes from clients, whole and piece by piece, and what they get."""

from __future__ import annotations

import pytest

from kproxy.serve.http import HEADER_MAX_BYTES, Request, Response, encode, read_request

DATE = "Fri, 02 Jan 2026 03:04:05 GMT"

REQUESTS = [  # received -> method, version
    (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", ("GET", "1.1")),
    (b"GET /healthz?a=b HTTP/1.0\r\n\r\n", ("GET", "1.0")),
    (b"HEAD * HTTP/1.1\r\nHost: x\r\nAccept: */*\r\n\r\n", ("HEAD", "1.1")),
    (b"PUT / HTTP/1.1\r\nContent-Length: 4\r\n\r\nbody", ("PUT", "1.1")),
    (b"GET / HTTP/1.1\nHost: x\n\n", ("GET", "1.1")),  # as people type it
    (b"GET / HTTP/1.1\r\nX-Empty:\r\n\r\n", ("GET", "1.1")),
    (b"GET / HTTP/1.1\r\nX-Latin: \xe9\r\n\r\n", ("GET", "1.1")),
]

REFUSED = [  # received -> status
    (b"\n", 400),
    (b"hello\r\n", 400),
    (b"GET /\r\n", 400),
    (b"GET / HTTP/2.0\r\n", 400),
    (b"GET  / HTTP/1.1\r\n", 400),
    (b"G\xe9T / HTTP/1.1\r\n", 400),
    (b"\x16\x03\x01\x02\x00\x01\x00\n", 400),  # TLS
    (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\n: no name\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\n folded: x\r\n\r\n", 400),
    (b"x" * (HEADER_MAX_BYTES + 1), 431),
    (b"GET / HTTP/1.1\r\nX: " + b"x" * HEADER_MAX_BYTES, 431),
    (b"GET / HTTP/1.1\r\nX: " + b"x" * HEADER_MAX_BYTES + b"\r\n\r\n", 431),
]


@pytest.mark.parametrize(("received", "expected"), REQUESTS)
def test_a_request(received: bytes, expected: tuple[str, str]) -> None:
    method, version = expected
    assert read_request(received) == Request(method=method, version=version)


@pytest.mark.parametrize(("received", "expected"), REQUESTS)
def test_a_request_byte_by_byte(received: bytes, expected: tuple[str, str]) -> None:
    answers = [read_request(received[:length]) for length in range(len(received) + 1)]
    complete = next(n for n, answer in enumerate(answers) if answer)
    assert answers[complete] == Request(method=expected[0], version=expected[1])
    assert len(received) - complete in (0, 4)  # 4: the body, which nobody waits for


@pytest.mark.parametrize(("received", "status"), REFUSED)
def test_what_is_no_request(received: bytes, status: int) -> None:
    answer = read_request(received)
    assert isinstance(answer, Response)
    assert answer.status == status
    assert str(status).encode() in answer.body


OK = Response(status=200, headers=(("X-B", "1"), ("X-A", "2")), body=b"yes")
HEADER = (
    b"HTTP/1.1 200 OK\r\nX-B: 1\r\nX-A: 2\r\nDate: Fri, 02 Jan 2026 03:04:05 GMT\r\n"
    b"Content-Length: 3\r\nConnection: close\r\n\r\n"
)

SENT = [
    (Request(method="GET", version="1.1"), HEADER + b"yes"),
    (Request(method="GET", version="1.0"), HEADER.replace(b"1.1", b"1.0") + b"yes"),
    (Request(method="HEAD", version="1.1"), HEADER),
    (None, HEADER + b"yes"),
]


@pytest.mark.parametrize(("request_", "sent"), SENT)
def test_a_response_on_the_wire(request_: Request | None, sent: bytes) -> None:
    assert encode(OK, request_, DATE) == sent
