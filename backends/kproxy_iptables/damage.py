"""Has somebody else flushed or deleted rules of ours?

kube-proxy looks only for an empty chain of its own, the canary in mangle, once in 30 seconds. Here,
whenever anything in the namespace has changed: for the canaries, the jumps, and how many rules the
shared chains hold. What the many chains of services hold is left to the periodic full sync.
"""

from __future__ import annotations

from collections.abc import Mapping

from kproxy.kernel.xtables import Table, Xtables
from kproxy_iptables.frame import JUMPS
from kproxy_iptables.names import CANARY, DISPATCH_CHAINS, FIXED_CHAINS, KUBELET_FIREWALL
from kproxy_iptables.transaction import DispatchKey


def found(xtables: Xtables, dispatch_sizes: Mapping[DispatchKey, int]) -> bool:
    """Whether anything is missing. `dispatch_sizes`: rules that each dispatch chain must hold."""
    tables: tuple[Table, ...] = ("mangle", "nat", "filter")
    for table in tables:
        fixed = [chain for where, chain in FIXED_CHAINS if where == table]
        dispatch = [chain for where, chain in DISPATCH_CHAINS if where == table]
        system = sorted({jump.chain for jump in JUMPS if jump.table == table})
        shared = [KUBELET_FIREWALL] if table == "filter" else []
        chains = xtables.chains(table, [*fixed, *dispatch, *system, *shared])
        if not chains.keys() >= {*fixed, *dispatch, *system, *shared}:
            return True
        if any(jump.rule not in chains[jump.chain] for jump in JUMPS if jump.table == table):
            return True
        if any(not chains[chain] for chain in fixed if chain != CANARY):
            return True
        if any(len(chains[chain]) < dispatch_sizes.get((table, chain), 0) for chain in dispatch):
            return True
    return False
