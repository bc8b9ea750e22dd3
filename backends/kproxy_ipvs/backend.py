"""The ipvs backend: one sync, step by step.

Objects that admit traffic are written before those that attract it, and removed after them: first
set entries and rules, then addresses, then virtual servers; at the end unwanted objects are removed
in reverse order. Each step can be repeated, but the kernel has no transaction that spans them.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable

from kproxy.address import Family
from kproxy.api.addresses import Network, parse_cidr
from kproxy.backend import Figure, Listing, Metric, MetricKind, Ruleset, Support, SyncReport, Uses
from kproxy.backend.held import Held
from kproxy.errors import KernelRefused, Unsupported
from kproxy.forwarding.plan import Delta, NodeSettings, Plan
from kproxy.kernel import addresses, ipset
from kproxy.kernel.iptables_save import Jump, Table
from kproxy.kernel.ipvs import Batch, Settings, VirtualServer, has_ipvs
from kproxy.kernel.leading import target
from kproxy.kernel.xtables import Xtables, open_xtables
from kproxy_ipvs import cleanup, damage, kernel_settings, leaving, reading, rules
from kproxy_ipvs.desired import Desired, Difference, difference
from kproxy_ipvs.names import (
    CHAIN_OF_IPTABLES_MODE,
    CHAINS,
    DEVICE,
    JUMPS,
    SETS,
    SOURCES_CHAIN,
)
from kproxy_ipvs.options import IpvsOptions
from kproxy_ipvs.servers import Servers
from kproxy_ipvs.sets import Sets
from kproxy_ipvs.sockets import Sockets
from kproxy_ipvs.wanted import Entry, Place, place_of, wanted

_PROBE = VirtualServer("TCP", "198.51.100.0", 20000)  # an address for documentation (RFC 5737)
_RESTORE_FAILURES = Metric(
    name="kubeproxy_sync_proxy_rules_iptables_restore_failures_total",
    kind=MetricKind.COUNTER,
    help="Transactions that iptables or the kernel has refused.",
    labels=("ip_family",),
)


class IpvsBackend:
    """One family's virtual servers and the objects around them, in the namespace of the calling
    thread. See kproxy.backend.Backend.
    """

    name = "ipvs"

    def __init__(self, family: Family, options: IpvsOptions) -> None:
        self.family = family
        self._options = options
        self._opened: Xtables | None = None
        self._sockets = Sockets()
        self._place: Place | None = None
        self._desired = Desired()
        self._servers = Servers(family)
        self._held = Held(family.value)  # a chain and sets
        self._sets = Sets(family, self._held)
        self._rules: dict[Table, list[str]] = {}  # by table, as last written
        self._generation: tuple[int, ...] = ()
        self._restore_failures = 0

    def support(self) -> Support:
        try:
            self._xtables.require()
            ipset.require({kind.type for kind in SETS.values()}, self.family)
            has_ipvs()  # loads the module
            self._probe_scheduler()
        except Unsupported as error:
            return Support(False, str(error), error.remedy)
        return Support(True)

    def prepare(self, _settings: NodeSettings, /) -> None:
        kernel_settings.write_all(self._options)
        with self._sockets as sockets:
            kernel_settings.set_timeouts(sockets.ipvs, self._options)

    def sync(self, plan: Plan, delta: Delta) -> SyncReport:
        place = self._read_place(plan)
        full = delta.full or place != self._place
        self._place = None  # until all is done
        requests = self._servers.requests
        with self._sockets as sockets:
            written = self._take_over(plan, place) if full else self._follow(plan, place, delta)
            if full or self._held.is_due(time.monotonic()):
                self._remove_leftovers(plan)
            again = (
                self._servers.drain_if_due(sockets.ipvs, time.monotonic()),
                self._held.again_in_s(time.monotonic()),
            )
        self._place = place
        written["ipvs"] = self._servers.requests - requests
        return SyncReport(
            full=full,
            transactions=sum(1 for count in written.values() if count),
            rules_written=written,
            again_in_s=min(filter(None, again), default=0),
        )

    def intact(self) -> bool:
        """Count addresses, entries and virtual servers; the periodic full sync checks the rest."""
        found = addresses.node_addresses(self.family, but=DEVICE)
        if self._place is None or self._place.node_addresses != frozenset(found):
            return False
        if damage.of_sets(self._sets.names, self._desired.entry_counts):
            return False
        if addresses.count_of(DEVICE, self.family) < len(self._desired.addresses.all()):
            return False
        with self._sockets as sockets:
            if sockets.ipvs.count(self.family) < len(self._desired.servers()):
                return False
        generation = self._xtables.generation()
        if generation != self._generation:
            if damage.of_rules(self._xtables, self._rules):
                return False
            self._generation = generation  # the change did not concern our rules
        return True

    def read(self) -> Ruleset:
        return reading.ruleset(self._xtables)

    def listing(self) -> Listing:
        return reading.listing(self._xtables)

    def cleanup(self) -> None:
        cleanup.remove_all(self.family, self._excluded())
        self._place = None

    def close(self) -> None:
        self._sockets.close()

    def figures(self) -> tuple[Figure, ...]:
        return (Figure(_RESTORE_FAILURES, (self.family.value,), self._restore_failures),)

    def uses(self) -> Uses:
        return Uses(
            mode=self.name,
            variant=self._xtables.variant,
            chains=frozenset(CHAINS),
            jumps=frozenset(JUMPS),
        )

    def has_left(self, successor: Uses) -> bool:
        return leaving.has_left(self.family, successor, self.name)

    def leave(self, successor: Uses, /) -> bool:
        return leaving.leave(self.family, successor, self.name, self._excluded())

    def _take_over(self, plan: Plan, place: Place) -> Counter[str]:
        """Write everything, from any state."""
        self._desired = desired = Desired()
        for service in plan.services.values():
            desired.change(service.name, None, wanted(service, place))
        desired.take_changes()
        self.prepare(plan.settings)
        addresses.ensure_dummy(DEVICE)
        addresses.remove_subnets(DEVICE, self.family)
        self._rules = {}
        return self._apply(
            plan,
            difference(desired.entries.all(), self._sets.take_over(desired.entries.all())),
            difference(desired.addresses.all(), addresses.addresses_of(DEVICE, self.family)),
            lambda: self._servers.take_over(self._sockets.ipvs, desired, self._excluded()),
            nat_last=self._xtables.has_chain(*CHAIN_OF_IPTABLES_MODE),
        )

    def _remove_leftovers(self, plan: Plan) -> None:
        """Remove what is in the way of nothing that is in force, as far as nobody uses it."""
        if self._sets.settle(self._desired.entries.all()):
            self._write_rules(plan, ("nat", "filter"))
        self._sets.destroy_spares()
        failures = leaving.undo_leaving(self._xtables)
        self._held.tried([SOURCES_CHAIN[1]], failures, time.monotonic())

    def _follow(self, plan: Plan, place: Place, delta: Delta) -> Counter[str]:
        """Write the difference from the former desired state, which must be in the kernel."""
        for name, former in delta.before.items():
            fresh = plan.services.get(name)
            self._desired.change(
                name,
                wanted(former, place) if former else None,
                wanted(fresh, place) if fresh else None,
            )
        changes = self._desired.take_changes()
        return self._apply(
            plan,
            changes.entries,
            changes.addresses,
            lambda: self._servers.change(self._sockets.ipvs, changes.servers),
        )

    def _apply(
        self,
        plan: Plan,
        entries: Difference[Entry],
        bound: Difference[str],
        change_servers: Callable[[], None],
        *,
        nat_last: bool = False,
    ) -> Counter[str]:
        """Write everything in order, and return the number of objects written, by table or kind.

        `nat_last`: our nat rules replace those of iptables mode, which must serve until the
        virtual servers do.
        """
        ipset.edit(self._sets.texts(entries.added), (), self._sockets.ipset)
        written = self._write_rules(plan, ("filter",) if nat_last else ("nat", "filter"))
        addresses.add_addresses(DEVICE, bound.added)
        change_servers()
        if nat_last:
            written += self._write_rules(plan, ("nat",))
        addresses.remove_addresses(DEVICE, bound.removed)
        ipset.edit((), self._sets.texts(entries.removed), self._sockets.ipset)
        written["ipset"] = len(entries.added) + len(entries.removed)
        written[DEVICE] = len(bound.added) + len(bound.removed)
        return written

    def _write_rules(self, plan: Plan, tables: Iterable[Table]) -> Counter[str]:
        """Write all rules of these tables unless none has changed; there are few of them."""
        desired = self._desired
        all_rules = rules.all_rules(plan.settings, desired.filled, desired.firewall.all())
        fresh = {table: self._sets.in_rules(all_rules[table]) for table in tables}
        if all(self._rules.get(table) == lines for table, lines in fresh.items()):
            return Counter()
        lines = rules.transaction(fresh, self._present_jumps(fresh))
        try:
            self._xtables.restore(lines)
        except KernelRefused:
            self._restore_failures += 1
            raise
        self._rules = self._rules | fresh
        self._generation = self._xtables.generation()
        return Counter({table: len(lines) for table, lines in fresh.items()})

    def _present_jumps(self, tables: Collection[Table]) -> list[Jump]:
        """Return those of our jumps in these tables that there are; no program is started where all
        are as we wrote them, or where there is no chain that they could lead to.
        """
        xtables = self._xtables
        ours = [jump for jump in JUMPS if jump.table in tables]
        if self._rules.keys() >= {*tables} and xtables.generation() == self._generation:
            return ours
        if not any(xtables.has_chain(jump.table, target(jump.rule)) for jump in ours):
            return []
        saved = xtables.save_all(JUMPS)
        return [jump for jump in ours if jump.rule in saved[jump.table].get(jump.chain, ())]

    def _read_place(self, plan: Plan) -> Place:
        found = addresses.node_addresses(self.family, but=DEVICE)
        return place_of(plan.settings, found, self._options.scheduler or "rr")

    def _excluded(self) -> list[Network]:
        networks = map(parse_cidr, self._options.exclude_cidrs)
        return [network for network in networks if network]

    @property
    def _xtables(self) -> Xtables:
        """Choose the variant at first use: before, the thread may be in another namespace."""
        if self._opened is None:
            self._opened = open_xtables(self.family, self._options.iptables_variant)
        return self._opened

    def _probe_scheduler(self) -> None:
        """Have the kernel load the scheduler's module. Raises Unsupported if it has none."""
        scheduler = self._options.scheduler or "rr"
        with self._sockets as sockets:
            ipvs = sockets.ipvs
            present = ipvs.virtual_servers(Family.IPV4)
            if any(settings.scheduler == scheduler for settings in present.values()):
                return
            probe = Batch()
            probe.add(_PROBE, Settings(scheduler, 0, 0))
            probe.delete(_PROBE)
            try:
                ipvs.apply(probe)
            except KernelRefused as error:
                raise Unsupported(
                    f"this kernel has no IPVS scheduler {scheduler!r}: {error}",
                    remedy=f"modprobe ip_vs_{scheduler}, or choose another (--ipvs-scheduler)",
                ) from None
