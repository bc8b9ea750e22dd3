"""How fast a lab's control plane brings writes into effect while more of them come.

All threads of a lab share one interpreter. A client that writes one object after the other would
wait for its turn again and again, as long as thousands of Services become rules: so the thread that
does this in the background rests now and then, unless somebody waits for what it does.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

_T = TypeVar("_T")
_STILL_WRITING_S = 0.01  # since the last write
_SLICE_S = 0.001  # somebody may begin to wait


class Turn(threading.Condition):
    """A condition with a lock that knows whether somebody waits for either of them."""

    def __init__(self) -> None:
        super().__init__(threading.RLock())
        self._counting = threading.Lock()
        self._waiting = 0

    @property
    def is_awaited(self) -> bool:
        return self._waiting > 0

    def __enter__(self) -> bool:
        self._count(1)
        try:
            return super().__enter__()
        finally:
            self._count(-1)

    def wait_for(self, predicate: Callable[[], _T], timeout: float | None = None) -> _T:
        """Wait until the predicate is true; returns what it returned last."""
        self._count(1)
        try:
            return super().wait_for(predicate, timeout)
        finally:
            self._count(-1)

    def _count(self, more: int) -> None:
        with self._counting:
            self._waiting += more


class Pace:
    """Rests of work in the background, each as long as the work before it.

    `last_write` returns when somebody wrote last, `is_awaited` whether somebody waits for the work.
    Times are those of `clock`, in seconds. The work begins when this is made.
    """

    def __init__(
        self,
        last_write: Callable[[], float],
        is_awaited: Callable[[], bool],
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._last_write = last_write
        self._is_awaited = is_awaited
        self._clock = clock
        self._sleep = sleep
        self._since = clock()

    @property
    def is_needed(self) -> bool:
        """True if somebody has written since the last rest, and nobody waits for the work."""
        return self._last_write() > self._since - _STILL_WRITING_S and not self._is_awaited()

    def rest(self) -> None:
        """Let others go on if that is needed, and as long as they do."""
        start = now = self._clock()
        end = start + start - self._since
        goes_on = self.is_needed
        while goes_on and now < end:
            self._sleep(min(_SLICE_S, end - now))
            now = self._clock()
            is_written = now - max(start, self._last_write()) < _STILL_WRITING_S
            goes_on = is_written and not self._is_awaited()
        self._since = now
