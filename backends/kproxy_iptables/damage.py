"""Detects that another program has flushed or deleted rules of ours.

kube-proxy looks only for an empty chain of its own, the canary in mangle, once in 30 seconds. Here
the check is made whenever anything in the namespace has changed. It covers the canaries, the jumps,
the number of rules in shared chains, and empty chains of services. The last needs everything to be
read; with many services that is left to the periodic full sync.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from kproxy.kernel.iptables_save import TABLES
from kproxy.kernel.xtables import Xtables
from kproxy_iptables.frame import JUMPS
from kproxy_iptables.names import (
    CANARY,
    DISPATCH_CHAINS,
    FIXED_CHAINS,
    KUBELET_FIREWALL,
    SERVICE_CHAIN_PREFIXES,
)
from kproxy_iptables.transaction import DispatchKey

# Dispatch rules. Reading the chains behind that many takes iptables-nft-save about 0.1 s.
FEW_RULES = 1000


def found(
    xtables: Xtables, dispatch_sizes: Mapping[DispatchKey, int], held: Collection[str]
) -> bool:
    """Tell whether anything is missing.

    `dispatch_sizes`: numbers of rules, by dispatch chain. `held`: chains that may be empty.
    """
    thorough = sum(dispatch_sizes.values()) <= FEW_RULES
    for table in TABLES:
        fixed = [chain for where, chain in FIXED_CHAINS if where == table]
        dispatch = [chain for where, chain in DISPATCH_CHAINS if where == table]
        system = sorted({jump.chain for jump in JUMPS if jump.table == table})
        shared = [KUBELET_FIREWALL] if table == "filter" else []
        wanted = [*fixed, *dispatch, *system, *shared]
        chains = xtables.save(table, JUMPS) if thorough else xtables.chains(table, wanted, JUMPS)
        if not chains.keys() >= set(wanted):
            return True
        emptied = {chain for chain, rules in chains.items() if not rules and _of_a_service(chain)}
        if not emptied.issubset(held):
            return True
        if any(jump.rule not in chains[jump.chain] for jump in JUMPS if jump.table == table):
            return True
        if any(not chains[chain] for chain in fixed if chain != CANARY):
            return True
        if any(len(chains[chain]) < dispatch_sizes.get((table, chain), 0) for chain in dispatch):
            return True
    return False


def _of_a_service(chain: str) -> bool:
    return chain.startswith(SERVICE_CHAIN_PREFIXES)
