"""Removal of everything the iptables mode leaves, by kproxy or by kube-proxy, and of nothing else.

The KUBE-FIREWALL chain is the kubelet's as well: it stays if something else than kube-proxy's own
rule is in it. With it goes net/ipv4/conf/all/route_localnet, and the packet counters go, too.
Source: kube-proxy v1.36 iptables/cleanup.go, which leaves that chain, the setting and the counters.
"""

from __future__ import annotations

from kproxy.kernel import nfacct, sysctl
from kproxy.kernel.xtables import TABLES, Chains, Table, Xtables
from kproxy_iptables.frame import INVALID_COUNTER, JUMPS, ROUTE_LOCALNET
from kproxy_iptables.names import (
    DISPATCH_CHAINS,
    FIXED_CHAINS,
    KUBELET_FIREWALL,
    SERVICE_CHAIN_PREFIXES,
)
from kproxy_iptables.rules import LOCALHOST_COUNTER

_MARTIAN_RULE = '"block incoming localnet connections"'


def remove_all(xtables: Xtables) -> None:
    """Raises KernelRefused if a rule of somebody else still leads to one of the chains."""
    for table in TABLES:
        if not xtables.has(table):
            continue
        chains = xtables.save(table)
        text = _removal(table, chains)
        if text:
            xtables.restore([f"*{table}\n", *text, "COMMIT\n"])
        if f":{KUBELET_FIREWALL} - [0:0]\n" in text and chains[KUBELET_FIREWALL]:
            # The rule that is gone kept the network away from what listens on 127.0.0.1 only.
            sysctl.write(ROUTE_LOCALNET, 0)
    for name in (INVALID_COUNTER, LOCALHOST_COUNTER):
        nfacct.delete_counter(name)


def _removal(table: Table, chains: Chains) -> list[str]:
    ours = {chain for where, chain in (*DISPATCH_CHAINS, *FIXED_CHAINS) if where == table}
    doomed = sorted(
        chain
        for chain in chains
        if chain in ours or (table == "nat" and chain.startswith(SERVICE_CHAIN_PREFIXES))
    )
    keep_firewall = any(_MARTIAN_RULE not in rule for rule in chains.get(KUBELET_FIREWALL, ()))
    if table == "filter" and KUBELET_FIREWALL in chains and not keep_firewall:
        doomed.append(KUBELET_FIREWALL)
    lines = [
        f"-D {jump.chain} {jump.rule}\n"
        for jump in JUMPS
        if jump.table == table
        and jump.rule.rsplit(" ", 1)[1] in doomed
        and jump.rule in chains.get(jump.chain, ())
    ]
    lines += [f":{chain} - [0:0]\n" for chain in doomed]
    lines += [f"-X {chain}\n" for chain in doomed]
    return lines
