"""The requests of a load balancer's health checks, and what the answers mean. Pure."""

from __future__ import annotations

from kproxy.address import host_port
from kproxy.edge.listeners import Asks, Target
from kproxy.loop.http import get, read_answer

_QUOTED_MAX_BYTES = 64  # more than a status line needs


def request(target: Target) -> bytes:
    """Return the bytes to send once connected, b"" for none."""
    if target.asks is Asks.TCP:
        return b""
    return get("/healthz", [("Host", host_port(target.address, target.port))])


def enough(answer: bytes) -> bool:
    """Tell whether an answer, or the part received so far, has a status, or will never have one."""
    found = read_answer(answer)
    return found.over or found.status != 0


def problem(target: Target, answer: bytes) -> str:
    """Return what is wrong with an answer if the network reported no error; "" for success."""
    if target.asks is Asks.TCP or read_answer(answer).status == 200:
        return ""
    line = answer.partition(b"\r\n")[0][: _QUOTED_MAX_BYTES + 1]
    return f"answer {line.decode(errors='replace')!r}"
