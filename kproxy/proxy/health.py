"""Decides whether a proxy is healthy, that is, keeps up with the syncs requested of it."""

from __future__ import annotations

from collections.abc import Callable


class ProxyHealth:
    """The health of a proxy: bad once a request has waited too long, else good.

    Source: kube-proxy v1.36 healthcheck/proxy_health.go, whose limit is twice syncPeriod.
    """

    def __init__(self, *, limit_s: float, clock: Callable[[], float]) -> None:
        self._limit_s = limit_s
        self._clock = clock
        self._waiting_since: float | None = None

    def requested(self) -> None:
        """Note that a sync is due. Several requests before its success count as one."""
        if self._waiting_since is None:
            self._waiting_since = self._clock()

    def synced(self) -> None:
        self._waiting_since = None

    @property
    def healthy(self) -> bool:
        """Tell whether no request has waited too long. May be called by any thread."""
        since = self._waiting_since
        return since is None or self._clock() - since < self._limit_s
