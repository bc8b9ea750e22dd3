"""iptables rules of a host of the lab, other than those of its proxy."""

from __future__ import annotations

from collections import defaultdict

from kproxy.forwarding.plan import Family
from kproxy.kernel.xtables import Xtables, open_xtables


class Rules:
    """Rules of one namespace, collected and then committed in one go for each family.

    `variant`: of iptables; `auto` is the machine's.
    """

    def __init__(self, variant: str) -> None:
        self._variant = variant
        self._chains: dict[tuple[Family, str], list[str]] = defaultdict(list)
        self._rules: dict[tuple[Family, str], list[str]] = defaultdict(list)

    def chain(self, family: Family, table: str, name: str) -> None:
        """A new chain, or an emptied one."""
        self._chains[family, table].append(f":{name} - [0:0]\n")

    def add(self, family: Family, table: str, rule: str) -> None:
        """`rule`: what stands behind -A."""
        self._rules[family, table].append(f"-A {rule}\n")

    def commit(self) -> None:
        """Raises KernelRefused, Unsupported."""
        tables: dict[Family, list[str]] = defaultdict(list)
        for family, table in dict.fromkeys([*self._chains, *self._rules]):
            key = family, table
            tables[family] += [f"*{table}\n", *self._chains[key], *self._rules[key], "COMMIT\n"]
        for family, pieces in tables.items():
            xtables: Xtables = open_xtables(family, self._variant)
            xtables.restore(pieces)


def comment(text: str) -> str:
    return f'-m comment --comment "{text}"'
