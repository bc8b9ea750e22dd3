"""Whether a target is in: a pure account of its checks, with the time as an argument (seconds)."""

from __future__ import annotations

from kproxy.edge.listeners import CheckTimes

_FIRST_CHECK_MIN_S = 1.0
_FIRST_ROUND_MAX_S = 2.0  # how long a target may keep others waiting for its first verdict


class Health:
    """Out until its first success, in with any success, out after so many failures in a row.

    While `awaited`, the verdict on a new target, or one that was out when objects changed, is due.
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
        """Check it at once if it is out: things have changed."""
        if not self.healthy:
            self.due_s = now
            self.awaited_until = now + _FIRST_ROUND_MAX_S

    def start(self, now: float) -> float:
        """A check begins. Returns how long it may take: more, while others wait for the verdict."""
        self.under_way = True
        self.due_s = now + self.times.interval_s
        patience_s = _FIRST_CHECK_MIN_S if self.awaited(now) else 0.0
        return max(self.times.timeout_s, patience_s)

    def end(self, reason: str) -> bool:
        """A check has ended; `reason` "" for success. Returns whether the target came or went."""
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
