"""The status line and headers of an answer over HTTP/1."""

from __future__ import annotations

import re
import time
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus

from aiohttp import HttpVersion, HttpVersion11

from kproxy.apiserver.request import Answer

NO_CACHE = "no-cache, private"
_CONNECTIONS = ("Connection: close\r\n", "Connection: keep-alive\r\n")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


def answer_head(answer: Answer, version: HttpVersion, *, keep_alive: bool) -> bytes:
    """Return status line and headers for a client that speaks this version of HTTP.

    Raises ValueError if a header has control characters.
    """
    is_new = version >= HttpVersion11
    first = _first_lines(answer.status, answer.content_type, answer.headers, is_new)
    length, date = len(answer.body), _date(int(time.time()))
    # Each version of HTTP has its own default.
    last = "" if keep_alive is is_new else _CONNECTIONS[keep_alive]
    return f"{first}Content-Length: {length}\r\n{date}\r\n{last}\r\n".encode()


@lru_cache(maxsize=256)  # most answers have the same
def _first_lines(
    status: int, content_type: str, headers: tuple[tuple[str, str], ...], is_new: bool
) -> str:
    lines = [_status_line(status, is_new), f"Content-Type: {content_type}"]
    lines += [f"{name}: {value}" for name, value in headers]
    if not any(name.lower() == "cache-control" for name, _ in headers):
        lines.append(f"Cache-Control: {NO_CACHE}")
    for each in lines:
        if _CONTROL.search(each):
            raise ValueError(f"a header with control characters: {each!r}")
    return "\r\n".join([*lines, ""])


@lru_cache
def _status_line(status: int, is_new: bool) -> str:
    return f"HTTP/1.{int(is_new)} {status} {HTTPStatus(status).phrase}"


@lru_cache(maxsize=1)
def _date(second: int) -> str:
    return f"Date: {formatdate(second, usegmt=True)}"
