"""iptables rules of a host of the lab, other than those of its proxy."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import ExitStack

from kproxy.address import Family
from kproxy.kernel.xtables import open_xtables

_COMMENT_MAX = 255  # XT_MAX_COMMENT_LEN - 1


class Rules:
    """Rules of one namespace, collected and then committed, or revoked, at once for each family.

    `variant` is that of iptables; `auto` is the machine's.
    """

    def __init__(self, variant: str) -> None:
        self._variant = variant
        self._chains: dict[tuple[Family, str], list[str]] = defaultdict(list)
        self._rules: dict[tuple[Family, str], list[str]] = defaultdict(list)

    def chain(self, family: Family, table: str, name: str) -> None:
        """Collect a chain, which is created, or emptied if it exists."""
        self._chains[family, table].append(f":{name} - [0:0]\n")

    def add(self, family: Family, table: str, rule: str) -> None:
        """Collect a rule, written as the arguments of `-A`."""
        self._rules[family, table].append(f"-A {rule}\n")

    def commit(self) -> None:
        """Add all collected chains and rules, or none. Raises KernelRefused, Unsupported."""
        with ExitStack() as undo:
            for family, tables in self._by_family().items():
                self._restore(family, tables, self._additions)
                undo.callback(self._restore, family, tables, self._deletions)
            undo.pop_all()

    def revoke(self) -> None:
        """Delete the collected rules and chains, all of which must exist.

        Raises KernelRefused, Unsupported.
        """
        for family, tables in self._by_family().items():
            self._restore(family, tables, self._deletions)

    def _by_family(self) -> dict[Family, list[str]]:
        """Return the tables of the collected chains and rules."""
        found: dict[Family, list[str]] = defaultdict(list)
        for family, table in dict.fromkeys([*self._chains, *self._rules]):
            found[family].append(table)
        return found

    def _additions(self, family: Family, table: str) -> list[str]:
        return [*self._chains[family, table], *self._rules[family, table]]

    def _deletions(self, family: Family, table: str) -> list[str]:
        """Return the lines that delete jumps and then chains, which are flushed as a whole."""
        chains = [line[1:].split()[0] for line in self._chains[family, table]]
        jumps = [rule for rule in self._rules[family, table] if rule.split()[1] not in chains]
        return [
            *(f"-D {rule.removeprefix('-A ')}" for rule in jumps),
            *self._chains[family, table],
            *(f"-X {chain}\n" for chain in chains),
        ]

    def _restore(
        self, family: Family, tables: Iterable[str], lines: Callable[[Family, str], list[str]]
    ) -> None:
        pieces: list[str] = []
        for table in tables:
            pieces += [f"*{table}\n", *lines(family, table), "COMMIT\n"]
        open_xtables(family, self._variant).restore(pieces)


def comment(text: str) -> str:
    """Return a match with a comment, cut to the length that a comment can have."""
    return f'-m comment --comment "{text[:_COMMENT_MAX]}"'
