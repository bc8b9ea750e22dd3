"""The requests of health checks, and the answers that make a backend healthy."""

from __future__ import annotations

import pytest

from kproxy.edge.checks import enough, problem, request
from kproxy.edge.listeners import Asks, CheckTimes, Target

TIMES = CheckTimes(interval_s=1.0, timeout_s=1.0, threshold=2)


def target(asks: Asks, address: str = "192.168.10.11") -> Target:
    return Target(place="lb", address=address, port=32000, asks=asks, times=TIMES)


@pytest.mark.parametrize(
    ("asked", "sent"),
    [
        (target(Asks.TCP), b""),
        (
            target(Asks.HTTP),
            b"GET /healthz HTTP/1.1\r\nHost: 192.168.10.11:32000\r\nConnection: close\r\n\r\n",
        ),
        (
            target(Asks.HTTP, "fd00:192::11"),
            b"GET /healthz HTTP/1.1\r\nHost: [fd00:192::11]:32000\r\nConnection: close\r\n\r\n",
        ),
    ],
)
def test_what_is_sent(asked: Target, sent: bytes) -> None:
    assert request(asked) == sent


@pytest.mark.parametrize(
    ("answer", "judged", "wrong"),
    [
        (b"", False, "answer ''"),
        (b"HTTP/1.1 200 OK\r\nA: b\r\n", False, "answer 'HTTP/1.1 200 OK'"),
        (b"HTTP/1.1 200 OK\r\n\r\n", True, ""),
        (b"HTTP/1.0 200\r\nContent-Length: 5\r\n\r\n", True, ""),  # whatever its body is
        (b"HTTP/1.1 503 No\r\n\r\n", True, "answer 'HTTP/1.1 503 No'"),
        (b"HTTP/1.1 2000\r\n\r\n", True, "answer 'HTTP/1.1 2000'"),
        (b"SSH-2.0\r\n\r\n", True, "answer 'SSH-2.0'"),
        (b"\xff" * 100 + b"\r\n\r\n", True, "answer '" + "\N{REPLACEMENT CHARACTER}" * 65 + "'"),
    ],
)
def test_answers(answer: bytes, judged: bool, wrong: str) -> None:
    assert enough(answer) == judged
    assert problem(target(Asks.HTTP), answer) == wrong
    assert problem(target(Asks.TCP), answer) == ""
