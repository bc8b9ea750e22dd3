"""A memory backend that calls functions of the test on each sync and check."""

from __future__ import annotations

from collections.abc import Callable

from kproxy.address import Family
from kproxy.backend import SyncReport
from kproxy.errors import KernelRefused
from kproxy.forwarding.plan import Delta, Plan
from kproxy.testing import MemoryBackend

REFUSAL = KernelRefused("restore: exit status 1", remedy="try x")


class Watched(MemoryBackend):
    def __init__(self, family: Family, on_sync: Callable[[Family, Delta], None]) -> None:
        super().__init__(family)
        self._on_sync = on_sync
        self.on_look: Callable[[], None] = lambda: None

    def sync(self, plan: Plan, delta: Delta, /) -> SyncReport:
        self._on_sync(self.family, delta)
        return super().sync(plan, delta)

    def intact(self) -> bool:
        self.on_look()
        return super().intact()
