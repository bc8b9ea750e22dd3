"""A pod's answers in HTTP, and the requests that get one."""

from __future__ import annotations

import json

import pytest

from kproxy.lab.pods.http import answer_http, is_http

DATE = "Thu, 01 Jan 1970 00:00:00 GMT"
ANSWER = {"pod": "web", "source": "10.244.1.11", "source_port": 7, "port": 8080}

LINES = [  # first line, whether it is HTTP
    (b"GET / HTTP/1.1\r\n", True),
    (b"POST /x HTTP/1.0\r\n", True),
    (b"GET\n", False),
    (b"get / HTTP/1.1\r\n", False),
    (b"kproxy\n", False),
    (b"\n", False),
]


@pytest.mark.parametrize(("line", "expected"), LINES)
def test_lines(line: bytes, expected: bool) -> None:
    assert is_http(line) is expected


FULL = "GET /a?b=c HTTP/1.1\r\nHost: web.example\r\nx-forwarded-for:  10.0.0.1 \r\n\r\n"
REQUESTS = [  # request, host, path, forwarded_for
    (FULL, "web.example", "/a?b=c", "10.0.0.1"),
    (FULL.replace("\r\n", "\n"), "web.example", "/a?b=c", "10.0.0.1"),
    ("GET / HTTP/1.0\r\n\r\n", "", "/", ""),
    ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody", "x", "/", ""),
]


@pytest.mark.parametrize(("text", "host", "path", "forwarded_for"), REQUESTS)
def test_requests(text: str, host: str, path: str, forwarded_for: str) -> None:
    reply = answer_http(text.encode(), ANSWER, DATE)
    assert reply
    head, _, body = reply.decode().partition("\r\n\r\n")
    first, *fields = head.split("\r\n")
    assert first.endswith(" 200 OK")
    assert fields == [
        "Content-Type: application/json",
        f"Date: {DATE}",
        f"Content-Length: {len(body)}",
        "Connection: close",
    ]
    assert json.loads(body) == {
        **ANSWER,
        "host": host,
        "path": path,
        "forwarded_for": forwarded_for,
    }


@pytest.mark.parametrize("text", [FULL, REQUESTS[3][0]])
def test_no_answer_before_the_request_is_complete(text: str) -> None:
    data = text.encode()
    assert {answer_http(data[:end], ANSWER, DATE) for end in range(len(data))} == {None}


def test_a_head_has_no_body() -> None:
    reply = answer_http(b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n", ANSWER, DATE)
    assert reply
    assert reply.endswith(b"\r\n\r\n")


def test_nonsense_is_a_bad_request() -> None:
    reply = answer_http(b"GET /\r\n", ANSWER, DATE)
    assert reply
    assert reply.startswith(b"HTTP/1.1 400 Bad Request\r\n")


@pytest.mark.parametrize(
    ("failing", "status", "ready"),
    [
        ({(8080, "/a?b=c")}, "503 Service Unavailable", False),
        ({(8081, "/a?b=c"), (8080, "/a")}, "200 OK", None),
    ],
)
def test_a_probe_that_fails(failing: set[tuple[object, str]], status: str, ready: object) -> None:
    """It is identified by port and by path, with its query."""
    reply = answer_http(FULL.encode(), ANSWER, DATE, failing)
    assert reply
    head, _, body = reply.decode().partition("\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status}\r\n")
    answer = json.loads(body)
    assert (answer["pod"], answer.get("ready")) == ("web", ready)
