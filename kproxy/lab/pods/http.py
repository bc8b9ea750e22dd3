"""A pod's answer to an HTTP request, after all of the request was received. Pure."""

from __future__ import annotations

import json
from collections.abc import Container, Mapping

from kproxy.loop.http import Response, encode, read_request

_METHODS = (b"GET ", b"HEAD ", b"POST ", b"PUT ", b"PATCH ", b"DELETE ", b"OPTIONS ")


def is_http(line: bytes) -> bool:
    """Tell whether a first line asks for an answer in HTTP."""
    return line.startswith(_METHODS)


def answer_http(
    received: bytes,
    answer: Mapping[str, object],
    date: str,
    failing: Container[tuple[object, str]] = (),
) -> bytes | None:
    """Return the response, encoded by `kproxy.loop.http.encode`; None if the request is incomplete.

    The body is the JSON line `answer` with three more: `host` and `path` of the request, and
    `forwarded_for`, the field X-Forwarded-For; "" is a field that is missing. If the port of
    `answer` and the path are `failing`, it is a 503 that says which pod is not ready.
    """
    request = read_request(received, body=True)
    if request is None:
        return None
    if isinstance(request, Response):
        return encode(request, None, date)
    if (answer["port"], request.target) in failing:
        return encode(_response(503, {"pod": answer["pod"], "ready": False}), request, date)
    more = {
        "host": request.headers.get("host", ""),
        "path": request.target,
        "forwarded_for": request.headers.get("x-forwarded-for", ""),
    }
    return encode(_response(200, {**answer, **more}), request, date)


def _response(status: int, body: Mapping[str, object]) -> Response:
    return Response(
        status=status,
        headers=(("Content-Type", "application/json"),),
        body=json.dumps(body).encode() + b"\n",
    )
