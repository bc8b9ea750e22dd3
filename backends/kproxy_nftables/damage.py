"""Detects that another program has added or removed objects in our table."""

from __future__ import annotations

from kproxy.forwarding.plan import NodeSettings
from kproxy.kernel.nftables.session import TableReader
from kproxy_nftables import flat_layout
from kproxy_nftables.contents import Contents
from kproxy_nftables.transaction import Fixed


def found(reader: TableReader, settings: NodeSettings, fixed: Fixed, contents: Contents) -> bool:
    """Tell whether the number of a chain's rules, or of a set's elements, is wrong, or a counter is
    missing.
    """
    rules = {name: len(rules) for name, rules in fixed.chains.items()} | contents.rule_counts
    for chain in contents.balancers:
        rules[chain.name] = len(flat_layout.balancer_rules(chain, settings))
    if {name: len(digests) for name, digests in reader.rules().items()} != rules:
        return True
    if fixed.counters and not {*fixed.counters} <= reader.counters().keys():
        return True
    present = reader.sets().keys()
    if not contents.affinity_sets <= present:
        return True
    return any(
        set_.name not in present
        or reader.element_count(set_.name) != contents.element_counts[set_.name]
        for set_ in fixed.sets
    )


def foreign_rules(reader: TableReader) -> str:
    """Return in words which chains have rules that are not ours, "" if none has."""
    chains = [name for name, digests in reader.rules().items() if b"" in digests]
    return f", there are rules in {', '.join(sorted(chains))}" if chains else ""
