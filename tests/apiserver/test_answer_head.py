"""Status line and headers of an answer."""

from __future__ import annotations

import pytest
from aiohttp import HttpVersion, HttpVersion10, HttpVersion11

from kproxy.apiserver.http.answer_head import answer_head
from kproxy.apiserver.request import Answer

CASES = [  # version of HTTP, stays the connection? -> status line, what is said of it
    (HttpVersion11, True, "HTTP/1.1 201 Created", None),
    (HttpVersion11, False, "HTTP/1.1 201 Created", "close"),
    (HttpVersion10, True, "HTTP/1.0 201 Created", "keep-alive"),
    (HttpVersion10, False, "HTTP/1.0 201 Created", None),
]


def read(head: bytes) -> tuple[str, dict[str, str]]:
    assert head.endswith(b"\r\n\r\n")
    first, *lines = head.decode().removesuffix("\r\n\r\n").split("\r\n")
    return first, dict(line.split(": ", 1) for line in lines)


@pytest.mark.parametrize(("version", "stays", "first", "said"), CASES)
def test_the_connection(version: HttpVersion, stays: bool, first: str, said: str | None) -> None:
    status, headers = read(answer_head(Answer(201, b"{}"), version, keep_alive=stays))
    assert (status, headers.get("Connection")) == (first, said)


def test_what_an_answer_says() -> None:
    answer = Answer(200, b"12345", "text/plain", (("Warning", '299 - "old"'),))
    _, headers = read(answer_head(answer, HttpVersion11, keep_alive=True))
    assert headers.pop("Date").endswith(" GMT")
    assert headers == {
        "Content-Type": "text/plain",
        "Warning": '299 - "old"',
        "Cache-Control": "no-cache, private",
        "Content-Length": "5",
    }


def test_its_own_cache_control_is_the_only_one() -> None:
    answer = Answer(200, b"", headers=(("Cache-Control", "public"),))
    assert answer_head(answer, HttpVersion11, keep_alive=True).count(b"Cache-Control") == 1


@pytest.mark.parametrize("text", ["a\r\nSet-Cookie: b", "a\nb", "a\0b", "a\x7f"])
def test_a_header_cannot_begin_another_one(text: str) -> None:
    with pytest.raises(ValueError, match="control characters"):
        answer_head(Answer(200, b"", headers=(("Warning", text),)), HttpVersion11, keep_alive=True)
