"""A pod's answer to an HTTP request, after all of the request has come. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from kproxy.serve.http import Response, encode, read_request

_METHODS = (b"GET ", b"HEAD ", b"POST ", b"PUT ", b"PATCH ", b"DELETE ", b"OPTIONS ")
_END = re.compile(rb"\r?\n\r?\n")


def is_http(line: bytes) -> bool:
    """Whether a first line asks for an answer in HTTP."""
    return line.startswith(_METHODS)


def answer_http(received: bytes, answer: Mapping[str, object], date: str) -> bytes | None:
    """What to send back, as `kproxy.serve.http.encode` has it; None if more must come.

    The body is the JSON line `answer` with three more: `host` and `path` of the request, and
    `forwarded_for`, the field X-Forwarded-For; "" is a field that is not there.
    """
    request = read_request(received)
    if request is None:
        return None
    if isinstance(request, Response):
        return encode(request, None, date)
    head, body = _END.split(received, maxsplit=1)
    first, *others = head.decode("latin-1").splitlines()
    fields = {
        name.lower(): value.strip() for name, _, value in (line.partition(":") for line in others)
    }
    length = fields.get("content-length", "")
    if length.isdecimal() and len(body) < int(length):
        return None
    more = {
        "host": fields.get("host", ""),
        "path": first.split(" ")[1],
        "forwarded_for": fields.get("x-forwarded-for", ""),
    }
    response = Response(
        status=200,
        headers=(("Content-Type", "application/json"),),
        body=json.dumps({**answer, **more}).encode() + b"\n",
    )
    return encode(response, request, date)
