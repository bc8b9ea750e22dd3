"""The iptables backend: reads the tables, has transactions written, feeds the kernel."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from itertools import tee
from typing import get_args

from kproxy.address import Family
from kproxy.backend import Figure, Listing, Ruleset, Support, SyncReport, Uses
from kproxy.backend.held import Held
from kproxy.backend.saved_walk import counted_listing
from kproxy.errors import KernelRefused, Unsupported
from kproxy.forwarding.plan import Delta, NodeSettings, Plan
from kproxy.kernel import nfacct, sysctl
from kproxy.kernel.addresses import local_addresses
from kproxy.kernel.iptables_programs import Variant
from kproxy.kernel.iptables_save import Chains, Table, kube_chains
from kproxy.kernel.xtables import Xtables, installed_variants, open_xtables
from kproxy_iptables import cleanup, damage
from kproxy_iptables.claims import Claims
from kproxy_iptables.frame import INVALID_COUNTER, JUMPS, ROUTE_LOCALNET, FrameOptions
from kproxy_iptables.metrics import TABLES, Counts
from kproxy_iptables.names import (
    DISPATCH_CHAINS,
    FIXED_CHAINS,
    KUBELET_FIREWALL,
    SERVICE_CHAIN_PREFIXES,
)
from kproxy_iptables.options import IptablesOptions
from kproxy_iptables.rules import LOCALHOST_COUNTER, Context, node_port_ips, node_port_jumps
from kproxy_iptables.transaction import (
    NFT_BATCH_SERVICES,
    DispatchKey,
    Existing,
    Writer,
    edit,
    rewrite,
    undo,
)

_OURS = frozenset((*DISPATCH_CHAINS, *FIXED_CHAINS))


class IptablesBackend:
    """One family's rules in the namespace of the calling thread. See kproxy.backend.Backend."""

    name = cleanup.MODE

    def __init__(self, family: Family, options: IptablesOptions) -> None:
        self.family = family
        self._options = options
        self._opened: Xtables | None = None
        self._frame: FrameOptions | None = None
        self._claims = Claims([])
        self._localhost_counter = False
        self._node_port_jumps: list[str] = []
        self._dispatch_sizes: Counter[DispatchKey] = Counter()
        self._generation: tuple[int, ...] = ()
        self._held = Held(family.value)  # chains of table nat
        self._counts = Counts(family)
        self._jumps_written: Counter[str] = Counter()  # of a full sync

    def support(self) -> Support:
        try:
            self._xtables.require()
        except Unsupported as error:
            return Support(False, str(error), error.remedy)
        return Support(True)

    def prepare(self, settings: NodeSettings, /) -> None:
        if settings.localhost_node_ports:
            sysctl.write(ROUTE_LOCALNET, 1)

    def sync(self, plan: Plan, delta: Delta) -> SyncReport:
        node_port_rules = node_port_jumps(plan.settings, self._node_ips(plan))
        full = delta.full or self._frame is None
        if full:
            self._claims = Claims(plan.services.values())
        else:
            self._claims.follow(plan.services, delta.before)
            full = self._claims.are_contested(plan.services, delta.before, self._context(plan))
        if full:
            writers = self._rewrite(plan, node_port_rules)
            sizes: Counter[DispatchKey] = Counter()
        else:
            writers = self._edit(plan, delta, (self._node_port_jumps, node_port_rules))
            sizes = self._dispatch_sizes.copy()
        transactions = 0
        written: Counter[str] = Counter()
        grown: Counter[str] = Counter()
        for writer in writers:
            transactions += 1
            written += writer.written
            grown.update(writer.grown)
            sizes.update({key: writer.net[key] for key in DISPATCH_CHAINS})
        self._node_port_jumps = node_port_rules
        self._dispatch_sizes = sizes
        self._count(written, None if full else grown)
        if self._held.is_due(time.monotonic()):
            self._delete(self._held.names)
        self._generation = self._xtables.generation()
        return SyncReport(
            full=full,
            transactions=transactions,
            rules_written=written,
            again_in_s=self._held.again_in_s(time.monotonic()),
        )

    def intact(self) -> bool:
        generation = self._xtables.generation()
        if generation == self._generation:
            return True
        if damage.found(self._xtables, self._dispatch_sizes, self._held.names):
            return False
        self._generation = generation  # the change did not concern our rules
        return True

    def read(self) -> Ruleset:
        return {table: kube_chains(chains) for table, chains in self._xtables.read_all().items()}

    def listing(self) -> Listing:
        return counted_listing(self._xtables.counted(JUMPS))

    def cleanup(self) -> None:
        for variant in get_args(Variant):
            cleanup.remove_all(Xtables(self.family, variant))
        self._frame = None

    def close(self) -> None:
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    def figures(self) -> tuple[Figure, ...]:
        return tuple(self._counts.figures())

    def uses(self) -> Uses:
        return Uses(
            mode=self.name,
            variant=self._xtables.variant,
            chains=frozenset((*DISPATCH_CHAINS, *FIXED_CHAINS, ("filter", KUBELET_FIREWALL))),
            jumps=frozenset(JUMPS),
        )

    def has_left(self, successor: Uses) -> bool:
        return any(map(cleanup.is_needed, self._tables_but(successor)))

    def leave(self, successor: Uses, /) -> bool:
        in_use: Collection[tuple[Table, str]] = ()
        if self.family is Family.IPV4 and successor.mode != self.name:
            in_use = cleanup.chains_in_use()
        installed = installed_variants()
        for xtables in self._tables_but(successor):
            if xtables.variant in installed or cleanup.is_needed(xtables):
                cleanup.remove_all(xtables, successor, in_use)
        return bool(in_use)

    def _tables_but(self, successor: Uses) -> Iterator[Xtables]:
        """Yield the tables of each variant, except that of a successor in this mode."""
        for variant in get_args(Variant):
            if (successor.mode, successor.variant) != (self.name, variant):
                yield Xtables(self.family, variant)

    @property
    def _xtables(self) -> Xtables:
        """Choose the variant at first use: before, the thread may be in another namespace."""
        if self._opened is None:
            self._opened = open_xtables(self.family, self._options.iptables_variant)
            self._opened.keep_open()
        return self._opened

    def _count(self, written: Counter[str], grown: Counter[str] | None) -> None:
        """Note what was written; `grown` is by how many rules, None if it was everything.

        As in kube-proxy the jumps from chains of the kernel are not counted.
        """
        counts = self._counts
        if grown is None:
            written = written - self._jumps_written
            counts.rules = Counter({table: written[table] for table in TABLES})
        else:
            counts.rules.update({table: grown[table] for table in TABLES})
        counts.written = written

    def _context(self, plan: Plan) -> Context:
        return Context(
            settings=plan.settings,
            endpoint_comments=not plan.large_cluster,
            localhost_counter=self._localhost_counter,
        )

    def _rewrite(self, plan: Plan, node_port_rules: list[str]) -> Iterator[Writer]:
        """Write everything, and yield each transaction after it was made.

        Chains that are no longer needed are deleted after that, in one of their own: a
        predecessor's rule that leads to one of them must not keep the rest from being in force.
        """
        saved = self._xtables.save_all(JUMPS)
        existing = _existing(saved)
        self._jumps_written = Counter(j.table for j in JUMPS if j not in existing.jumps)
        others = {chain: rules for chain, rules in saved["nat"].items() if not _is_ours(chain)}
        del saved
        self.prepare(plan.settings)
        frame = self._frame_options()
        writers = rewrite(
            plan,
            existing,
            self._context(plan),
            frame,
            node_port_rules,
            NFT_BATCH_SERVICES if self._xtables.variant == "nft" else max(1, len(plan.services)),
        )
        stale: list[str] = []
        for_kernel, for_report = tee(writers)
        written = self._xtables.restore_all(writer.pieces() for writer in for_kernel)
        try:
            for writer, _ in zip(for_report, written, strict=True):
                stale += writer.stale
                yield writer
        except KernelRefused:
            self._counts.restore_failures += 1
            raise
        self._held.needed(self._held.names.difference(stale))  # or gone
        self._delete(stale, others | {name: [] for name in stale})

    def _edit(
        self, plan: Plan, delta: Delta, jumps: tuple[list[str], list[str]]
    ) -> Iterator[Writer]:
        """Write the difference, and yield the transaction after it was made, if any.

        It deletes chains that are no longer needed as well, since two would cost twice as much. If
        it is refused, perhaps because something leads to one of them, all else is written first.
        """

        def difference() -> Writer:
            return edit(plan, delta.before, self._context(plan), jumps)

        writer = difference()
        held = [name for name in writer.stale if self._held.knows(name)]
        free = [name for name in writer.stale if not self._held.knows(name)]
        writer.delete(free)
        if not writer:
            return
        try:
            self._restore_edit(writer, plan, delta)
        except KernelRefused:
            if not free:
                raise
            writer = difference()
            self._restore_edit(writer, plan, delta)
            self._delete(free)
        self._held.needed(writer.filled)
        self._held.unneeded(held)
        yield writer

    def _restore_edit(self, writer: Writer, plan: Plan, delta: Delta) -> None:
        """Feed an edit. If it is refused, undo what may be in force in a table written before."""
        try:
            self._xtables.restore(writer.pieces())
        except KernelRefused:
            self._counts.restore_failures += 1
            self._counts.partial_restore_failures += 1
            if back := undo(plan, delta.before, self._context(plan)):
                with suppress(KernelRefused):  # nothing was written, or there is other damage
                    self._xtables.restore(back.pieces())
            raise

    def _delete(self, chains: Collection[str], saved: Chains | None = None) -> None:
        """Delete empty chains as far as nothing leads to them. `saved`: see `delete_chains`."""
        if chains:
            failures = self._xtables.delete_chains("nat", chains, saved)
            self._held.tried(chains, failures, time.monotonic())

    def _frame_options(self) -> FrameOptions:
        """Create the counters that the rules use, and return the settings, which are read once."""
        counters = nfacct.ensure_counter(INVALID_COUNTER)
        self._localhost_counter = nfacct.ensure_counter(LOCALHOST_COUNTER)
        if self._frame is None:
            self._frame = FrameOptions(drop_invalid=not _be_liberal(), invalid_counter=counters)
        return self._frame

    def _node_ips(self, plan: Plan) -> list[str]:
        """Return this node's addresses that answer node ports, none if all do."""
        wanted = plan.settings.node_port_addresses
        if wanted.match_all:
            return []
        return node_port_ips(plan.settings, local_addresses(self.family, wanted.cidrs))


def _existing(saved: Mapping[Table, Chains]) -> Existing:
    return Existing(
        chains={table: frozenset(chains) for table, chains in saved.items()},
        jumps=frozenset(j for j in JUMPS if j.rule in saved[j.table].get(j.chain, ())),
    )


def _is_ours(chain: str) -> bool:
    """Tell whether a full sync writes or empties this chain of table nat."""
    return chain.startswith(SERVICE_CHAIN_PREFIXES) or ("nat", chain) in _OURS


def _be_liberal() -> bool:
    try:
        return sysctl.read("net/netfilter/nf_conntrack_tcp_be_liberal") != "0"
    except (KernelRefused, Unsupported):  # kube-proxy, too, takes an unreadable setting as 0
        return False
