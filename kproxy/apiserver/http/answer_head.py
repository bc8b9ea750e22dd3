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
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


def answer_head(answer: Answer, version: HttpVersion, *, keep_alive: bool) -> bytes:
    """Return status line and headers for a client that speaks this version of HTTP.

    Raises ValueError if a header has control characters.
    """
    is_new = version >= HttpVersion11
    lines = [_status_line(answer.status, is_new), f"Content-Type: {answer.content_type}"]
    lines += [f"{name}: {value}" for name, value in answer.headers]
    if not any(name.lower() == "cache-control" for name, _ in answer.headers):
        lines.append(f"Cache-Control: {NO_CACHE}")
    lines += [f"Content-Length: {len(answer.body)}", _date(int(time.time()))]
    if keep_alive is not is_new:  # each version of HTTP has its own default
        lines.append(f"Connection: {'keep-alive' if keep_alive else 'close'}")
    for each in lines:
        if _CONTROL.search(each):
            raise ValueError(f"a header with control characters: {each!r}")
    return "\r\n".join([*lines, "", ""]).encode()


@lru_cache
def _status_line(status: int, is_new: bool) -> str:
    return f"HTTP/1.{int(is_new)} {status} {HTTPStatus(status).phrase}"


@lru_cache(maxsize=1)
def _date(second: int) -> str:
    return f"Date: {formatdate(second, usegmt=True)}"
