"""Decides when to sync; the caller passes the time.

Two syncs may follow each other at once, so that a change after a quiet time takes effect at once,
and so does a second one that belongs to it; after that one sync may start per `min_interval_s`,
which counts only while no sync runs. Source: kube-proxy runner/bounded_frequency_runner.go, whose
burst is 1.
"""

from __future__ import annotations

import enum

BURST = 2
FIRST_RETRY_S = 1.0  # where min_interval_s is 0, as in ipvs mode
FULL_INTERVAL_S = 3600.0  # kube-proxy: maxInterval of iptables and nftables


class Due(enum.Enum):
    NOTHING = "nothing"
    SYNC = "sync"
    FULL_SYNC = "full sync"


class BoundedFrequency:
    """Tells at any moment what is due, and when to ask again.

    The caller reports what happens: `request`, then `started` and `finished` around each sync.
    All times are seconds on one clock that never goes back.
    """

    def __init__(
        self,
        *,
        min_interval_s: float,
        retry_limit_s: float,
        full_interval_s: float = FULL_INTERVAL_S,
    ) -> None:
        self._min_interval_s = min_interval_s
        self._retry_limit_s = retry_limit_s
        self._full_interval_s = full_interval_s
        self._tokens = float(BURST)
        self._tokens_at = 0.0
        self._requested = False
        self._retry_s = 0.0  # the last pause after a failure; 0 after a success
        self._retry_at: float | None = None
        self._full_at: float | None = None  # None until the first success, which is a full sync
        self._running_full = False

    def request(self) -> None:
        """Request a sync. Several requests before the next sync count as one."""
        self._requested = True

    def due(self, now: float) -> Due:
        if now < self._allowed_at():
            return Due.NOTHING
        if self._full_at is not None and now >= self._full_at:
            return Due.FULL_SYNC
        if self._requested or (self._retry_at is not None and now >= self._retry_at):
            return Due.SYNC
        return Due.NOTHING

    def next_at(self) -> float:
        """Return when something will be due without another request; infinity for never."""
        if self._requested:
            return self._allowed_at()
        planned = [at for at in (self._retry_at, self._full_at) if at is not None]
        return max(self._allowed_at(), min(planned)) if planned else float("inf")

    def started(self, now: float) -> None:
        self._tokens = self._tokens_by(now) - 1
        self._tokens_at = now
        self._requested = False
        self._running_full = self._full_at is None or now >= self._full_at

    def finished(self, now: float, *, ok: bool) -> None:
        """Note the end of a sync. A failed one is due again, after a pause that doubles each time.

        The pause is at most `retry_limit_s`.
        """
        self._tokens_at = now
        if ok:
            self._retry_s, self._retry_at = 0.0, None
            if self._running_full:
                self._full_at = now + self._full_interval_s
        else:
            first = self._min_interval_s or FIRST_RETRY_S
            self._retry_s = min(self._retry_s * 2 or first, self._retry_limit_s)
            self._retry_at = now + self._retry_s
            if self._full_at is not None and self._running_full:
                self._full_at = self._retry_at

    def _tokens_by(self, now: float) -> float:
        if not self._min_interval_s:
            return float(BURST)
        return min(BURST, self._tokens + (now - self._tokens_at) / self._min_interval_s)

    def _allowed_at(self) -> float:
        missing = max(0.0, 1 - self._tokens)
        return self._tokens_at + missing * self._min_interval_s
