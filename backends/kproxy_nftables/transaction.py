"""The order of things in a transaction. Pure.

What is referred to comes before what refers to it, and goes after it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from kproxy.forwarding.plan import NodeSettings
from kproxy.kernel.netlink import Request
from kproxy.kernel.nftables.objects import Set, Table
from kproxy_nftables import flat_layout, frame
from kproxy_nftables.contents import Changes
from kproxy_nftables.frame import BASE_CHAINS, REJECT_COMMENT, TABLE_COMMENT, Chains
from kproxy_nftables.names import REJECT


class Fixed:
    """What is in the table whatever the Services, in a layout."""

    def __init__(self, settings: NodeSettings, *, flat: bool) -> None:
        self.sets: list[Set] = [*frame.sets(settings)]
        self.chains: Chains = frame.chains(settings)
        if flat:
            self.sets += flat_layout.sets(settings.family)
            self.chains |= flat_layout.chains(settings)


def emptied(
    table: Table, chains: Collection[str], sets: Iterable[str], kept_sets: Collection[str]
) -> Iterator[Request]:
    """Only base chains, empty, and sets that rules fill, as they are, remain of the table."""
    yield table.create(TABLE_COMMENT)
    yield table.flush()
    yield from (table.delete_set(name) for name in sets if name not in kept_sets)
    yield from (table.delete_chain(name) for name in chains if name not in BASE_CHAINS)


def recreated(table: Table) -> Iterator[Request]:
    """Nothing remains of it, and it need not have been there."""
    yield table.create()
    yield table.delete()
    yield table.create(TABLE_COMMENT)


def fixed(table: Table, parts: Fixed) -> Iterator[Request]:
    yield from map(table.add_set, parts.sets)
    for name in parts.chains:
        comment = REJECT_COMMENT if name == REJECT else ""
        yield table.add_chain(name, BASE_CHAINS.get(name), comment)
    yield from rules(table, parts.chains)


def changed(table: Table, changes: Changes, settings: NodeSettings) -> Iterator[Request]:
    yield from map(table.add_set, changes.sets)
    balancers = {
        chain.name: flat_layout.balancer_rules(chain, settings) for chain in changes.balancers
    }
    written = changes.chains | balancers
    yield from map(table.add_chain, written)
    yield from map(table.flush_chain, changes.chains)
    yield from rules(table, written)
    for set_, elements in changes.gone_elements.items():
        yield from table.delete_elements(set_, elements)
    for set_, elements in changes.elements.items():
        yield from table.add_elements(set_, elements)
    yield from map(table.flush_chain, changes.gone_chains)
    yield from map(table.delete_chain, changes.gone_chains)
    yield from map(table.delete_set, changes.gone_sets)


def rules(table: Table, chains: Chains) -> Iterator[Request]:
    for name, written in chains.items():
        for rule in written:
            yield from table.add_rule(name, rule)
