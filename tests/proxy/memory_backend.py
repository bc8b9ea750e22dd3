"""A backend whose kernel is a dictionary: all or nothing, strict about deltas, made to fail."""

from __future__ import annotations

from collections.abc import Callable

from kproxy.address import Family
from kproxy.backend import Ruleset, Support, SyncReport
from kproxy.errors import KernelRefused
from kproxy.forwarding.plan import Delta, NodeSettings, Plan, ServicePlan, ServicePortName


class MemoryBackend:
    name = "memory"

    def __init__(self, family: Family, on_sync: Callable[[Family, Delta], None]) -> None:
        self.rules: dict[ServicePortName, ServicePlan] = {}
        self.refusals = 0  # of the next syncs
        self.again_in_s = 0.0  # what the reports of the next syncs say
        self.exhausted = False  # the machine cannot even start a program
        self.on_look: Callable[[], None] = lambda: None
        self._family = family
        self._on_sync = on_sync
        self._written = False

    def support(self) -> Support:
        return Support(True)

    def prepare(self, _settings: NodeSettings, /) -> None:
        """Do nothing: this kernel has no settings."""

    def sync(self, plan: Plan, delta: Delta) -> SyncReport:
        self._on_sync(self._family, delta)
        if self.exhausted:
            raise OSError(24, "Too many open files")
        if self.refusals:
            self.refusals -= 1
            raise KernelRefused("restore: exit status 1", remedy="try x")
        if delta.full:
            self.rules = dict(plan.services)
        else:
            assert self._written, "the first sync must be full"
            for name, before in delta.before.items():
                assert self.rules.get(name) == before, "the delta is not relative to the last sync"
                self.rules.pop(name, None)
                if name in plan.services:
                    self.rules[name] = plan.services[name]
        self._written = True
        assert self.rules == plan.services
        return SyncReport(
            full=delta.full,
            transactions=1,
            rules_written={"nat": len(self.rules)},
            again_in_s=self.again_in_s,
        )

    def intact(self) -> bool:
        self.on_look()
        if self.exhausted:
            raise OSError(24, "Too many open files")
        return self._written

    def read(self) -> Ruleset:
        return {"nat": {str(name): (repr(plan),) for name, plan in self.rules.items()}}

    def cleanup(self) -> None:
        self.flush()

    def close(self) -> None:
        """Do nothing: nothing is open."""

    def flush(self) -> None:
        """Remove all rules, as `iptables -F` by another process does."""
        self.rules = {}
        self._written = False
