"""iptables rules of a host of the lab, other than those of its proxy."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

from kproxy.forwarding.plan import Family
from kproxy.kernel.xtables import Xtables, open_xtables

_COMMENT_MAX = 255  # XT_MAX_COMMENT_LEN - 1


class Rules:
    """Rules of one namespace, collected and then committed, or revoked, in one go for each family.

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
        """Add them. Raises KernelRefused, Unsupported."""
        self._restore(lambda key: [*self._chains[key], *self._rules[key]])

    def revoke(self) -> None:
        """Delete the rules and the chains that are collected; all of them are there.

        Raises KernelRefused, Unsupported.
        """
        self._restore(self._deletions)

    def _deletions(self, key: tuple[Family, str]) -> list[str]:
        """Jumps first, then the chains, which need not be emptied rule by rule."""
        chains = [chain.split(maxsplit=1)[0].removeprefix(":") for chain in self._chains[key]]
        jumps = [rule for rule in self._rules[key] if rule.split(maxsplit=2)[1] not in chains]
        return [
            *(f"-D {rule.removeprefix('-A ')}" for rule in jumps),
            *self._chains[key],
            *(f"-X {chain}\n" for chain in chains),
        ]

    def _restore(self, lines: Callable[[tuple[Family, str]], list[str]]) -> None:
        tables: dict[Family, list[str]] = defaultdict(list)
        for family, table in dict.fromkeys([*self._chains, *self._rules]):
            tables[family] += [f"*{table}\n", *lines((family, table)), "COMMIT\n"]
        for family, pieces in tables.items():
            xtables: Xtables = open_xtables(family, self._variant)
            xtables.restore(pieces)


def comment(text: str) -> str:
    """Cut to what a comment can hold."""
    return f'-m comment --comment "{text[:_COMMENT_MAX]}"'
