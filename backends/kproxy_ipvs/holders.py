"""Who uses an ipset: rules of iptables, of any family and variant, and sets of sets."""

from __future__ import annotations

import re
from collections.abc import Collection

from kproxy.address import Family
from kproxy.errors import KernelRefused
from kproxy.kernel import ipset
from kproxy.kernel.leading import for_shell
from kproxy.kernel.xtables import Xtables, installed_variants

_USES = re.compile(r"--(?:match|add|del|map)-set (\S+)")


def holders(sets: Collection[str]) -> dict[str, str]:
    """Return the words for an error message, for each of these sets that something uses.

    One that is used by what is not looked at here has none.
    """
    found: dict[str, str] = {}
    if not sets:
        return found
    for variant in installed_variants():
        for family in Family:
            try:
                tables = Xtables(family, variant).save_all()
            except KernelRefused:  # this kernel has no such tables
                continue
            command = f"{'iptables' if family is Family.IPV4 else 'ip6tables'}-{variant}"
            for table, chains in tables.items():
                for chain, rules in chains.items():
                    for rule in rules:
                        for name in _USES.findall(rule):
                            found.setdefault(
                                name,
                                f"a rule of {chain} uses it; to remove that:"
                                f" {command} -t {table} -D {chain} {for_shell(rule)}",
                            )
    for outer, saved in ipset.save().items():
        if saved.shape.type == "list:set":
            for name in saved.entries:
                found.setdefault(
                    name,
                    f"the set {outer} contains it; to remove that: ipset del {outer} {name}",
                )
    return {name: found[name] for name in sets if name in found}
