"""Removal of all that the iptables mode of kproxy or kube-proxy leaves, and of nothing else.

The KUBE-FIREWALL chain is the kubelet's as well: it stays if it has any rule but kube-proxy's own.
When it is deleted, net/ipv4/conf/all/route_localnet is reset. The packet counters are removed, too.
Source: kube-proxy v1.36 iptables/cleanup.go, which leaves that chain, the setting and the counters.

What a successor has written stays: ipvs mode has chains and jumps of the same names; this mode in
another variant needs the setting and the counters. Conntrack translates old connections without any
rule, but those to 127.0.0.1:nodePort need the setting, and so that chain.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from kproxy.address import Family
from kproxy.backend import Uses
from kproxy.errors import KernelRefused, Unsupported
from kproxy.kernel import conntrack, nfacct, sysctl
from kproxy.kernel.iptables_save import TABLES, Chains, Table
from kproxy.kernel.xtables import Xtables, not_deleted
from kproxy_iptables.frame import INVALID_COUNTER, JUMPS, ROUTE_LOCALNET
from kproxy_iptables.names import (
    CANARY,
    DISPATCH_CHAINS,
    FIXED_CHAINS,
    KUBELET_FIREWALL,
    SERVICE_CHAIN_PREFIXES,
)
from kproxy_iptables.rules import LOCALHOST_COUNTER

MODE = "iptables"
NO_SUCCESSOR = Uses(mode="")
_MARTIAN_RULE = '"block incoming localnet connections"'
# In each table, a chain that no other mode has.
_MARKS: tuple[tuple[Table, str], ...] = (
    ("mangle", CANARY),
    ("nat", "KUBE-NODEPORTS"),
    ("filter", "KUBE-EXTERNAL-SERVICES"),
)
# The chains that connections to 127.0.0.1 need; the canary tells the next proxy to clean up.
_LOCALHOST_CHAINS: tuple[tuple[Table, str], ...] = (
    ("mangle", CANARY),
    ("filter", KUBELET_FIREWALL),
)


def is_needed(xtables: Xtables) -> bool:
    """Tell whether there is anything of this mode. Starts no process."""
    return any(xtables.has_chain(table, chain) for table, chain in _MARKS)


def chains_in_use() -> Collection[tuple[Table, str]]:
    """Return the chains that open connections need. Raises KernelRefused, Unsupported."""
    if sysctl.read(ROUTE_LOCALNET) == "0":
        return ()
    led_out = any(
        flow.destination[0].startswith("127.") and not flow.backend[0].startswith("127.")
        for flow in conntrack.flows(Family.IPV4)
    )
    return _LOCALHOST_CHAINS if led_out else ()


def remove_all(
    xtables: Xtables, successor: Uses = NO_SUCCESSOR, but: Collection[tuple[Table, str]] = ()
) -> None:
    """Remove all of this mode except what the successor uses. `but`: chains to keep, with their
    jumps.

    Raises KernelRefused if a rule of another program still leads to one of the chains, or if
    route_localnet cannot be reset: then the rule that makes it harmless stays as well.
    """
    kept = successor if successor.variant == xtables.variant else NO_SUCCESSOR
    failures = []
    if successor.mode != MODE:
        try:
            _reset_route_localnet(xtables, but)
        except (KernelRefused, Unsupported) as error:
            failures.append(f"{error}; so {KUBELET_FIREWALL} stays")
            but = (*but, *_LOCALHOST_CHAINS)
    for table in TABLES:
        if not xtables.has(table):
            continue
        chains = xtables.save(table)
        kept_chains = {chain for where, chain in kept.chains if where == table}
        ours = {chain for chain in _removable(table, chains) if (table, chain) not in but}
        to_remove = ours - kept_chains
        jumps = [j for j in JUMPS if j.table == table and j.rule.rpartition(" ")[2] in ours]
        try:
            held = xtables.remove(
                table, to_remove, [jump for jump in jumps if jump not in kept.jumps]
            )
            failures += not_deleted(table, held)
        except KernelRefused as error:
            failures.append(str(error))
    if successor.mode != MODE:
        for name in (INVALID_COUNTER, LOCALHOST_COUNTER):
            nfacct.delete_counter(name)
    if failures:
        raise KernelRefused("\n".join(failures))


def _reset_route_localnet(xtables: Xtables, but: Collection[tuple[Table, str]]) -> None:
    """Reset it if the chain is going to be deleted whose rule protects what listens on 127.0.0.1.

    Raises Unsupported where settings are read-only, as in a container without privileges.
    """
    if ("filter", KUBELET_FIREWALL) in but or not xtables.has("filter"):
        return
    chains = xtables.save("filter")
    if KUBELET_FIREWALL in {*_removable("filter", chains)} and chains[KUBELET_FIREWALL]:
        sysctl.write(ROUTE_LOCALNET, 0)


def _removable(table: Table, chains: Chains) -> Iterator[str]:
    ours = {chain for where, chain in (*DISPATCH_CHAINS, *FIXED_CHAINS) if where == table}
    for chain in chains:
        if chain in ours or (table == "nat" and chain.startswith(SERVICE_CHAIN_PREFIXES)):
            yield chain
    if (
        table == "filter"
        and KUBELET_FIREWALL in chains
        and all(_MARTIAN_RULE in rule for rule in chains[KUBELET_FIREWALL])
    ):
        yield KUBELET_FIREWALL
