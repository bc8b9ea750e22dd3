"""Sends Events in the background: who records one does not wait, nor learns what became of it."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable

from kproxy.errors import KproxyError
from kproxy.kubernetes.connection import Answer
from kproxy.kubernetes.events import Event, body, path

QUEUE_MAX = 100
REPEATED_S = 360.0  # client-go ends a series of equal Events when the last is 6 minutes old
ATTEMPTS = 12  # as client-go
RETRY_S = 10.0  # as client-go
SEND_S = 10.0
_TRY_AGAIN = (429, 500, 502, 503, 504)

Post = Callable[[str, bytes], Answer]

log = logging.getLogger("kproxy")


class Recorder:
    """A queue of Events, and the thread that sends them.

    The thread starts at once, so it is in the network namespace of whoever makes the recorder.
    `post` sends a body to a path and raises as `Connection.post` does. Equal Events within
    `REPEATED_S` are sent once. What does not fit into the queue, what the server refuses, and what
    it cannot take for two minutes is lost, with a line in the log of debugging.
    """

    def __init__(
        self,
        post: Post,
        host_name: str,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_clock_ns: Callable[[], int] = time.time_ns,
        retry_s: float = RETRY_S,
    ) -> None:
        self._post = post
        self._host_name = host_name
        self._clock = clock
        self._wall_clock_ns = wall_clock_ns
        self._retry_s = retry_s
        self._queue: deque[tuple[Event, bytes]] = deque()
        self._sent: dict[Event, float] = {}  # when, the oldest first
        self._changed = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="events", daemon=True)
        self._thread.start()

    def record(self, event: Event) -> None:
        """Send an Event at some time. Returns at once. Does nothing after `close`."""
        with self._changed:
            if self._closing or self._is_repeated(event):
                return
            if len(self._queue) >= QUEUE_MAX:
                log.debug("an Event is lost, %d others wait to be sent: %s", QUEUE_MAX, event)
                return
            self._sent[event.same] = self._clock()
            self._queue.append((event, body(event, self._host_name, self._wall_clock_ns())))
            self._changed.notify()

    def close(self, limit_s: float = 2.0) -> None:
        """Send what is queued, each Event once, and end. Returns after `limit_s` at the latest."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(limit_s)

    def _is_repeated(self, event: Event) -> bool:
        oldest = self._clock() - REPEATED_S
        while self._sent and next(iter(self._sent.values())) <= oldest:
            del self._sent[next(iter(self._sent))]
        return event.same in self._sent

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._closing)
                if not self._queue:
                    return
                event, encoded = self._queue.popleft()
            self._deliver(event, encoded)

    def _deliver(self, event: Event, encoded: bytes) -> None:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                answer = self._post(path(event), encoded)
            except KproxyError as error:  # also too little memory to renew credentials
                reason = str(error)
            else:
                if answer.status < 300:
                    return
                reason = f"status {answer.status}"
                if answer.status not in _TRY_AGAIN:
                    break
            if attempt < ATTEMPTS and self._pause():
                break
        log.debug("an Event is lost: %s: %s", event, reason)

    def _pause(self) -> bool:
        """Wait before another attempt. Tells whether there shall be none, as we are closing."""
        with self._changed:
            return self._changed.wait_for(lambda: self._closing, self._retry_s)
