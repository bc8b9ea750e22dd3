"""Has somebody else removed or added what is ours?"""

from __future__ import annotations

from kproxy.forwarding.plan import NodeSettings
from kproxy.kernel.nftables.session import TableReader
from kproxy_nftables import flat_layout
from kproxy_nftables.contents import Contents
from kproxy_nftables.transaction import Fixed


def found(reader: TableReader, settings: NodeSettings, fixed: Fixed, contents: Contents) -> bool:
    """Whether a chain has not as many rules as it should, or a set not as many elements."""
    rules = {name: len(rules) for name, rules in fixed.chains.items()} | contents.rule_counts
    for chain in contents.balancers:
        rules[chain.name] = len(flat_layout.balancer_rules(chain, settings))
    if {name: len(digests) for name, digests in reader.rules().items()} != rules:
        return True
    present = reader.sets().keys()
    if not contents.affinity_sets <= present:
        return True
    return any(
        set_.name not in present
        or reader.element_count(set_.name) != contents.element_counts[set_.name]
        for set_ in fixed.sets
    )
