"""The `Mode` of iptables mode."""

from __future__ import annotations

import re
from collections.abc import Collection

from kproxy.address import Family
from kproxy.backend import (
    Backend,
    HostFacts,
    Listing,
    Mode,
    ModeConfig,
    Plan,
    ProgramInput,
    RuleLine,
    Ruleset,
    Sought,
)
from kproxy_iptables import oracle
from kproxy_iptables.names import CHAIN_PURPOSES, DISPATCH_CHAINS
from kproxy_iptables.options import IptablesOptions

_SERVICE = re.compile(r'--comment "?([a-z0-9.-]+/[a-z0-9.-]+)')  # namespace/name


def comparable(ruleset: Ruleset) -> dict[str, dict[str, tuple[str, ...]]]:
    """Return the ruleset with sorted dispatch rules.

    Their order depends on history, and matters to rivals only (`kproxy_iptables.claims`).
    """
    return {
        table: {
            chain: tuple(sorted(rules)) if (table, chain) in DISPATCH_CHAINS else rules
            for chain, rules in chains.items()
        }
        for table, chains in ruleset.items()
    }


def services(ruleset: Ruleset) -> int:
    """Count the Services that the dispatch rules name in their comments."""
    named = (
        found[1]
        for table, chain in DISPATCH_CHAINS
        for rule in ruleset.get(table, {}).get(chain, ())
        if (found := _SERVICE.search(rule))
    )
    return len(set(named))


def backend(family: Family, options: IptablesOptions) -> Backend:
    """Return a new backend. Questions on paper do not pay for the import of what it needs."""
    from kproxy_iptables.backend import IptablesBackend

    return IptablesBackend(family, options)


def render(plan: Plan, addresses: Collection[str]) -> Ruleset:
    """Return what the kernel would hold. Imported when asked for, as `backend` is."""
    from kproxy_iptables.rendering import render

    return render(plan, addresses)


def inputs(plan: Plan, facts: HostFacts) -> tuple[ProgramInput, ...]:
    """Return the text that programs load."""
    from kproxy_iptables.rendering import inputs

    return inputs(plan, facts)


def service_rules(listing: Listing, sought: Sought) -> list[RuleLine]:
    """Return the rules of a Service, in the order in which packets meet them."""
    from kproxy_iptables.service_rules import service_rules

    return service_rules(listing, sought)


MODE = Mode(
    name="iptables",
    backend=backend,
    description="NAT chains of iptables, in either variant; kube-proxy's default.",
    options=IptablesOptions,
    config=ModeConfig(localhost_node_ports=True, service_cidrs=False),
    rules=oracle,
    comparable=comparable,
    render=render,
    inputs=inputs,
    service_rules=service_rules,
    services=services,
    variants=("nft", "legacy"),
    variant_option="iptables_variant",
    chains=CHAIN_PURPOSES,
    look="iptables-save -t nat",
)
