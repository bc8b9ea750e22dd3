"""The nftables backend: one transaction for most syncs, and few for others.

Everything is in one table, so that other tables and this one cannot disturb each other. A full sync
reads the existing rules, and writes the chains that differ and all elements; the sets in which
rules remember clients stay. An incremental one reads nothing. If refused, a transaction changes
nothing; then a full one follows at once.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping

from kproxy.address import Family
from kproxy.backend import (
    Figure,
    ListedRule,
    Listing,
    Ruleset,
    Support,
    SyncReport,
    Uses,
    uncounted,
)
from kproxy.errors import KernelRefused, Unsupported
from kproxy.forwarding.plan import Delta, LoopbackNodePorts, NodeSettings, Plan
from kproxy.kernel.addresses import local_addresses
from kproxy.kernel.lacking import require_nf_tables
from kproxy.kernel.netlink import Request
from kproxy.kernel.nftables.listing import table_listing
from kproxy.kernel.nftables.objects import NEW_RULE, Table
from kproxy.kernel.nftables.session import Session, TableReader
from kproxy_nftables import damage, flat_layout, kube_proxy_layout, localhost, metrics
from kproxy_nftables.contents import Contents
from kproxy_nftables.localhost_rejected import PROTOCOLS
from kproxy_nftables.localhost_serving import LocalhostServing
from kproxy_nftables.names import TABLE
from kproxy_nftables.options import NftablesOptions
from kproxy_nftables.support import rehearsal, require_nft
from kproxy_nftables.transaction import (
    Fixed,
    Present,
    difference,
    from_nothing,
    replacement,
)
from kproxy_nftables.wanted import NODE, NOTHING, Wanted, node_elements

_MANY_CHANGES = 1000  # service ports; beyond, reading the table costs less (`replacement`)

_COUNTER = re.compile(r'counter name "([^"]+)"')

log = logging.getLogger("kproxy")


class NftablesBackend:
    """One family's table in the namespace of the calling thread.

    `localhost`: the listeners for node ports on the loopback address. See kproxy.backend.Backend
    and Predecessor.
    """

    name = "nftables"

    def __init__(self, family: Family, options: NftablesOptions) -> None:
        self.family = family
        self.localhost = LocalhostServing(family)
        self._flat = options.nftables_layout == "flat"
        self._wanted = flat_layout.wanted if self._flat else kube_proxy_layout.wanted
        self._table = Table(family, TABLE)
        self._opened: Session | None = None
        self._settings: NodeSettings | None = None  # of the last sync; None: it has failed
        self._fixed: Fixed
        self._contents: Contents
        self._node_wants: Wanted
        self._generation = 0  # at which the table was as it should be
        self._transactions = self._rules = 0  # of this sync
        self._refused = 0  # transactions
        self._loopback = LoopbackNodePorts.IGNORED  # as last synced

    def support(self) -> Support:
        try:
            require_nft()
            require_nf_tables(self.family)
            self._session.rehearse(rehearsal(self.family))
        except Unsupported as error:
            return Support(False, str(error), error.remedy)
        except KernelRefused as error:
            refused = str(error).splitlines()[0]
            return Support(False, f"nf_tables of this kernel: {refused}", "use Linux 5.13 or newer")
        return Support(True)

    def prepare(self, _settings: NodeSettings, /) -> None:
        """Do nothing: the rules rely on no setting."""

    def sync(self, plan: Plan, delta: Delta) -> SyncReport:
        many = len(delta.before) > _MANY_CHANGES
        full = delta.full or many or self._settings is None
        self._settings = None  # until it is done
        self._rules = self._transactions = 0
        before = self._session.generation()
        if full:
            self._take_over(plan)
        else:
            full = self._follow_or_take_over(plan, delta)
        # A transaction of another process in between may have done anything to the table.
        generation = self._session.generation()
        if generation != before + self._transactions:
            self._generation = 0
        elif self._generation == before or full:
            self._generation = generation
        self.localhost.follow(plan, delta)
        self._settings = plan.settings
        self._loopback = plan.settings.loopback_node_ports
        return SyncReport(
            full=full, transactions=self._transactions, rules_written={TABLE: self._rules}
        )

    def intact(self) -> bool:
        """Count rules by chain and elements by set; the next full sync checks the rest."""
        if self._settings is None or self._node(self._settings) != self._node_wants:
            return False
        if not self.localhost.intact:
            return False
        generation = self._session.generation()
        if generation != self._generation:
            if damage.found(self._reader, self._settings, self._fixed, self._contents):
                return False
            self._generation = generation  # the change did not concern our table
        return True

    def read(self) -> Ruleset:
        """Return `chain NAME` -> rules; `set NAME`, `map NAME` -> elements."""
        return {TABLE: table_listing(self.family, TABLE)}

    def listing(self) -> Listing:
        """Return what `read` does. Rules count nothing, but for those that have a named counter."""
        found = uncounted(self.read())
        with Session() as session:
            counted = TableReader(session, self.family, TABLE).counters()
        return {
            table: {
                name: tuple(ListedRule(rule.text, _counted(rule.text, counted)) for rule in rules)
                for name, rules in chains.items()
            }
            for table, chains in found.items()
        }

    def rejected_packets(self) -> dict[str, int]:
        """Return, by protocol, how many packets to node ports on loopback addresses were rejected.

        Only protocols that are rejected now. May be called during a sync.
        """
        with Session() as session:
            counted = TableReader(session, self.family, TABLE).counters()
        found = {each: counted.get(localhost.counter(each)) for each in PROTOCOLS}
        return {protocol: packets for protocol, packets in found.items() if packets is not None}

    def figures(self) -> tuple[Figure, ...]:
        """Return failures and, with the gate of localhost node ports, what concerns those."""
        own = (self.family.value,)
        failures = (
            Figure(metrics.SYNC_FAILURES, own, self._refused),
            Figure(metrics.CLEANUP_FAILURES, own, 0),
        )
        if self._loopback is LoopbackNodePorts.IGNORED:
            return failures
        return (
            *failures,
            Figure(metrics.LISTENERS, own, self.localhost.listeners),
            Figure(metrics.LISTENER_FAILURES, own, self.localhost.creation_failures),
            *(
                Figure(metrics.REJECTED_PACKETS, (*own, protocol), packets)
                for protocol, packets in self.rejected_packets().items()
            ),
        )

    def cleanup(self) -> None:
        self.localhost.close()
        self._commit([self._table.create(), self._table.delete()])
        self._settings = None

    def close(self) -> None:
        self.localhost.close()
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    def uses(self) -> Uses:
        return Uses(mode=self.name)

    def has_left(self, successor: Uses) -> bool:
        """Tell whether the table exists, unless the successor is of this mode: its sync replaces
        the other layout's objects.
        """
        return successor.mode != self.name and self._reader.exists()

    def leave(self, _successor: Uses, /) -> bool:
        self.cleanup()
        return False

    def _take_over(self, plan: Plan) -> None:
        """Write the whole table, from any state."""
        settings = plan.settings
        self._contents = Contents()
        self._fixed = Fixed(settings, flat=self._flat)
        self._node_wants = self._node(settings)
        self._contents.change(NODE, NOTHING, self._node_wants)
        for service in plan.services.values():
            self._contents.change(service.name, NOTHING, self._wanted(service, settings))
        changes = self._contents.take_changes()
        present = self._present()
        self._table.avoid(present.sets)
        try:
            for requests in replacement(self._table, present, self._fixed, changes, settings):
                self._commit(requests)
        except KernelRefused as error:
            log.debug(
                "the table cannot be taken over, so it is deleted and created again: %s", error
            )
            self._commit([*from_nothing(self._table, self._fixed, changes, settings)])

    def _follow_or_take_over(self, plan: Plan, delta: Delta) -> bool:
        """Write the difference or, if the table is not as it was left, everything. Tell which.

        A rule of another program in our table may lead to a chain that is no longer needed: taking
        over the table removes what is not ours, so nothing can hold up anything there.
        """
        try:
            self._follow(plan, delta)
        except KernelRefused as error:
            log.warning(
                "%s: another process has changed table %s%s; writing everything again: %s",
                self.family.value,
                TABLE,
                damage.foreign_rules(self._reader),
                " | ".join(str(error).splitlines()),
            )
            self._take_over(plan)
            return True
        return False

    def _follow(self, plan: Plan, delta: Delta) -> None:
        """Write the difference from the former contents, which must be in the kernel."""
        settings = plan.settings
        node_wants = self._node(settings)
        self._contents.change(NODE, self._node_wants, node_wants)
        self._node_wants = node_wants
        for name, former in delta.before.items():
            fresh = plan.services.get(name)
            self._contents.change(
                name,
                self._wanted(former, settings) if former else NOTHING,
                self._wanted(fresh, settings) if fresh else NOTHING,
            )
        for requests in difference(self._table, self._contents.take_changes(), settings):
            self._commit(requests)

    def _commit(self, requests: list[Request]) -> None:
        if requests:
            try:
                self._session.commit(requests)
            except KernelRefused:
                self._refused += 1
                raise
            except Unsupported:
                self._refused += 1
                self._require_no_owner()
                raise
            self._transactions += 1
            self._rules += sum(1 for each in requests if each.kind == NEW_RULE)

    def _require_no_owner(self) -> None:
        if owner := self._reader.owner():
            raise KernelRefused(
                f"table {TABLE} has the flag `owner`: only the process that made it may change it",
                remedy=f"end that process, probably pid {owner}; the table ends with it",
            )

    def _present(self) -> Present:
        reader = self._reader
        return Present(reader.chains(), reader.rules(), reader.sets(), reader.counters().keys())

    @property
    def _session(self) -> Session:
        """Open the session at first use: before, the thread may be in another namespace.

        It is kept open, because to close one the kernel waits until all transactions are freed.
        """
        if self._opened is None:
            self._opened = Session()
        return self._opened

    @property
    def _reader(self) -> TableReader:
        return TableReader(self._session, self.family, TABLE)

    def _node(self, settings: NodeSettings) -> Wanted:
        """Return elements for the addresses that answer node ports, none if all do."""
        selected = settings.node_port_addresses
        if selected.match_all:
            return NOTHING
        return node_elements(local_addresses(self.family, selected.cidrs))


def _counted(rule: str, counters: Mapping[str, int | None]) -> int | None:
    found = _COUNTER.search(rule)
    return counters.get(found[1]) if found else None
