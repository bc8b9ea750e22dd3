"""The result of a response, whole or in part."""

from __future__ import annotations

import json

import pytest

from kproxy.probe.http import Fetched, read_response

BODY = json.dumps(
    {"pod": "web", "source": "10.244.1.11", "source_port": 7, "forwarded_for": "10.244.2.11"}
)
HEAD = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(BODY)}\r\n\r\n"
WEB = Fetched(status=200, pod="web", source="10.244.1.11", forwarded_for="10.244.2.11")

RESPONSES = [  # all bytes received -> answer
    (HEAD + BODY, WEB),
    (HEAD.lower().replace("http", "HTTP") + BODY, WEB),
    (HEAD + BODY[:-1], None),
    (HEAD, None),
    (HEAD[:-1], None),
    ("", None),
    ("HTTP/1.1 404 Not Found\r\nContent-Type: text/html\r\n\r\n<html>", Fetched(status=404)),
    ("HTTP/1.0 503\r\nServer: x\r\n\r\n", Fetched(status=503)),
    (
        'HTTP/1.1 503 No\r\nContent-Type: application/json\r\n\r\n{"localEndpoints": 0}',
        Fetched(status=503),
    ),
    ('{"pod": "web"}\n', None),
    ("HTTP/2 200 OK\r\n\r\n", None),
]


@pytest.mark.parametrize(("received", "answer"), RESPONSES)
def test_responses(received: str, answer: Fetched | None) -> None:
    assert read_response(received.encode(), True) == answer
    assert read_response(received.encode(), False) is None


TEXTS = [
    (WEB, "web answered with 200 and saw 10.244.1.11, on behalf of 10.244.2.11"),
    (Fetched(status=200, pod="web", source="a"), "web answered with 200 and saw a"),
    (Fetched(status=404), "answered with 404"),
]


@pytest.mark.parametrize(("fetched", "text"), TEXTS)
def test_texts(fetched: Fetched, text: str) -> None:
    assert str(fetched) == text
