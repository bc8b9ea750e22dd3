"""The text for iptables-restore, from a plan or the difference of two. Pure.

A sync that follows another edits: chains of a changed service port are rewritten where they differ,
its rules in the dispatch chains are deleted and inserted one by one. A full sync writes
everything, in one transaction or, where that is super-linear (nft), in batches: chains first, and
with the last one the dispatch rules that lead to them.

With --noflush, declaring a chain empties it, and what is not mentioned stays.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice

from msgspec import Struct

from kproxy.backend import masquerade
from kproxy.forwarding.plan import Plan, ServicePlan, ServicePortName
from kproxy.kernel.iptables_save import Jump
from kproxy_iptables.frame import (
    JUMPS,
    FrameOptions,
    firewall_rules,
    forward_rules,
)
from kproxy_iptables.names import (
    CANARY,
    DISPATCH_CHAINS,
    KUBELET_FIREWALL,
    SERVICE_CHAIN_PREFIXES,
)
from kproxy_iptables.rules import (
    Context,
    DispatchRule,
    dispatch_rules,
    filter_rules,
    nat_rules,
    service_chain_names,
    service_chains,
)

# The work of the nft variant's program grows with the square of a transaction, the kernel's by
# the number of transactions. With it, 10,000 Services of 5 endpoints took 12.4, 9.2, 8.4, 7.3, 8.8,
# 11.2 s in batches of 50, 100, 200, 300, 400, 500, and 59 s in batches of 2000 (iptables 1.8.9,
# Linux 6.18). Without it, the kernel takes about as long for any size from 300 on; memory grows.
# The legacy variant copies the whole table for each transaction: there one is best.
NFT_BATCH_SERVICES = 300

DispatchKey = tuple[str, str]  # table, chain
# In this order, a frontend that loses its endpoints is refused before it is no longer translated.
DISPATCH_TABLES = ("filter", "nat")


class Existing(Struct, frozen=True, kw_only=True):
    """The state that a full sync finds: chains by table, and those of our jumps that exist."""

    chains: Mapping[str, frozenset[str]]
    jumps: frozenset[Jump]


class Writer:
    """The lines of one transaction, by table, made while they are fed to the kernel's tool.

    After `pieces` has run out, `written` is the number of rules by table, and `net` the number of
    rules by which each dispatch chain has grown; a declared chain counts from zero. `grown` is, for
    an edit, by how many rules each table has grown. `filled` are chains of services that have rules
    now, `stale` those that were emptied, for none needs them.
    """

    def __init__(self) -> None:
        self._lines: dict[str, list[Iterable[str]]] = {"filter": [], "nat": [], "mangle": []}
        self.written: Counter[str] = Counter()
        self.net: Counter[DispatchKey] = Counter()
        self.grown: Counter[str] = Counter()
        self.filled: set[str] = set()
        self.stale: list[str] = []

    def declare(self, table: str, chains: Sequence[str]) -> None:
        """Create the chains, or empty them."""
        self.add(table, [f":{name} - [0:0]" for name in chains])

    def add(self, table: str, lines: Iterable[str]) -> None:
        """Add lines as iptables-restore reads them; an iterator is consumed when they are fed."""
        if lines:
            self._lines[table].append(lines)

    def dispatch(self, operation: str, rules: Iterable[DispatchRule]) -> Iterator[str]:
        """Yield lines that "-A", "-I" or "-D" these rules, counting each.

        Insertions are yielded in reverse, since each rule is put at the top.
        """
        step = -1 if operation == "-D" else 1
        for table, name, rule in reversed([*rules]) if operation == "-I" else rules:
            self.net[table, name] += step
            self.grown[table] += step
            yield f"{operation} {name} {rule}"

    def delete(self, chains: Iterable[str]) -> None:
        """Delete chains of services, which must be empty. To be added last."""
        self.add("nat", [f"-X {name}" for name in chains])

    def keep_only(self, table: str) -> None:
        for other in self._lines.keys() - {table}:
            self._lines[other].clear()

    def __bool__(self) -> bool:
        return any(self._lines.values())

    def pieces(self) -> Iterator[str]:
        """Yield the text, in pieces of some ten kilobytes. To be called once."""
        for table, parts in self._lines.items():
            if not parts:
                continue
            yield f"*{table}\n"
            lines = chain.from_iterable(parts)
            while piece := list(islice(lines, 256)):
                self.written[table] += sum(1 for line in piece if line[:2] in ("-A", "-I"))
                yield "\n".join(piece) + "\n"
            yield "COMMIT\n"


def edit(
    plan: Plan,
    before: Mapping[ServicePortName, ServicePlan | None],
    context: Context,
    node_ports: tuple[Sequence[str], Sequence[str]],
) -> Writer:
    """Return the transaction from the former plans in `before` to the plans of these names now.

    Chains that are no longer needed are emptied; deleting them is left to the caller.
    `node_ports`: former and present node port jumps, written again if they differ.
    """
    writer = Writer()
    inserts: list[DispatchRule] = []
    for name, former in before.items():
        fresh = plan.services.get(name)
        old_chains = {c.name: c.rules for c in service_chains(former, context)} if former else {}
        chains = service_chains(fresh, context) if fresh else []
        written = [one for one in chains if old_chains.get(one.name) != one.rules]
        writer.grown["nat"] += sum(len(one.rules) for one in chains)
        writer.grown["nat"] -= sum(map(len, old_chains.values()))
        removed = sorted(old_chains.keys() - {one.name for one in chains})
        writer.declare("nat", [*(one.name for one in written), *removed])
        writer.stale += removed
        writer.filled.update(one.name for one in written)
        old_rules = _by_chain(dispatch_rules(former, context) if former else [])
        new_rules = _by_chain(dispatch_rules(fresh, context) if fresh else [])
        for key in dict.fromkeys((*old_rules, *new_rules)):
            if old_rules.get(key) != new_rules.get(key):
                writer.add(key[0], [*writer.dispatch("-D", old_rules.get(key, []))])
                inserts += new_rules.get(key, [])
        for one in written:
            writer.add("nat", [f"-A {one.name} {rule}" for rule in one.rules])
    for table in DISPATCH_TABLES:  # at the top, ahead of the node ports
        rules = [rule for rule in inserts if rule.table == table]
        writer.add(table, [*writer.dispatch("-I", rules)])
    former_jumps, jumps = node_ports
    if former_jumps != jumps:
        writer.add("nat", writer.dispatch("-D", _at_the_end(former_jumps)))
        writer.add("nat", writer.dispatch("-A", _at_the_end(jumps)))
    return writer


def undo(
    plan: Plan, before: Mapping[ServicePortName, ServicePlan | None], context: Context
) -> Writer:
    """The transaction that takes back what `edit` of the same has written to table filter.

    A transaction is committed table by table, filter first: the kernel may refuse what is for nat.
    """
    former = {name: service for name, service in before.items() if service}
    writer = edit(
        Plan(settings=plan.settings, services=former),
        {name: plan.services.get(name) for name in before},
        context,
        ((), ()),
    )
    writer.keep_only("filter")
    return writer


def rewrite(
    plan: Plan,
    existing: Existing,
    context: Context,
    frame: FrameOptions,
    node_port_rules: Sequence[str],
    batch_size: int,
) -> Iterator[Writer]:
    """Yield the transactions that write everything from any state, `batch_size` services in each.

    The chains of all services come first, then the dispatch chains are filled or, if a
    predecessor's are in use, replaced at once: no connection fails in between. As long as no base
    chain leads to the chains, nf_tables need not walk through them at each commit.
    """
    services = [plan.services[name] for name in sorted(plan.services)]
    batches = [services[i : i + batch_size] for i in range(0, len(services), batch_size)] or [[]]
    for number, batch in enumerate(batches):
        writer = Writer()
        if number == 0:
            _write_fixed(writer, plan, existing, frame)
        writer.add("nat", _chains(batch, context))
        if len(batches) == 1:
            _write_dispatch(writer, services, context, existing, node_port_rules)
        yield writer
    if len(batches) > 1:
        writer = Writer()
        _write_dispatch(writer, services, context, existing, node_port_rules)
        yield writer


def _write_dispatch(
    writer: Writer,
    services: Sequence[ServicePlan],
    context: Context,
    existing: Existing,
    node_port_rules: Sequence[str],
) -> None:
    """Add the rules of the dispatch chains, with what leads to them and what they lead to no more.

    The node port jumps come after the services.
    """
    for table, name in DISPATCH_CHAINS:
        writer.declare(table, [name])
    refusing = chain.from_iterable(map(filter_rules, services))
    leading = chain.from_iterable(nat_rules(each, context) for each in services)
    writer.add("filter", writer.dispatch("-A", refusing))
    writer.add("nat", writer.dispatch("-A", leading))
    writer.add("nat", writer.dispatch("-A", _at_the_end(node_port_rules)))
    for jump in JUMPS:
        if jump not in existing.jumps:
            writer.add(jump.table, [f"-I {jump.chain} {jump.rule}"])
    _empty_stale(writer, services, existing)


def _write_fixed(writer: Writer, plan: Plan, existing: Existing, frame: FrameOptions) -> None:
    settings = plan.settings
    writer.declare("mangle", [CANARY])
    writer.declare("filter", [CANARY, "KUBE-FORWARD"])
    firewall = list(firewall_rules(settings))
    if firewall or KUBELET_FIREWALL not in existing.chains["filter"]:
        writer.declare("filter", [KUBELET_FIREWALL])
        writer.add("filter", firewall)
    writer.add("filter", forward_rules(settings, frame))
    writer.declare("nat", [CANARY, "KUBE-POSTROUTING", "KUBE-MARK-MASQ"])
    writer.add("nat", masquerade.nat_rules(settings))


def _chains(services: Iterable[ServicePlan], context: Context) -> Iterator[str]:
    """Yield lines for the chains of these services, with their rules."""
    for service in services:
        chains = service_chains(service, context)
        for one in chains:
            yield f":{one.name} - [0:0]"
        for one in chains:
            for rule in one.rules:
                yield f"-A {one.name} {rule}"


def _at_the_end(node_port_rules: Iterable[str]) -> list[DispatchRule]:
    return [DispatchRule("nat", "KUBE-SERVICES", rule) for rule in node_port_rules]


def _empty_stale(writer: Writer, services: Iterable[ServicePlan], existing: Existing) -> None:
    present = {name for name in existing.chains["nat"] if name.startswith(SERVICE_CHAIN_PREFIXES)}
    if present:
        needed = (service_chain_names(service) for service in services)
        writer.stale = sorted(present.difference(*needed))
        writer.declare("nat", writer.stale)


def _by_chain(rules: Iterable[DispatchRule]) -> dict[DispatchKey, list[DispatchRule]]:
    grouped: dict[DispatchKey, list[DispatchRule]] = {}
    for rule in rules:
        grouped.setdefault((rule.table, rule.chain), []).append(rule)
    return grouped
