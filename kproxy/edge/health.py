"""The health of a target, computed from its checks. Pure: the time is an argument, in seconds."""

from __future__ import annotations

from kproxy.edge.listeners import CheckTimes

_FIRST_CHECK_MIN_S = 1.0
_FIRST_ROUND_MAX_S = 2.0  # how long the rules may wait for a target's first result


class Health:
    """The health of one target, which is unhealthy until its first success.

    Any success makes it healthy, `threshold` failures in a row make it unhealthy. While it is
    `awaited`, the rules wait for its result: it is new, or it was unhealthy when objects changed.
    """

    def __init__(self, times: CheckTimes, now: float) -> None:
        self.times = times
        self.healthy = False
        self.failures = 0
        self.reason = "not checked yet"
        self.due_s = now
        self.under_way = False
        self.awaited_until = now + _FIRST_ROUND_MAX_S

    def awaited(self, now: float) -> bool:
        return now < self.awaited_until

    def hurry(self, now: float) -> None:
        """Make the next check due now if the target is unhealthy, because objects have changed."""
        if not self.healthy:
            self.due_s = now
            self.awaited_until = now + _FIRST_ROUND_MAX_S

    def start(self, now: float) -> float:
        """Note that a check begins. Returns how long it may take: longer while it is awaited."""
        self.under_way = True
        self.due_s = now + self.times.interval_s
        patience_s = _FIRST_CHECK_MIN_S if self.awaited(now) else 0.0
        return max(self.times.timeout_s, patience_s)

    def end(self, reason: str) -> bool:
        """Note that a check ended; `reason` "" for success. Returns whether `healthy` changed."""
        before = self.healthy
        self.under_way = False
        self.awaited_until = 0.0
        self.reason = reason
        if reason:
            self.failures += 1
            if self.failures >= self.times.threshold:
                self.healthy = False
        else:
            self.failures = 0
            self.healthy = True
        return self.healthy != before
