"""The table that a plan becomes in the kernel, as text, from the plan alone. Pure.

As nft 1.0.6 prints it; other versions may use other words.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import lru_cache

from kproxy.backend import Family, NodeSettings, Plan, Ruleset
from kproxy.kernel.addresses import within
from kproxy.kernel.nftables.objects import Set
from kproxy.kernel.nftables.text import rule_text
from kproxy.kernel.nftables.values import elements_text
from kproxy_nftables import flat_layout, kube_proxy_layout
from kproxy_nftables.contents import Changes, Contents
from kproxy_nftables.frame import Chains
from kproxy_nftables.names import TABLE
from kproxy_nftables.options import NftablesOptions
from kproxy_nftables.transaction import Fixed, balancer_chains
from kproxy_nftables.wanted import NODE, NOTHING, node_elements


def render(plan: Plan, addresses: Collection[str]) -> Ruleset:
    """Return what `NftablesBackend.read` would after a full sync. See `Mode.render`."""
    settings, options = plan.settings, plan.settings.options
    flat = isinstance(options, NftablesOptions) and options.nftables_layout == "flat"
    fixed, fixed_chains = _fixed(settings, flat=flat)
    changes = _contents(plan, addresses, flat=flat)
    sets = {set_.name: set_ for set_ in (*fixed.sets, *changes.sets)}
    balancers = sorted(balancer_chains(changes, settings).items())  # they come in random order
    chains = changes.chains | dict(balancers)
    table = fixed_chains | _texts(plan.family, chains, sets)
    for name, set_ in sets.items():
        elements = changes.elements.get(name, ())
        table[f"{'map' if set_.value else 'set'} {name}"] = elements_text(
            set_.key, set_.value, elements, ranges=set_.ranges
        )
    return {TABLE: table}


@lru_cache(maxsize=64)  # whoever renders Service by Service asks for the same again and again
def _fixed(settings: NodeSettings, *, flat: bool) -> tuple[Fixed, dict[str, tuple[str, ...]]]:
    """Return what depends on no Service, and the texts of its chains."""
    fixed = Fixed(settings, flat=flat)
    sets = {set_.name: set_ for set_ in fixed.sets}
    return fixed, _texts(settings.family, fixed.chains, sets)


def _texts(family: Family, chains: Chains, sets: Mapping[str, Set]) -> dict[str, tuple[str, ...]]:
    return {
        f"chain {name}": tuple(rule_text(family, rule, sets) for rule in rules)
        for name, rules in chains.items()
    }


def _contents(plan: Plan, addresses: Collection[str], *, flat: bool) -> Changes:
    """Return everything that the node and its service ports need."""
    wanted = flat_layout.wanted if flat else kube_proxy_layout.wanted
    contents = Contents()
    answering = within(plan.settings.node_port_addresses.cidrs, addresses)
    contents.change(NODE, NOTHING, node_elements(answering))
    for name, service in sorted(plan.services.items()):
        contents.change(name, NOTHING, wanted(service, plan.settings))
    return contents.take_changes()
