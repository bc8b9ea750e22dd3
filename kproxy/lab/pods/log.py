"""The log of a pod's server: one line for each answer, the last of them kept in memory.

    10.244.1.5:40312 GET /healthz 200
    10.244.1.5:40314 TCP 9000

An event is stored as it is and made a line only when somebody reads, so that a pod's answer hardly
takes longer with a log than without one.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from kproxy.address import host_port

_MOST_LINES = 1000
_MOST_BYTES = 200  # of a request line


class LogLine(NamedTuple):
    """A line of a log, without its end; `time_ns` since 1970."""

    time_ns: int
    text: str


# When, who, and the request, status, protocol and port; request and status are empty if it was not
# HTTP. A plain tuple: it is made for each answer.
_Event = tuple[int, tuple[str, int], bytes, bytes, str, int]

Listener = Callable[[LogLine | None], None]  # None: the pod has ended


class PodLog:
    """The last lines of one pod. Its methods are for one thread, that of the pod's server."""

    def __init__(self) -> None:
        self._events: deque[_Event] = deque(maxlen=_MOST_LINES)
        self._listeners: list[Listener] = []

    def answered(
        self,
        client: tuple[str, int],
        protocol: str,
        port: int,
        request: bytes = b"",
        status: bytes = b"",
    ) -> None:
        """Note an answer. `request` begins with the line that was asked in HTTP."""
        event = (time.time_ns(), client, request[:_MOST_BYTES], status, protocol, port)
        self._events.append(event)
        if self._listeners:
            line = _line(event)
            for each in [*self._listeners]:
                each(line)

    def lines(self) -> list[LogLine]:
        """Return the lines there are, the oldest first."""
        return [_line(each) for each in self._events]

    def follow(self, listener: Listener) -> list[LogLine]:
        """Return the lines there are, and call `listener` with each one from now on."""
        self._listeners.append(listener)
        return self.lines()

    def close(self) -> None:
        """Tell all who follow that there will be no more lines."""
        while self._listeners:
            self._listeners.pop()(None)

    def leave(self, listener: Listener) -> None:
        """Call `listener` no more. Harmless if it does not follow."""
        if listener in self._listeners:
            self._listeners.remove(listener)


def _line(event: _Event) -> LogLine:
    time_ns, address, request, status, protocol, port = event
    client = host_port(address[0], address[1])  # of IPv6 there is more
    if not request:
        return LogLine(time_ns, f"{client} {protocol} {port}")
    first = request.splitlines()[0].decode("ascii", "backslashreplace")
    words = [word if word.isprintable() else ascii(word) for word in first.split()[:2]]
    return LogLine(time_ns, " ".join([client, *words, status.decode("ascii")]))
