"""The nftables backend: one transaction for each sync.

All is in one table, so that other tables and this one cannot disturb each other. A full sync
replaces all but base chains, which stay hooked, and the sets in which rules remember clients; an
incremental one reads nothing. What the kernel refuses leaves it as it was.
"""

from __future__ import annotations

import logging

from kproxy.backend import BackendOptions, Ruleset, Support, SyncReport
from kproxy.errors import KernelRefused, Unsupported
from kproxy.forwarding.plan import Delta, Family, NodeSettings, Plan, ServicePortName
from kproxy.forwarding.routing import is_loopback
from kproxy.kernel.addresses import local_addresses
from kproxy.kernel.netlink import Request
from kproxy.kernel.nftables.listing import table_listing
from kproxy.kernel.nftables.objects import NEW_RULE, Table
from kproxy.kernel.nftables.session import Session, TableReader
from kproxy_nftables import damage, flat_layout, kube_proxy_layout, transaction
from kproxy_nftables.contents import Contents
from kproxy_nftables.names import NODE_PORT_IPS, TABLE
from kproxy_nftables.support import rehearsal, require_nft
from kproxy_nftables.transaction import Fixed
from kproxy_nftables.wanted import MEMBER, NOTHING, ElementKey, Wanted
from kproxy_nftables.words import address_bytes

_NODE = ServicePortName("", "", "", "")  # it wants what no Service does

log = logging.getLogger("kproxy")


class NftablesBackend:
    """One family's table in the namespace of the calling thread. See kproxy.backend.Backend."""

    name = "nftables"

    def __init__(self, family: Family, options: BackendOptions) -> None:
        self.family = family
        self._flat = options.nftables_layout == "flat"
        self._wanted = flat_layout.wanted if self._flat else kube_proxy_layout.wanted
        self._table = Table(family, TABLE)
        self._settings: NodeSettings | None = None  # of the last sync; None: it has failed
        self._fixed: Fixed
        self._contents: Contents
        self._node_wants: Wanted
        self._generation = 0

    def support(self) -> Support:
        try:
            require_nft()
            with Session() as session:
                session.rehearse(rehearsal(self.family))
        except Unsupported as error:
            return Support(False, str(error), error.remedy)
        except KernelRefused as error:
            return Support(False, f"nf_tables of this kernel: {error}", "use Linux 5.13 or newer")
        return Support(True)

    def prepare(self, _settings: NodeSettings, /) -> None:
        """Nothing: the rules rely on no setting."""

    def sync(self, plan: Plan, delta: Delta) -> SyncReport:
        full = delta.full or self._settings is None
        self._settings = None  # until it is done
        with Session() as session:
            before = session.generation()
            requests = self._everything(plan) if full else self._difference(plan, delta)
            if full:
                self._replace(session, requests)
            elif requests:
                session.commit(requests)
            # A transaction of somebody else's in between may have done anything to the table.
            alone = session.generation() == before + bool(requests)
            if not alone:
                self._generation = 0
            elif requests:
                self._generation = before + 1
        self._settings = plan.settings
        return SyncReport(
            full=full,
            transactions=1 if requests else 0,
            rules_written={TABLE: sum(1 for each in requests if each.kind == NEW_RULE)},
        )

    def intact(self) -> bool:
        """Rules are counted by chain, elements by set; the next full sync sees the rest."""
        if self._settings is None or self._node(self._settings) != self._node_wants:
            return False
        with Session() as session:
            generation = session.generation()
            if generation != self._generation:
                reader = TableReader(session, self.family, TABLE)
                if damage.found(reader, self._settings, self._fixed, self._contents):
                    return False
                self._generation = generation  # somebody else's business
        return True

    def read(self) -> Ruleset:
        """`chain NAME` -> rules; `set NAME`, `map NAME` -> elements."""
        return {TABLE: table_listing(self.family, TABLE)}

    def cleanup(self) -> None:
        with Session() as session:
            session.commit([self._table.create(), self._table.delete()])
        self._settings = None

    def _everything(self, plan: Plan) -> list[Request]:
        self._contents = Contents()
        self._fixed = Fixed(plan.settings, flat=self._flat)
        self._node_wants = self._node(plan.settings)
        self._contents.change(_NODE, NOTHING, self._node_wants)
        for service in plan.services.values():
            self._contents.change(service.name, NOTHING, self._wanted(service, plan.settings))
        changes = self._contents.take_changes()
        return [
            *transaction.fixed(self._table, self._fixed),
            *transaction.changed(self._table, changes, plan.settings),
        ]

    def _difference(self, plan: Plan, delta: Delta) -> list[Request]:
        node_wants = self._node(plan.settings)
        self._contents.change(_NODE, self._node_wants, node_wants)
        self._node_wants = node_wants
        for name, former in delta.before.items():
            fresh = plan.services.get(name)
            self._contents.change(
                name,
                self._wanted(former, plan.settings) if former else NOTHING,
                self._wanted(fresh, plan.settings) if fresh else NOTHING,
            )
        changes = self._contents.take_changes()
        return [*transaction.changed(self._table, changes, plan.settings)]

    def _replace(self, session: Session, requests: list[Request]) -> None:
        """Put this in the place of whatever the table holds."""
        reader = TableReader(session, self.family, TABLE)
        kept = self._contents.affinity_sets
        emptied = transaction.emptied(self._table, reader.chains(), reader.sets(), kept)
        try:
            session.commit([*emptied, *requests])
        except KernelRefused as error:
            # Chains or sets of that name are there, but of another kind: hooked elsewhere, ...
            log.debug("the table cannot be taken over, so it is made anew: %s", error)
            session.commit([*transaction.recreated(self._table), *requests])

    def _node(self, settings: NodeSettings) -> Wanted:
        """The addresses that answer node ports, unless all do."""
        selected = settings.node_port_addresses
        if selected.match_all:
            return NOTHING
        addresses = local_addresses(self.family, selected.cidrs)
        return Wanted(
            {
                ElementKey(NODE_PORT_IPS, address_bytes(address)): MEMBER
                for address in addresses
                if not is_loopback(address)
            },
            {},
            {},
        )
