"""All objects that a plan becomes in the kernel, as text, from the plan alone. Pure.

The rules are as iptables 1.8.9 prints them, in either variant.
"""

from __future__ import annotations

from collections.abc import Collection

from kproxy.backend import Plan, Ruleset
from kproxy.kernel import saved_rules
from kproxy.kernel.addresses import of_node
from kproxy.kernel.xtables import Table, kube_chains
from kproxy_ipvs import rules
from kproxy_ipvs.desired import Desired
from kproxy_ipvs.names import DEVICE, SETS, set_name
from kproxy_ipvs.options import IpvsOptions
from kproxy_ipvs.reading import real_server_line, server_line
from kproxy_ipvs.wanted import place_of, wanted


def render(plan: Plan, addresses: Collection[str]) -> Ruleset:
    """Return what `IpvsBackend.read` would after a full sync. See `Mode.render`."""
    options = plan.settings.options
    scheduler = options.scheduler if isinstance(options, IpvsOptions) else ""
    place = place_of(plan.settings, of_node(plan.family, addresses), scheduler or "rr")
    desired = Desired()
    for name, service in sorted(plan.services.items()):
        desired.change(name, None, wanted(service, place))
    desired.take_changes()
    return {
        **_iptables(plan, desired),
        "ipset": _sets(plan, desired),
        "addresses": _addresses(desired),
        "ipvs": _servers(desired),
    }


def _iptables(plan: Plan, desired: Desired) -> dict[str, dict[str, tuple[str, ...]]]:
    written: dict[Table, list[str]] = rules.all_rules(
        plan.settings, desired.filled, desired.firewall.all()
    )
    made = saved_rules.tables(plan.family, rules.transaction(written))
    return {table: kube_chains(chains) for table, chains in made.items()}


def _sets(plan: Plan, desired: Desired) -> dict[str, tuple[str, ...]]:
    """Return all sets, also empty ones, each with its entries."""
    found: dict[str, list[str]] = {suffix: [] for suffix in SETS}
    for entry in desired.entries.all():
        found[entry.set].append(entry.text)
    return {set_name(plan.family, suffix): tuple(sorted(texts)) for suffix, texts in found.items()}


def _addresses(desired: Desired) -> dict[str, tuple[str, ...]]:
    bound = desired.addresses.all()
    return {DEVICE: tuple(sorted(bound))} if bound else {}


def _servers(desired: Desired) -> dict[str, tuple[str, ...]]:
    found = {}
    for key in desired.servers():
        server = desired.server(key)
        assert server
        # The kernel puts each new one first.
        lines = tuple(real_server_line(key, real, 1) for real in reversed(server.real))
        found[server_line(key, server.settings)] = lines
    return found
