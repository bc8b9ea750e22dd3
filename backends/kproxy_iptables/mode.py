"""The `Mode` of iptables mode."""

from __future__ import annotations

import re

from kproxy.address import Family
from kproxy.backend import Backend, Mode, ModeConfig, Ruleset
from kproxy.backend.late import late
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


MODE = Mode(
    name="iptables",
    backend=backend,
    description="NAT chains of iptables, in either variant; kube-proxy's default.",
    options=IptablesOptions,
    config=ModeConfig(localhost_node_ports=True, service_cidrs=False),
    rules=oracle,
    comparable=comparable,
    render=late("kproxy_iptables.rendering", "render"),
    inputs=late("kproxy_iptables.rendering", "inputs"),
    service_rules=late("kproxy_iptables.service_rules", "service_rules"),
    services=services,
    variants=("nft", "legacy"),
    variant_option="iptables_variant",
    chains=CHAIN_PURPOSES,
    look="iptables-save -t nat",
)
