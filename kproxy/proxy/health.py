"""Whether a proxy keeps up with what it is asked: a decision object that is told the time."""

from __future__ import annotations

from collections.abc import Callable


class ProxyHealth:
    """Healthy unless a request has waited for too long; without requests it always is.

    Source: kube-proxy v1.36 healthcheck/proxy_health.go, whose limit is twice syncPeriod.
    """

    def __init__(self, *, limit_s: float, clock: Callable[[], float]) -> None:
        self._limit_s = limit_s
        self._clock = clock
        self._waiting_since: float | None = None

    def requested(self) -> None:
        """A sync is due. Requests before its success are one."""
        if self._waiting_since is None:
            self._waiting_since = self._clock()

    def synced(self) -> None:
        self._waiting_since = None

    @property
    def healthy(self) -> bool:
        """May be asked by any thread."""
        since = self._waiting_since
        return since is None or self._clock() - since < self._limit_s
