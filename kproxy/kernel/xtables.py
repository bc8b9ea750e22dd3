"""iptables of one address family and one variant, in the namespace of the calling thread.

Two variants of the same commands exist: `legacy` talks to the kernel's own ip_tables, where a table
is replaced as a whole, `nft` translates to nf_tables. They do not see each other's rules, and both
are active at once, so a proxy must use the variant that other programs in the namespace use.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cached_property
from typing import TYPE_CHECKING, get_args

from kproxy.address import Family
from kproxy.errors import KernelRefused, Unsupported
from kproxy.kernel import iptables_programs as programs
from kproxy.kernel import iptables_save, legacy_tables
from kproxy.kernel.iptables_programs import Variant
from kproxy.kernel.iptables_save import TABLES, Chains, Jump, Table, parse_save, single_blanks
from kproxy.kernel.lacking import lacking, require_nf_tables
from kproxy.kernel.leading import for_shell, leading_to, target
from kproxy.kernel.mixed_tables import delete_jumps, is_closed, not_printed, read_mixed
from kproxy.kernel.nftables.session import Session, TableReader
from kproxy.kernel.privilege import require_net_raw
from kproxy.kernel.process import run

if TYPE_CHECKING:
    from kproxy.kernel.iptables_legacy import SmallTables
    from kproxy.kernel.iptables_nft import Writer


# 1.6.2 added --random-fully and iptables-restore --wait; kube-proxy still has ways around them.
MINIMUM_VERSION = (1, 6, 2)
_WAIT = "--wait=30"  # seconds for the lock of the legacy variant, which all namespaces share
_HOOKED = re.compile(r"CHAIN_USER_ADD failed \(File exists\): chain (\S+)")
_MOST_NAMED = 3  # rules that lead to one chain
_HINTS = ("KUBE-IPTABLES-HINT", "KUBE-KUBELET-CANARY", "KUBE-PROXY-CANARY")


class Xtables:
    """Reads and writes the tables of `family` with the commands of `variant`."""

    def __init__(self, family: Family, variant: Variant) -> None:
        self.family = family
        self.variant = variant
        self._command = f"{programs.name(family)}-{variant}"
        self._kept: Session | None = None
        self._keeps_open = False

    def keep_open(self) -> None:
        """Have the nft variant use one socket until `close`, in one namespace.

        Closing one waits until the kernel has disposed of what the last transaction removed, for
        some 10 ms.
        """
        self._keeps_open = True

    def close(self) -> None:
        if self._kept:
            self._kept.close()
            self._kept = None

    @contextmanager
    def _session(self) -> Iterator[Session]:
        if self._keeps_open:
            self._kept = self._kept or Session()
            yield self._kept
        else:
            with Session() as session:
                yield session

    def version(self) -> tuple[int, ...]:
        """Return the version of the command. Raises Unsupported if it is not installed."""
        return programs.version(self._command)

    def require(self) -> None:
        """Raise Unsupported, saying what is missing, if kproxy cannot work with it here."""
        version = self.version()
        if version < MINIMUM_VERSION:
            found, wanted = (".".join(map(str, v)) for v in (version, MINIMUM_VERSION))
            raise Unsupported(f"iptables is {found}", remedy=f"install iptables {wanted} or newer")
        try:
            if self.variant == "legacy":
                require_net_raw()
                legacy_tables.require(self.family, "nat")
            else:
                require_nf_tables(self.family)
                run([self._command, _WAIT, "-t", "nat", "-S", "POSTROUTING"])
        except legacy_tables.NoTable:
            raise lacking("legacy iptables", self.family) from None
        except KernelRefused as error:
            if not is_closed(error):
                raise Unsupported(str(error), remedy="run as root, or with --privileged") from None

    def has(self, table: Table) -> bool:
        """Tell whether the table exists: it does once it was used here."""
        if self.variant == "legacy":
            return table in legacy_tables.names(self.family)
        with self._session() as session:
            return TableReader(session, self.family, table).exists()

    def has_chain(self, table: Table, name: str) -> bool:
        """Tell whether a chain exists, without starting a process.

        In a legacy table a comment may be taken for the chain.
        """
        return self._has_any(table, [name])

    def _has_any(self, table: Table, names: Iterable[str]) -> bool:
        """Tell whether any of these chains exists, like `has_chain`."""
        if self.variant == "nft":
            with Session() as session:
                return any(map(TableReader(session, self.family, table).has_chain, names))
        if not self.has(table):
            return False
        entries = legacy_tables.entries(self.family, table)
        return any(name.encode() + b"\0" in entries for name in names)

    def save(self, table: Table, jumps: Iterable[Jump] = ()) -> Chains:
        """Return all chains of a table.

        In a chain that also has rules made with nft, only those of `jumps` are recognised, and ""
        stands for each of the others.
        """
        return self._save(table, jumps)[0]

    def save_all(self, jumps: Iterable[Jump] = ()) -> dict[Table, Chains]:
        """Return all tables, read by one process at most; one that was never used here is empty.
        `jumps`: see `save`.
        """
        return self._save_small() or self._save_any(jumps)

    def counted(
        self, jumps: Iterable[Jump] = ()
    ) -> dict[Table, dict[str, list[tuple[str, int | None]]]]:
        """Return all tables as `read_all` does, each rule with how many packets it has counted;
        None in tables with rules made with nft. `jumps`: see `save`.
        """
        text = run([f"{self._command}-save", "--counters"])
        tables = iptables_save.parse_counted(text)
        for table in tables.keys() & not_printed(text):
            chains = self._read_mixed(table, jumps)[0]
            tables[table] = {
                chain: [(single_blanks(rule), None) for rule in rules]
                for chain, rules in chains.items()
            }
        return tables

    def _save_small(self) -> dict[Table, Chains] | None:
        """Return all legacy tables, None if only a process can read them."""
        if not self._small:
            return None
        found: dict[Table, Chains] = {}
        present = legacy_tables.names(self.family)
        for table in TABLES:
            chains = self._small.save(table) if table in present else {}
            if chains is None:
                return None
            found[table] = chains
        return found

    def save_text(self) -> str:
        """Return the tables that were used here as the program prints them, but perhaps without
        counts.
        """
        if self._small:
            texts = [self._small.text(table) for table in legacy_tables.names(self.family)]
            if None not in texts:
                return "".join(filter(None, texts))
        return run([f"{self._command}-save"])

    def _save_any(self, jumps: Iterable[Jump] = ()) -> dict[Table, Chains]:
        text = run([f"{self._command}-save"])
        tables = parse_save(text)
        for table in tables.keys() & not_printed(text):
            tables[table] = self._read_mixed(table, jumps)[0]
        return tables

    def _save(self, table: Table, jumps: Iterable[Jump]) -> tuple[Chains, list[str]]:
        """Return all chains of a table, and the names of those that nft has written rules in."""
        if self._small and (found := self._small.save(table)) is not None:
            return found, []
        text = run([f"{self._command}-save", "-t", table])
        if table in not_printed(text):
            return self._read_mixed(table, jumps)
        return parse_save(text)[table], []

    def _read_mixed(
        self, table: Table, jumps: Iterable[Jump], names: Collection[str] | None = None
    ) -> tuple[Chains, list[str]]:
        known: Chains = {}
        for jump in jumps:
            if jump.table == table:
                known.setdefault(jump.chain, []).append(jump.rule)
        return read_mixed(self.family, table, self._command, known, names)

    def chains(self, table: Table, names: Iterable[str], jumps: Iterable[Jump] = ()) -> Chains:
        """Return those of the named chains that exist, without reading the others if possible.
        `jumps`: see `save`.
        """
        if self.variant == "legacy":  # every command fetches the whole table, so fetch it once
            saved = self.save(table)
            return {name: saved[name] for name in names if name in saved}
        return self._read_mixed(table, jumps, [*names])[0]

    def read_all(self) -> dict[Table, Chains]:
        """Return the same as `save_all` with single blanks outside quotes; large legacy IPv4 tables
        without a process, too, unless other programs have written rules there.
        """
        saved = self._save_small()
        if saved is None and self.variant == "legacy" and self.family is Family.IPV4:
            from kproxy.kernel.legacy_reader import ForeignRule, read_table

            with suppress(ForeignRule):
                return {table: read_table(table) for table in TABLES}
        return {
            table: {chain: [*map(single_blanks, rules)] for chain, rules in chains.items()}
            for table, chains in (saved or self._save_any()).items()
        }

    def restore(self, pieces: Iterable[str]) -> None:
        """Feed one transaction; what it does not mention stays as it is. Raises KernelRefused."""
        if self._small:
            left = self._small.restore_pieces(pieces)
            if left is None:
                return
            pieces = left
        if self._writer:
            pieces = ["".join(pieces)]
            with self._session() as session:
                if self._writer.restore(session, pieces[0]):
                    return
        self._feed(pieces)

    def restore_all(self, transactions: Iterable[Iterable[str]]) -> Iterator[None]:
        """Feed transactions like `restore`, and yield after each.

        The next one may have been consumed by then.
        """
        if self._writer:
            for left in self._writer.restore_all("".join(pieces) for pieces in transactions):
                if left:
                    self._feed([left])
                yield
        else:
            for pieces in transactions:
                self.restore(pieces)
                yield

    def _feed(self, pieces: Iterable[str]) -> None:
        """Feed one transaction to the program."""
        # A large transaction takes the nft variant minutes; a hang must still end.
        try:
            run([f"{self._command}-restore", "--noflush", _WAIT], pieces, timeout_s=600)
        except KernelRefused as error:
            if found := _HOOKED.search(str(error)):
                raise KernelRefused(
                    str(error),
                    remedy=f"{found[1]} is there as a base chain, made with nft: delete it, or"
                    " rename it (nft list chains shows it)",
                ) from None
            raise

    @cached_property
    def _small(self) -> SmallTables | None:
        """Return what reads and writes small legacy tables as the programs would."""
        if self.variant == "nft":
            return None
        from kproxy.kernel.iptables_legacy import small_tables_for  # only legacy tables need it

        return small_tables_for(self.family, self.version())

    @cached_property
    def _writer(self) -> Writer | None:
        """Return what writes the nft variant without its program, if that would write the same."""
        if self.variant == "legacy":
            return None
        from kproxy.kernel.iptables_nft import writer_for  # the legacy variant needs none of it

        return writer_for(self.family, self.version())

    def remove(
        self, table: Table, to_remove: Collection[str], jumps: Iterable[Jump]
    ) -> dict[str, str]:
        """Delete the jumps, then the chains, as far as they exist.

        A chain that another rule still leads to is emptied, but stays. Return these chains, like
        `delete_chains`.
        """
        jumps = [*jumps]
        if not self._has_any(table, [*to_remove, *(target(jump.rule) for jump in jumps)]):
            return {}
        saved, mixed = self._save(table, jumps)
        wanted = {(jump.chain, jump.rule) for jump in jumps}
        for name in mixed:  # iptables deletes nothing behind a rule that it does not understand
            targets = {target(rule) for chain, rule in wanted if chain == name}
            delete_jumps(self.family, table, name, targets)
        chains = sorted(saved.keys() & to_remove)
        lines = [  # a jump as often as it is there
            f"-D {chain} {rule}\n"
            for chain, rules in saved.items()
            if chain not in mixed
            for rule in rules
            if (chain, rule) in wanted
        ]
        lines += [f":{chain} - [0:0]\n" for chain in chains]
        if not lines:
            return {}
        staying = {
            chain: [rule for rule in rules if (chain, rule) not in wanted]
            for chain, rules in saved.items()
            if chain not in chains
        }
        held = self._holders(table, staying, chains)
        free = [chain for chain in chains if chain not in held]
        try:
            self.restore([f"*{table}\n", *lines, *_deletions(free), "COMMIT\n"])
        except KernelRefused:
            self.restore([f"*{table}\n", *lines, "COMMIT\n"])
            held |= self.delete_chains(table, free)
        return held

    def delete_chains(
        self, table: Table, chains: Iterable[str], saved: Chains | None = None
    ) -> dict[str, str]:
        """Delete these chains, which must be empty, as far as they exist and nothing leads to them.

        Return for each of the others what leads to it, and the command that removes that. `saved`:
        these chains, and all that may lead to them, if they have been read already.
        """
        saved = self.save(table) if saved is None else saved
        present = sorted(saved.keys() & set(chains))
        held = self._holders(table, saved, present)
        for chain in self._undeletable(table, [each for each in present if each not in held]):
            held[chain] = f"the kernel says it is in use; see {self._listing(table)}"
        return held

    def _undeletable(self, table: Table, chains: list[str]) -> list[str]:
        """Delete chains in one transaction or, where the kernel refuses, in ever smaller ones."""
        if not chains:
            return []
        try:
            self.restore([f"*{table}\n", *_deletions(chains), "COMMIT\n"])
        except KernelRefused:
            if len(chains) == 1:
                return chains if self.has_chain(table, chains[0]) else []
            middle = len(chains) // 2
            return [
                *self._undeletable(table, chains[:middle]),
                *self._undeletable(table, chains[middle:]),
            ]
        return []

    def _holders(self, table: Table, saved: Chains, chains: Collection[str]) -> dict[str, str]:
        """Return for each chain that a rule leads to the words for an error message."""
        return {
            name: "; ".join(
                f"{chain} leads to it; to remove that:"
                f" {self._command} -t {table} -D {chain} {for_shell(rule)}"
                for chain, rule in found[:_MOST_NAMED]
            )
            + (f"; and {len(found) - _MOST_NAMED} rules more" if found[_MOST_NAMED:] else "")
            for name, found in leading_to(saved, chains).items()
        }

    def _listing(self, table: Table) -> str:
        """Return a command that also shows what iptables-save does not, such as verdict maps."""
        if self.variant == "nft":
            return f"nft list table {'ip' if self.family is Family.IPV4 else 'ip6'} {table}"
        return f"{self._command}-save -t {table}"

    def generation(self) -> tuple[int, ...]:
        """Return a value that changes with the rules, in microseconds whatever their number.

        nft: the number of the last commit in this namespace, of any table and family.
        legacy: entry counts and sizes; replacing rules by equally long ones does not change them.
        """
        if self.variant == "nft":
            with self._session() as session:
                return (session.generation(),)
        return legacy_tables.sizes(self.family, TABLES)


def installed_variants() -> list[Variant]:
    """Return the variants whose commands can be started."""
    found: list[Variant] = []
    for variant in get_args(Variant):
        with suppress(Unsupported):
            Xtables(Family.IPV4, variant).version()
            found.append(variant)
    return found


def open_xtables(family: Family, variant: str) -> Xtables:
    """Return the Xtables for `variant`: nft, legacy, or auto for the one in use in the namespace of
    the calling thread.
    """
    if variant == "auto":
        return Xtables(family, choose_variant(family))
    return Xtables(family, "legacy" if variant == "legacy" else "nft")


def choose_variant(family: Family) -> Variant:
    """Return the variant that seems to be in use in this namespace, else the machine's default.

    The first with Kubernetes' own marks counts, else the one with the most rules. Source:
    https://github.com/kubernetes-sigs/iptables-wrappers (iptables-wrapper-installer.sh)
    """
    default = programs.default_variant(family)
    # Reading legacy tables creates them, so they are read only in a namespace that has some.
    legacy_used = bool(legacy_tables.names(family))
    if default == "nft" and not legacy_used:
        return "nft"
    if default == "legacy" and not legacy_used and not _nft_used():
        return "legacy"
    variants: tuple[Variant, ...] = get_args(Variant)
    rules: dict[Variant, int] = {}
    for variant in variants:
        if not (_nft_used() if variant == "nft" else legacy_used):
            continue
        try:
            saved = Xtables(family, variant).save_all()
        except (KernelRefused, Unsupported):
            continue
        if any(hint in saved["mangle"] for hint in _HINTS):
            return variant
        rules[variant] = sum(len(rules) for chains in saved.values() for rules in chains.values())
    if any(rules.values()):
        return max(rules, key=lambda variant: rules[variant])
    return default


def not_deleted(table: Table, held: Mapping[str, str]) -> list[str]:
    """Return the lines of an error message about chains that `remove` could not delete."""
    return [f"{table} {chain} was emptied but not deleted: {why}" for chain, why in held.items()]


def _deletions(chains: Iterable[str]) -> Iterator[str]:
    return (f"-X {chain}\n" for chain in chains)


def _nft_used() -> bool:
    """Tell whether anything was ever written to nf_tables in this namespace."""
    try:
        with Session() as session:
            return session.generation() > 1
    except (KernelRefused, Unsupported):  # no nf_tables in this kernel, or no privilege
        return False
