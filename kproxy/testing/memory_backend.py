"""A backend whose kernel is a dictionary: no root, no namespace, and it behaves like a real one.

A sync is all or nothing, a delta that is not relative to the last sync is an error, and what a dead
object has left a new one over the same `MemoryKernel` reads and removes. The kernel can be told to
refuse, and be changed behind the backend's back. `printed(backend.read())` is the plan as text:

    default/web:http TCP
      cluster-ip 10.96.0.1:80 -> cluster, masquerade off-cluster
      cluster: 10.244.1.5:8080 10.244.2.5:8080
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeAlias

from kproxy.address import Family, host_port
from kproxy.backend.contract import Ruleset, Support, SyncReport
from kproxy.backend.mode import Mode
from kproxy.errors import KernelRefused
from kproxy.forwarding.plan import (
    BackendOptions,
    Delta,
    Frontend,
    Masquerade,
    NodeSettings,
    Plan,
    Pool,
    ServicePlan,
    ServicePortName,
)

TABLE = "services"
Chains: TypeAlias = dict[str, tuple[str, ...]]
_NO_OPTIONS = BackendOptions()


class MemoryKernel:
    """The kernel of a node, which outlives its backends: tables of chains, by family.

    `tables` may be changed at will: that is what other processes do.
    """

    def __init__(self) -> None:
        self.tables: dict[Family, dict[str, Chains]] = {family: {} for family in Family}
        self._refusals: dict[Family, list[Exception]] = {family: [] for family in Family}

    def refuse(self, family: Family, error: Exception | None = None, *, times: int = 1) -> None:
        """Make the next `times` writes of a family raise `error`, by default KernelRefused."""
        refusal = error or KernelRefused("this memory kernel was told to refuse")
        self._refusals[family] = [refusal] * times

    def write(self, family: Family, table: str, chains: Chains | None) -> None:
        """Replace a table, or delete it (None): all of it, or nothing if this raises."""
        if refusals := self._refusals[family]:
            raise refusals.pop()
        if chains is None:
            self.tables[family].pop(table, None)
        else:
            self.tables[family][table] = chains

    def flush(self, family: Family) -> None:
        """Delete everything of a family, as another process may do at any time."""
        self.tables[family].clear()

    @contextmanager
    def unshared(self) -> Iterator[None]:
        """Be empty for the duration of a block, and then as before, like another namespace."""
        before, self.tables = self.tables, {family: {} for family in Family}
        try:
            yield
        finally:
            self.tables = before

    def mode(self) -> Mode:
        """Return a mode, called memory, whose backends write to this kernel."""

        def make(family: Family, options: BackendOptions) -> MemoryBackend:
            return MemoryBackend(family, options, self)

        return Mode(
            name="memory",
            backend=make,
            description="A dictionary.",
            render=render,
            traced=False,
        )


class MemoryBackend:
    """One family's services in a `MemoryKernel`. See kproxy.backend.Backend."""

    def __init__(
        self,
        family: Family,
        options: BackendOptions = _NO_OPTIONS,
        kernel: MemoryKernel | None = None,
    ) -> None:
        self.family = family
        self.options = options
        self.kernel = kernel or MemoryKernel()
        self.again_in_s = 0.0
        """The reports of the next syncs ask for a call after this time."""
        self._plan: Plan | None = None  # of the last sync
        self._written: Chains = {}

    def support(self) -> Support:
        return Support(True)

    def prepare(self, _settings: NodeSettings, /) -> None:
        """Nothing: this kernel has no settings."""

    def sync(self, plan: Plan, delta: Delta, /) -> SyncReport:
        """Raise AssertionError if the delta does not lead from the last plan to this one."""
        if delta.full:
            changed = set(plan.services)
            chains = {}
        else:
            changed = self._changed(plan, delta)
            chains = dict(self.kernel.tables[self.family].get(TABLE, {}))
            for name in changed:
                chains.pop(_chain(name), None)
        fresh = {
            _chain(name): lines(plan.services[name]) for name in changed if name in plan.services
        }
        chains.update(fresh)
        self.kernel.write(self.family, TABLE, chains)
        self._plan, self._written = plan, chains.copy()
        return SyncReport(
            full=delta.full,
            transactions=1,
            rules_written={TABLE: sum(map(len, fresh.values()))},
            again_in_s=self.again_in_s,
        )

    def intact(self) -> bool:
        return self.kernel.tables[self.family].get(TABLE) == self._written

    def read(self) -> Ruleset:
        tables = self.kernel.tables[self.family]
        return {TABLE: dict(tables[TABLE])} if TABLE in tables else {}

    def cleanup(self) -> None:
        self.kernel.write(self.family, TABLE, None)
        self._plan = None

    def close(self) -> None:
        """Nothing is open."""

    def _changed(self, plan: Plan, delta: Delta) -> set[ServicePortName]:
        if self._plan is None:
            raise AssertionError("the first sync of an object must be full")
        former, fresh = self._plan.services, plan.services
        changed = {name for name in {*former, *fresh} if former.get(name) != fresh.get(name)}
        if missing := changed - delta.before.keys():
            raise AssertionError(f"the delta lacks {', '.join(map(str, sorted(missing)))}")
        for name, before in delta.before.items():
            if former.get(name) != before:
                raise AssertionError(f"{name} was something else at the last sync: {before}")
        return set(delta.before)


def render(plan: Plan, _addresses: frozenset[str]) -> Ruleset:
    """Return what `MemoryBackend.read` does after a full sync. See `Mode.render`."""
    return {TABLE: {_chain(name): lines(service) for name, service in plan.services.items()}}


def lines(service: ServicePlan) -> tuple[str, ...]:
    """Return a service port as text: its frontends, its pools, and how clients are remembered."""
    found = [_line(service, frontend) for frontend in service.frontends]
    for pool, endpoints in ((Pool.CLUSTER, service.cluster), (Pool.LOCAL, service.local)):
        if endpoints:
            found.append(f"{pool.value}: {' '.join(map(str, endpoints))}")
    if service.affinity_timeout_s:
        found.append(f"affinity {service.affinity_timeout_s} s")
    if service.health_check_node_port:
        found.append(f"health check *:{service.health_check_node_port}")
    return tuple(found)


def printed(ruleset: Ruleset) -> str:
    """Return the chains of a ruleset in alphabetical order, each with its rules below it."""
    return "\n".join(
        line
        for _, chains in sorted(ruleset.items())
        for chain, rules in sorted(chains.items())
        for line in (chain, *(f"  {rule}" for rule in rules))
    )


def _chain(name: ServicePortName) -> str:
    return f"{name} {name.protocol}"


def _line(service: ServicePlan, frontend: Frontend) -> str:
    pool = frontend.pool.value if service.pool(frontend) else frontend.on_empty.value
    words = [f"{frontend.kind.value} {host_port(frontend.address or '*', frontend.port)} -> {pool}"]
    if frontend.short_circuit:
        words.append("-> cluster for this node's pods")
    if frontend.source_ranges:
        words.append(f"only from {' '.join(frontend.source_ranges)}")
    if frontend.masquerade is not Masquerade.NEVER:
        words.append(f"masquerade {frontend.masquerade.value}")
    return ", ".join(words)
