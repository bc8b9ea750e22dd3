"""Removal of everything the iptables mode leaves, by kproxy or by kube-proxy, and of nothing else.

The KUBE-FIREWALL chain is the kubelet's as well: it stays if something else than kube-proxy's own
rule is in it. With it goes net/ipv4/conf/all/route_localnet, and the packet counters go, too.
Source: kube-proxy v1.36 iptables/cleanup.go, which leaves that chain, the setting and the counters.
"""

from __future__ import annotations

from collections.abc import Iterator

from kproxy.errors import KernelRefused
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
    failures = []
    for table in TABLES:
        if not xtables.has(table):
            continue
        chains = xtables.save(table)
        doomed = set(_doomed(table, chains))
        try:
            xtables.remove(
                table,
                doomed,
                [j for j in JUMPS if j.table == table and j.rule.rpartition(" ")[2] in doomed],
            )
        except KernelRefused as error:
            failures.append(str(error))
        if table == "filter" and KUBELET_FIREWALL in doomed and chains[KUBELET_FIREWALL]:
            # The rule that is gone kept the network away from what listens on 127.0.0.1 only.
            sysctl.write(ROUTE_LOCALNET, 0)
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
