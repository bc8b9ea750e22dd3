"""Small legacy tables of one family: transactions of iptables-restore's text, under the lock of the
programs, and whole tables as iptables-save prints them.
"""

from __future__ import annotations

import ctypes
import fcntl
import itertools
import logging
import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

from kproxy.address import Family
from kproxy.errors import KernelRefused
from kproxy.kernel import legacy_tables
from kproxy.kernel.ipset_indexes import Indexes
from kproxy.kernel.iptables_legacy import table
from kproxy.kernel.iptables_legacy.edit import edit
from kproxy.kernel.iptables_legacy.layout import COUNTERS, LAYOUTS
from kproxy.kernel.iptables_legacy.table import NotUnderstood
from kproxy.kernel.iptables_legacy.text import decode
from kproxy.kernel.iptables_nft.extensions import Unknown

log = logging.getLogger("kproxy")

# Those whose rules netns_tests/iptables/test_legacy_writer.py has compared with ours.
_VERSIONS = frozenset(((1, 8, 9), (1, 8, 11)))
_MOST_BYTES = 50_000  # of a text or of a table: the program is faster with more
_LOCK = "/run/xtables.lock"  # of all namespaces of the machine
_ours = threading.Lock()  # threads of this process wait for each other
_NO_COUNTS = COUNTERS.pack(0, 0)
_NOT_HERE = (Unknown, NotUnderstood, KernelRefused, OSError)
_COMMIT = "\nCOMMIT\n"


def small_tables_for(family: Family, version: tuple[int, ...]) -> SmallTables | None:
    """Return them if it is known what iptables of this version would write and print."""
    return SmallTables(family) if version in _VERSIONS else None


class SmallTables:
    """Reads and writes in the namespace of the calling thread, without a process."""

    def __init__(self, family: Family) -> None:
        self._family = family

    def restore_pieces(self, pieces: Iterable[str]) -> Iterable[str] | None:
        """Carry out a text that comes in pieces, and return those of the rest, None for none. See
        `restore`; of a large text only the beginning is kept.
        """
        start, rest = "", iter(pieces)
        for piece in rest:
            start += piece
            if len(start) > _MOST_BYTES:
                return itertools.chain([start], rest)
        left = self.restore(start)
        return [left] if left else None

    def restore(self, text: str) -> str:
        """Carry out a text, one transaction for each table, like iptables-restore --noflush.

        Return "", or the rest of the text, from the first table on that is left to the program: it
        has what is not understood here, other programs are writing, or the kernel refuses it.
        Nothing of these was written, and the program says what is wrong with them.
        """
        if len(text) > _MOST_BYTES:
            return text
        with Indexes() as indexes:
            while text:
                first, found, rest = text.partition(_COMMIT)
                name, *lines = first.split("\n")
                try:
                    if not found or name[:1] != "*":
                        raise Unknown("a text without table or COMMIT")
                    _write(self._family, name[1:], [*filter(None, lines)], indexes)
                except _NOT_HERE as reason:
                    log.debug("%s: the program has to write this: %s", self._family.value, reason)
                    break
                text = rest
        return text

    def save(self, name: str) -> dict[str, list[str]] | None:
        """Return the rules by chain of a table, which is created if it does not exist; None if only
        the program can read them.
        """
        found = self._read(name)
        return None if found is None else {chain: rules for chain, _, rules in found}

    def text(self, name: str) -> str | None:
        """Return a table as iptables-save prints it, but for its comments and with no counts. See
        `save`.
        """
        found = self._read(name)
        if found is None:
            return None
        lines = [f"*{name}", *(f":{chain} {policy} [0:0]" for chain, policy, _ in found)]
        lines += (f"-A {chain} {rule}".rstrip() for chain, _, rules in found for rule in rules)
        return "".join(f"{line}\n" for line in (*lines, "COMMIT"))

    def _read(self, name: str) -> list[tuple[str, str, list[str]]] | None:
        """Return each chain of a table with its policy, which is "-" for most, and its rules."""
        layout = LAYOUTS[self._family]
        try:
            raw = _small(self._family, name)
            with Indexes() as indexes:
                return [
                    (
                        chain.name,
                        chain.policy.rule.jump if chain.policy else "-",
                        [
                            indexes.out_of_rule(decode(self._family, line.rule))
                            for line in chain.lines
                        ],
                    )
                    for chain in table.read(layout, raw)
                ]
        except _NOT_HERE as reason:
            log.debug("%s: the program has to read %s: %s", self._family.value, name, reason)
            return None


def _small(family: Family, name: str) -> legacy_tables.Raw:
    """Return a table. Raises NotUnderstood for a large one before its entries are copied, which
    takes half as long as the program does; KernelRefused.
    """
    _, size_bytes = legacy_tables.size(family, name)
    if size_bytes > _MOST_BYTES:
        raise NotUnderstood("a large table")
    return legacy_tables.whole(family, name)


def _write(family: Family, name: str, lines: list[str], indexes: Indexes) -> None:
    """Carry out the lines of one table. Raises Unknown, NotUnderstood, OSError, KernelRefused."""
    layout = LAYOUTS[family]
    with _lock():
        raw = _small(family, name)
        chains = table.read(layout, raw)
        if not lines:
            return
        edit(family, chains, lines, indexes.in_rule)
        old = ctypes.create_string_buffer(raw.number * COUNTERS.size)
        message = table.write(layout, name, raw, chains, ctypes.addressof(old))
        legacy_tables.replace(family, message)
        # The kernel has counted up to now, and begins at 0 again.
        kept = [
            old.raw[line.was * COUNTERS.size :][: COUNTERS.size] if line else _NO_COUNTS
            for line in table.kept(chains)
        ]
        if any(map(any, kept)):
            with suppress(OSError):  # the rules are in force already
                legacy_tables.add_counters(family, name, kept)


@contextmanager
def _lock() -> Iterator[None]:
    """Keep the programs from writing. Raises OSError if one does: it can wait for others."""
    path = os.environ.get("XTABLES_LOCKFILE", _LOCK)
    with _ours:
        descriptor = os.open(path, os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        finally:
            os.close(descriptor)
