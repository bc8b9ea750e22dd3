"""One health check of a load balancer."""

from __future__ import annotations

from kproxy.address import host_port
from kproxy.edge.listeners import Asks, Target
from kproxy.kernel.netns import Namespace
from kproxy.loop.check import Check

_ANSWER_MAX_BYTES = 64  # more than a status line needs


class HealthCheck(Check):
    """Made in the namespace of a load balancer. A status line is all it reads."""

    def __init__(self, target: Target, namespace: Namespace, source: str, deadline: float) -> None:
        """`source`: the address it comes from. `deadline`: when it has failed, for the caller.

        Raises OSError if it fails at once.
        """
        self.target = target
        self.deadline = deadline
        request = ""
        if target.asks is Asks.HTTP:
            host = host_port(target.address, target.port)
            request = f"GET /healthz HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        super().__init__(
            namespace,
            target.address,
            target.port,
            source=source,
            request=request.encode(),
            enough=lambda answer: b"\r\n" in answer or len(answer) > _ANSWER_MAX_BYTES,
        )

    @property
    def result(self) -> str:
        """Once it is over: "" for success, else what was wrong."""
        if self.error or self.target.asks is Asks.TCP:
            return self.error
        status = self.answer.partition(b"\r\n")[0][: _ANSWER_MAX_BYTES + 1]
        text = status.decode(errors="replace")
        return "" if text.split(" ")[1:2] == ["200"] else f"answer {text!r}"
