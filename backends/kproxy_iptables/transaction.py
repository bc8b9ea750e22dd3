"""From a plan, or the difference of two, to the text that iptables-restore is fed. Pure.

A sync that follows another edits: chains of a changed service port are rewritten where they differ,
its rules in the dispatch chains are deleted and inserted one by one. A full sync writes
everything, in one transaction or, where that is super-linear (nft), in batches. Of the batches
each is complete in itself: chains first, then the dispatch rules that lead to them.

With --noflush, declaring a chain empties it, and what is not mentioned stays.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from msgspec import Struct

from kproxy.forwarding.plan import Plan, ServicePlan, ServicePortName
from kproxy_iptables.frame import (
    JUMPS,
    FrameOptions,
    Jump,
    firewall_rules,
    forward_rules,
    nat_rules,
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
    service_chain_names,
    service_chains,
)

DispatchKey = tuple[str, str]  # table, chain


class Existing(Struct, frozen=True, kw_only=True):
    """What a full sync finds: chains by table, and which of our jumps are there already."""

    chains: Mapping[str, frozenset[str]]
    jumps: frozenset[Jump]

    @property
    def serves(self) -> bool:
        """Whether a predecessor's rules may be in use right now."""
        return "KUBE-SERVICES" in self.chains["nat"]


class Writer:
    """The lines of one transaction, by table, and how many rules they write."""

    def __init__(self) -> None:
        self._lines: dict[str, list[str]] = {"filter": [], "nat": [], "mangle": []}
        self.rules: Counter[str] = Counter()

    def declare(self, table: str, chains: Iterable[str]) -> None:
        """Create the chains, or empty them."""
        self._lines[table] += [f":{chain} - [0:0]" for chain in chains]

    def add(self, table: str, rules: Iterable[str]) -> None:
        """Rules with their "-A CHAIN " or "-I CHAIN "."""
        lines = self._lines[table]
        before = len(lines)
        lines += rules
        self.rules[table] += len(lines) - before

    def delete_rules(self, table: str, chain: str, rules: Iterable[str]) -> None:
        self._lines[table] += [f"-D {chain} {rule}" for rule in rules]

    def delete_chains(self, table: str, chains: Iterable[str]) -> None:
        """The chains must have been declared, and nothing may refer to them any more."""
        self._lines[table] += [f"-X {chain}" for chain in chains]

    def __bool__(self) -> bool:
        return any(self._lines.values())

    def pieces(self) -> Iterator[str]:
        """The text, in pieces of some ten kilobytes. The lines are gone afterwards."""
        for table, lines in self._lines.items():
            if not lines:
                continue
            yield f"*{table}\n"
            for start in range(0, len(lines), 256):
                yield "\n".join(lines[start : start + 256]) + "\n"
            lines.clear()
            yield "COMMIT\n"


def edit(
    plan: Plan,
    before: Mapping[ServicePortName, ServicePlan | None],
    context: Context,
    node_ports: tuple[Sequence[str], Sequence[str]],
) -> Writer:
    """The transaction from the former plans in `before` to those of the same names in `plan`.

    `node_ports`: former and present node port jumps, written again if they differ.
    """
    writer = Writer()
    stale: list[str] = []
    inserts: list[tuple[str, str]] = []
    for name, former in before.items():
        fresh = plan.services.get(name)
        old_chains = {c.name: c.rules for c in service_chains(former, context)} if former else {}
        chains = service_chains(fresh, context) if fresh else []
        written = [chain for chain in chains if old_chains.get(chain.name) != chain.rules]
        gone = old_chains.keys() - {chain.name for chain in chains}
        writer.declare("nat", [*(chain.name for chain in written), *sorted(gone)])
        stale += sorted(gone)
        old_rules = _by_chain(dispatch_rules(former, context) if former else [])
        new_rules = _by_chain(dispatch_rules(fresh, context) if fresh else [])
        for key in dict.fromkeys((*old_rules, *new_rules)):
            if old_rules.get(key) != new_rules.get(key):
                writer.delete_rules(*key, old_rules.get(key, ()))
                # Each goes to the top, the last one first. There they are ahead of the node ports.
                inserts += [
                    (key[0], f"-I {key[1]} {rule}") for rule in reversed(new_rules.get(key, []))
                ]
        for chain in written:
            writer.add("nat", [f"-A {chain.name} {rule}" for rule in chain.rules])
    for table, line in inserts:
        writer.add(table, [line])
    former_jumps, jumps = node_ports
    if former_jumps != jumps:
        writer.delete_rules("nat", "KUBE-SERVICES", former_jumps)
        writer.add("nat", [f"-A KUBE-SERVICES {rule}" for rule in jumps])
    writer.delete_chains("nat", stale)
    return writer


def rewrite(
    plan: Plan,
    existing: Existing,
    context: Context,
    frame: FrameOptions,
    node_port_rules: Sequence[str],
    batch_size: int,
) -> Iterator[Writer]:
    """The transactions that write everything, whatever was there, of `batch_size` services each.

    Where a predecessor serves, its dispatch chains stay as they are until all chains of services
    are in place, and are then replaced at once: no connection meets a gap. Else every batch
    serves as soon as it is written.
    """
    services = list(plan.services.values())
    batches = [services[i : i + batch_size] for i in range(0, len(services), batch_size)] or [[]]
    takeover = existing.serves and len(batches) > 1
    for number, batch in enumerate(batches):
        writer = Writer()
        first = number == 0
        if first:
            _write_fixed(writer, plan, existing, frame)
            if not takeover:
                _declare_dispatch(writer)
        for service in batch:
            chains = service_chains(service, context)
            writer.declare("nat", [chain.name for chain in chains])
            if not takeover:
                _dispatch(writer, service, context, append=first)
            for chain in chains:
                writer.add("nat", [f"-A {chain.name} {rule}" for rule in chain.rules])
        if first and not takeover:
            _finish(writer, existing, node_port_rules)
        if number == len(batches) - 1 and not takeover:
            _delete_stale(writer, services, existing)
        yield writer
    if takeover:
        writer = Writer()
        _declare_dispatch(writer)
        for service in services:
            _dispatch(writer, service, context, append=True)
        _finish(writer, existing, node_port_rules)
        _delete_stale(writer, services, existing)
        yield writer


def dispatch_sizes(services: Iterable[ServicePlan], context: Context) -> Counter[DispatchKey]:
    """How many rules these services have in each dispatch chain."""
    return Counter(
        (rule.table, rule.chain)
        for service in services
        for rule in dispatch_rules(service, context)
    )


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
    writer.add("nat", nat_rules(settings))


def _declare_dispatch(writer: Writer) -> None:
    for table, chain in DISPATCH_CHAINS:
        writer.declare(table, [chain])


def _dispatch(writer: Writer, service: ServicePlan, context: Context, *, append: bool) -> None:
    rules = dispatch_rules(service, context)
    for table, chain, rule in rules if append else reversed(rules):
        writer.add(table, [f"-{'A' if append else 'I'} {chain} {rule}"])


def _finish(writer: Writer, existing: Existing, node_port_rules: Sequence[str]) -> None:
    """The node port jumps, behind the services, and the jumps from the chains of the system."""
    writer.add("nat", [f"-A KUBE-SERVICES {rule}" for rule in node_port_rules])
    for jump in JUMPS:
        if jump not in existing.jumps:
            writer.add(jump.table, [f"-I {jump.chain} {jump.rule}"])


def _delete_stale(writer: Writer, services: Iterable[ServicePlan], existing: Existing) -> None:
    present = {c for c in existing.chains["nat"] if c.startswith(SERVICE_CHAIN_PREFIXES)}
    if not present:
        return
    needed = set().union(*(service_chain_names(service) for service in services))
    stale = sorted(present - needed)
    writer.declare("nat", stale)
    writer.delete_chains("nat", stale)


def _by_chain(rules: Iterable[DispatchRule]) -> dict[DispatchKey, list[str]]:
    grouped: dict[DispatchKey, list[str]] = {}
    for table, chain, rule in rules:
        grouped.setdefault((table, chain), []).append(rule)
    return grouped
