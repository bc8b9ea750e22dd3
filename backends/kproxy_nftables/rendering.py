"""The table that a plan becomes in the kernel, as text, from the plan alone. Pure.

As nft 1.0.6 prints it; other versions may use other words.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from kproxy.backend import Family, HostFacts, NodeSettings, Plan, ProgramInput, Ruleset
from kproxy.kernel.nftables.file import TableText, replacing
from kproxy.kernel.nftables.objects import Set
from kproxy.kernel.nftables.text import RuleTexts
from kproxy.kernel.nftables.values import elements_text
from kproxy.kernel.node_addresses import within
from kproxy_nftables import flat_layout, kube_proxy_layout
from kproxy_nftables.contents import Changes, Contents
from kproxy_nftables.frame import BASE_CHAINS, REJECT_COMMENT, TABLE_COMMENT, Chains
from kproxy_nftables.names import REJECT, TABLE
from kproxy_nftables.options import NftablesOptions
from kproxy_nftables.transaction import Fixed, balancer_chains
from kproxy_nftables.wanted import NODE, NOTHING, node_elements


class _Rendered(NamedTuple):
    """The contents of the table. `chains` has rules as text, in the order of a transaction."""

    sets: dict[str, Set]
    elements: Mapping[str, Sequence[bytes]]  # by set, as the kernel takes them
    chains: dict[str, tuple[str, ...]]
    counters: tuple[str, ...]

    def elements_of(self, set_: Set) -> tuple[str, ...]:
        packed = self.elements.get(set_.name, ())
        return elements_text(set_.key, set_.value, packed, ranges=set_.ranges)


def render(plan: Plan, addresses: Collection[str]) -> Ruleset:
    """Return what `NftablesBackend.read` would after a full sync. See `Mode.render`."""
    found = _rendered(plan, addresses)
    table = {f"chain {name}": rules for name, rules in found.chains.items()}
    for name, set_ in found.sets.items():
        table[f"{'map' if set_.value else 'set'} {name}"] = found.elements_of(set_)
    return {TABLE: table}


def inputs(plan: Plan, facts: HostFacts) -> tuple[ProgramInput, ...]:
    """Return the table as nft lists it, after a command that deletes a former one. See
    `Mode.inputs`.
    """
    found = _rendered(plan, facts.addresses)
    table = TableText(
        family=plan.family,
        name=TABLE,
        comment=TABLE_COMMENT,
        counters=found.counters,
        sets=tuple(found.sets.values()),
        elements=found.elements_of,
        chains=found.chains,
        hooks=BASE_CHAINS,
        chain_comments={REJECT: REJECT_COMMENT},
    )
    return (ProgramInput(("nft", "-f", "-"), "".join(replacing(table))),)


def _rendered(plan: Plan, addresses: Collection[str]) -> _Rendered:
    settings, options = plan.settings, plan.settings.options
    flat = isinstance(options, NftablesOptions) and options.nftables_layout == "flat"
    fixed, fixed_chains = _fixed(settings, flat=flat)
    changes = _contents(plan, addresses, flat=flat)
    sets = {set_.name: set_ for set_ in (*fixed.sets, *changes.sets)}
    balancers = sorted(balancer_chains(changes, settings).items())  # they come in random order
    chains = fixed_chains | _texts(plan.family, changes.chains | dict(balancers), sets)
    return _Rendered(sets, changes.elements, chains, tuple(fixed.counters))


@lru_cache(maxsize=64)  # whoever renders Service by Service asks for the same again and again
def _fixed(settings: NodeSettings, *, flat: bool) -> tuple[Fixed, dict[str, tuple[str, ...]]]:
    """Return what depends on no Service, and the texts of its chains."""
    fixed = Fixed(settings, flat=flat)
    sets = {set_.name: set_ for set_ in fixed.sets}
    return fixed, _texts(settings.family, fixed.chains, sets)


def _texts(family: Family, chains: Chains, sets: Mapping[str, Set]) -> dict[str, tuple[str, ...]]:
    texts = RuleTexts(family, sets)
    return {name: tuple(map(texts.of, rules)) for name, rules in chains.items()}


def _contents(plan: Plan, addresses: Collection[str], *, flat: bool) -> Changes:
    """Return everything that the node and its service ports need."""
    wanted = flat_layout.wanted if flat else kube_proxy_layout.wanted
    contents = Contents()
    answering = within(plan.settings.node_port_addresses.cidrs, addresses)
    contents.change(NODE, NOTHING, node_elements(answering))
    for name, service in sorted(plan.services.items()):
        contents.change(name, NOTHING, wanted(service, plan.settings))
    return contents.take_changes()
