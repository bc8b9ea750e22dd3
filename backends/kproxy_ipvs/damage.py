"""Detects that another program has removed objects of ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kproxy.kernel import ipset
from kproxy.kernel.iptables_save import Table
from kproxy.kernel.xtables import Xtables
from kproxy_ipvs.names import CHAINS, JUMPS


def of_sets(names: Mapping[str, str], counts: Mapping[str, int]) -> bool:
    """Tell whether a set is missing or has fewer entries than `counts`; both are by suffix."""
    sizes = ipset.sizes()
    return any(sizes.get(name, -1) < counts.get(suffix, 0) for suffix, name in names.items())


def of_rules(xtables: Xtables, rules: Mapping[Table, Sequence[str]]) -> bool:
    """Tell whether a jump, a chain or a rule is missing.

    `rules`: all rules by table, each with its "-A CHAIN ".
    """
    tables = xtables.save_all(JUMPS)
    for table, lines in rules.items():
        saved = tables[table]
        if any(jump.rule not in saved.get(jump.chain, ()) for jump in JUMPS if jump.table == table):
            return True
        for where, chain in CHAINS:
            if where == table:
                wanted = sum(1 for line in lines if line.startswith(f"-A {chain} "))
                if len(saved.get(chain, ())) < wanted or chain not in saved:
                    return True
    return False
