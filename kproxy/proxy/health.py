"""Decides whether a proxy is healthy, that is, keeps up with the syncs requested of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

from kproxy.address import Family


class FamilyHealth(NamedTuple):
    """One family's health. `updated_ns`: when it was last in step, since the epoch."""

    updated_ns: int
    healthy: bool


class ProxyHealth:
    """The health of a proxy: bad once a request has waited too long for a family, else good.

    Properties may be read by any thread.
    Source: kube-proxy v1.36 healthcheck/proxy_health.go, whose limit is twice syncPeriod.
    """

    def __init__(
        self,
        families: Iterable[Family],
        *,
        limit_s: float,
        clock: Callable[[], float],
        wall_clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._limit_s = limit_s
        self._clock = clock
        self._wall_clock_ns = wall_clock_ns
        self._waiting_since: dict[Family, float | None] = dict.fromkeys(families)
        self._updated_ns: dict[Family, int] = {}

    def started(self) -> None:
        """Note that syncs are done from now on; that counts as an update of every family."""
        self._updated_ns = dict.fromkeys(self._waiting_since, self._wall_clock_ns())

    def requested(self) -> None:
        """Note that a sync is due. Several requests before its success count as one."""
        now = self._clock()
        for family, since in self._waiting_since.items():
            if since is None:
                self._waiting_since[family] = now

    def synced(self, family: Family) -> None:
        self._waiting_since[family] = None
        self._updated_ns[family] = self._wall_clock_ns()

    @property
    def healthy(self) -> bool:
        """Tell whether no request has waited too long."""
        return all(self._keeps_up(family) for family in self._waiting_since)

    @property
    def families(self) -> dict[Family, FamilyHealth]:
        """Return the health of each family that was updated, by name."""
        updated = self._updated_ns.copy()
        return {
            family: FamilyHealth(updated[family], self._keeps_up(family))
            for family in sorted(updated)
        }

    def _keeps_up(self, family: Family) -> bool:
        since = self._waiting_since[family]
        return since is None or self._clock() - since < self._limit_s
