"""Removal of everything the iptables mode leaves, by kproxy or by kube-proxy, and of nothing else.

The KUBE-FIREWALL chain is the kubelet's as well: it stays if something else than kube-proxy's own
rule is in it. With it goes net/ipv4/conf/all/route_localnet, and the packet counters go, too.
Source: kube-proxy v1.36 iptables/cleanup.go, which leaves that chain, the setting and the counters.

A successor keeps what it has written itself: ipvs mode has chains and jumps of the same names; this
mode in another variant needs the setting and the counters. Conntrack translates old connections
without any rule, but those to 127.0.0.1:nodePort need the setting, and so that chain.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from kproxy.address import Family
from kproxy.backend import Uses
from kproxy.errors import KernelRefused
from kproxy.kernel import conntrack, nfacct, sysctl
from kproxy.kernel.xtables import TABLES, Chains, Table, Xtables
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
NOBODY = Uses(mode="")
_MARTIAN_RULE = '"block incoming localnet connections"'
# In each table a chain that no other mode has.
_MARKS: tuple[tuple[Table, str], ...] = (
    ("mangle", CANARY),
    ("nat", "KUBE-NODEPORTS"),
    ("filter", "KUBE-EXTERNAL-SERVICES"),
)
# Of connections to 127.0.0.1; the canary tells the next proxy that there is something to remove.
_LOCALHOST_CHAINS: tuple[tuple[Table, str], ...] = (
    ("mangle", CANARY),
    ("filter", KUBELET_FIREWALL),
)


def is_needed(xtables: Xtables) -> bool:
    """Whether there is anything of this mode. Starts no process."""
    return any(xtables.has_chain(table, chain) for table, chain in _MARKS)


def chains_in_use() -> Collection[tuple[Table, str]]:
    """What open connections need. Raises KernelRefused, Unsupported."""
    if sysctl.read(ROUTE_LOCALNET) == "0":
        return ()
    led_out = any(
        flow.destination[0].startswith("127.") and not flow.backend[0].startswith("127.")
        for flow in conntrack.flows(Family.IPV4)
    )
    return _LOCALHOST_CHAINS if led_out else ()


def remove_all(
    xtables: Xtables, successor: Uses = NOBODY, but: Collection[tuple[Table, str]] = ()
) -> None:
    """`but`: chains that stay, with the jumps to them.

    Raises KernelRefused if a rule of somebody else still leads to one of the chains.
    """
    kept = successor if successor.variant == xtables.variant else NOBODY
    failures = []
    for table in TABLES:
        if not xtables.has(table):
            continue
        chains = xtables.save(table)
        kept_chains = {chain for where, chain in kept.chains if where == table}
        ours = {chain for chain in _doomed(table, chains) if (table, chain) not in but}
        doomed = ours - kept_chains
        jumps = [j for j in JUMPS if j.table == table and j.rule.rpartition(" ")[2] in ours]
        try:
            xtables.remove(table, doomed, [jump for jump in jumps if jump not in kept.jumps])
        except KernelRefused as error:
            failures.append(str(error))
        if successor.mode == MODE:
            continue
        if table == "filter" and KUBELET_FIREWALL in doomed and chains[KUBELET_FIREWALL]:
            # The rule that is gone kept the network away from what listens on 127.0.0.1 only.
            sysctl.write(ROUTE_LOCALNET, 0)
    if successor.mode != MODE:
        for name in (INVALID_COUNTER, LOCALHOST_COUNTER):
            nfacct.delete_counter(name)
    if failures:
        raise KernelRefused("\n".join(failures))


def _doomed(table: Table, chains: Chains) -> Iterator[str]:
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
