"""Requests and answers, received whole and piece by piece, and the responses to them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from kproxy.errors import BadInput
from kproxy.loop.http import (
    ANSWER_HEADER_MAX_BYTES,
    HEADER_MAX_BYTES,
    Answer,
    Request,
    Response,
    encode,
    get,
    read_answer,
    read_request,
)

DATE = "Fri, 02 Jan 2026 03:04:05 GMT"

REQUESTS = [  # received -> method, target, version, fields besides Host
    (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", ("GET", "/", "1.1", {})),
    (b"GET /healthz?a=b HTTP/1.0\r\n\r\n", ("GET", "/healthz?a=b", "1.0", {})),
    (b"HEAD * HTTP/1.1\r\nHost: x\r\nA: */*\r\n\r\n", ("HEAD", "*", "1.1", {"a": "*/*"})),
    (
        b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody",
        ("PUT", "/", "1.1", {"content-length": "4"}),
    ),
    (b"GET / HTTP/1.1\nHost: x\n\n", ("GET", "/", "1.1", {})),  # as typed by hand
    (b"GET / HTTP/1.1\r\nHost: x\r\nX-Empty:\r\n\r\n", ("GET", "/", "1.1", {"x-empty": ""})),
    (
        b"GET / HTTP/1.1\r\nHost: x\r\nX-Latin: \xe9\r\n\r\n",
        ("GET", "/", "1.1", {"x-latin": "\xe9"}),
    ),
    (b"GET / HTTP/1.1\r\nHost: x\r\nA:  b\t\r\nA: c\r\n\r\n", ("GET", "/", "1.1", {"a": "c"})),
    (b"GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n", ("GET", "/", "1.1", {"a": "b c"})),
]

REFUSED = [  # received -> status
    (b"\n", 400),
    (b"hello\r\n", 400),
    (b"GET /\r\n", 400),
    (b"GET / HTTP/2.0\r\n", 400),
    (b"GET  / HTTP/1.1\r\n", 400),
    (b"G\xe9T / HTTP/1.1\r\n", 400),
    (b"\x16\x03\x01\x02\x00\x01\x00\n", 400),  # TLS
    (b"GET / HTTP/1.1\r\nHost: x\r\nno colon\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: x\r\n: no name\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\n folded: x\r\nHost: x\r\n\r\n", 400),
    # Go's server and kube-proxy refuse a request without Host, too.
    (b"GET / HTTP/1.1\r\nX-Empty:\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1, 2\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
    (b"x" * (HEADER_MAX_BYTES + 1), 431),
    (b"GET / HTTP/1.1\r\nX: " + b"x" * HEADER_MAX_BYTES, 431),
    (b"GET / HTTP/1.1\r\nX: " + b"x" * HEADER_MAX_BYTES + b"\r\n\r\n", 431),
]


Expected = tuple[str, str, str, dict[str, str]]


def request(expected: Expected) -> Request:
    method, target, version, fields = expected
    host = {"host": "x"} if version == "1.1" else {}
    return Request(method=method, target=target, version=version, headers=host | fields)


@pytest.mark.parametrize(("received", "expected"), REQUESTS)
def test_a_request(received: bytes, expected: Expected) -> None:
    _, _, body = received.partition(b"\r\n\r\n")
    assert read_request(received) == request(expected)
    assert read_request(received, body=True) == replace(request(expected), body=body)


@pytest.mark.parametrize(("received", "expected"), REQUESTS)
def test_a_request_byte_by_byte(received: bytes, expected: Expected) -> None:
    answers = [read_request(received[:length]) for length in range(len(received) + 1)]
    complete = next(n for n, answer in enumerate(answers) if answer)
    assert answers[complete] == request(expected)
    assert len(received) - complete in (0, 4)  # 4: the body, which need not be complete


CHUNKED = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
BODIES = [
    (REQUESTS[3][0], "PUT"),
    (CHUNKED + b"4\r\nbody\r\n0\r\n\r\n", "POST"),
]


@pytest.mark.parametrize(("received", "method"), BODIES)
def test_a_body_that_is_waited_for(received: bytes, method: str) -> None:
    answers = [read_request(received[:length], body=True) for length in range(len(received) + 1)]
    assert answers[:-1] == [None] * len(received)
    assert isinstance(answers[-1], Request)
    assert answers[-1].method == method


def test_a_body_that_is_none() -> None:
    assert isinstance(read_request(CHUNKED + b"hello\r\n"), Request)
    refusal = read_request(CHUNKED + b"hello\r\n", body=True)
    assert isinstance(refusal, Response)
    assert refusal.status == 400


def test_a_body_may_be_longer_than_a_header() -> None:
    length = 3 * HEADER_MAX_BYTES
    header = f"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n".encode()
    assert isinstance(read_request(header + b"x" * length, body=True), Request)
    assert read_request(header + b"x" * (length - 1), body=True) is None


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
    (Request(method="GET", target="/", version="1.1"), HEADER + b"yes"),
    (Request(method="GET", target="/", version="1.0"), HEADER.replace(b"1.1", b"1.0") + b"yes"),
    (Request(method="HEAD", target="/", version="1.1"), HEADER),
    (None, HEADER + b"yes"),
]


@pytest.mark.parametrize(("request_", "sent"), SENT)
def test_a_response_on_the_wire(request_: Request | None, sent: bytes) -> None:
    assert encode(OK, request_, DATE) == sent


def test_a_request_of_a_client() -> None:
    assert get("/ready", [("Host", "[fd00::1]:80"), ("Accept", "*/*")]) == (
        b"GET /ready HTTP/1.1\r\nHost: [fd00::1]:80\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    )


@pytest.mark.parametrize(("target", "host"), [("/a b", "x"), ("/\xe9", "x"), ("/", "x\r\nA: b")])
def test_what_cannot_be_asked(target: str, host: str) -> None:
    with pytest.raises(BadInput, match="no request for '/"):
        get(target, [("Host", host)])


OK_HEADER = b"HTTP/1.1 200 OK\r\nA: b\r\n"
ANSWERS = [  # received -> status, body, complete, over; then with the connection closed
    (b"", (0, b"", False, False), (0, b"", False, True)),
    (OK_HEADER, (0, b"", False, False), (0, b"", False, True)),
    (OK_HEADER + b"\r\n", (200, b"", False, False), (200, b"", True, True)),
    (OK_HEADER + b"\r\nabc", (200, b"abc", False, False), (200, b"abc", True, True)),
    (
        OK_HEADER + b"Content-Length: 3\r\n\r\nab",
        (200, b"ab", False, False),
        (200, b"ab", False, True),
    ),
    (
        OK_HEADER + b"Content-Length: 3\r\n\r\nabc",
        (200, b"abc", True, True),
        (200, b"abc", True, True),
    ),
    (
        OK_HEADER + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n",
        (200, b"a", False, False),
        (200, b"a", False, True),
    ),
    (
        OK_HEADER + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
        (200, b"a", True, True),
        (200, b"a", True, True),
    ),
    (b"HTTP/1.1 204\r\nA: b\r\n\r\n", (204, b"", True, True), (204, b"", True, True)),
    (
        b"HTTP/1.1 103 Early Hints\r\n\r\n" + OK_HEADER + b"Content-Length: 0\r\n\r\n",
        (200, b"", True, True),
        (200, b"", True, True),
    ),
    (b"hello\r\n\r\n", (0, b"", False, True), (0, b"", False, True)),
    (b"HTTP/1.1 101 No\r\n\r\n", (0, b"", False, True), (0, b"", False, True)),
    (
        b"HTTP/1.1 200 " + b"a" * ANSWER_HEADER_MAX_BYTES,
        (0, b"", False, True),
        (0, b"", False, True),
    ),
]


@pytest.mark.parametrize(("received", "at_first", "in_the_end"), ANSWERS)
def test_answers(
    received: bytes,
    at_first: tuple[int, bytes, bool, bool],
    in_the_end: tuple[int, bytes, bool, bool],
) -> None:
    for ended, expected in ((False, at_first), (True, in_the_end)):
        status, body, complete, over = expected
        headers = read_answer(received, ended=ended).headers
        assert ("a" in headers) == bool(status)
        assert read_answer(received, ended=ended) == Answer(
            status=status, headers=headers, body=body, complete=complete, over=over
        )


READERS: list[Callable[[bytes], object]] = [
    read_request,
    lambda received: read_request(received, body=True),
    read_answer,
    lambda received: read_answer(received, ended=True),
]
PIECES = st.sampled_from(
    [
        b"GET / HTTP/1.1",
        b"HTTP/1.1 200 OK",
        b"Host: x",
        b"Content-Length: 2",
        b"\r\n",
        b"\n",
        b" ",
        b"Transfer-Encoding: chunked",
        b"2",
        b"0",
        b"a:",
        b"\xff",
        b"\0",
    ]
)


@given(st.lists(PIECES | st.binary(max_size=8), max_size=12).map(b"".join))
def test_nothing_that_comes_is_an_error_of_ours(received: bytes) -> None:
    for read in READERS:
        read(received)
