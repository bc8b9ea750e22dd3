"""Tables of iptables' nft variant in which somebody has also written rules with nft.

iptables-save prints nothing of a table with such a rule, and exits with 0. Its other commands work
chain by chain; only those chains that have such a rule are closed to them. What their rules lead
to is read over netlink.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence

from kproxy.address import Family
from kproxy.errors import KernelRefused
from kproxy.kernel.leading import target
from kproxy.kernel.nftables.objects import Table
from kproxy.kernel.nftables.session import Session, TableReader
from kproxy.kernel.process import run

_NOT_PRINTED = re.compile(r"^# Table `(\w+)' is incompatible", re.MULTILINE)

Known = Mapping[str, Sequence[str]]
"""Rules by chain that are recognised in closed chains by what they lead to."""


def not_printed(saved: str) -> list[str]:
    """Return the tables that iptables-save has left out."""
    return _NOT_PRINTED.findall(saved)


def is_closed(error: KernelRefused) -> bool:
    """Tell whether a command was refused because of a rule in the chain that nft has written."""
    return "is incompatible, use 'nft' tool" in str(error)


def read_mixed(
    family: Family, table: str, command: str, known: Known, names: Collection[str] | None = None
) -> tuple[dict[str, list[str]], list[str]]:
    """Return the rules by chain, and the names of closed chains. `names`: no others.

    In a closed chain, "" stands for each rule that is not one of the `known` ones.
    """
    with Session() as session:
        reader = TableReader(session, family, table)
        present = [*reader.chains()] if names is None else [*filter(reader.has_chain, names)]
        chains: dict[str, list[str]] = {name: [] for name in present}
        closed = _read_open(table, command, present, chains) if present else []
        for name in closed:
            by_target = {target(rule): rule for rule in known.get(name, ())}
            chains[name] = [by_target.get(leads_to, "") for _, leads_to in reader.targets(name)]
    return chains, closed


def delete_jumps(family: Family, table: str, chain: str, targets: Collection[str]) -> None:
    """Delete the rules of a chain that lead to these chains. Raises KernelRefused."""
    with Session() as session:
        rules = TableReader(session, family, table).targets(chain)
        requests = [
            Table(family, table).delete_rule(chain, handle)
            for handle, leads_to in rules
            if leads_to in targets
        ]
        if requests:
            session.commit(requests)


def _read_open(
    table: str, command: str, names: list[str], chains: dict[str, list[str]]
) -> list[str]:
    """Add the rules of these chains to `chains`, and return the names of closed ones.

    The first closed one ends the command, which is repeated with ever fewer chains then.
    """
    lines = [f"*{table}\n", *(f"-S {name}\n" for name in names), "COMMIT\n"]
    try:
        text = run([f"{command}-restore", "--noflush"], lines)
    except KernelRefused:
        if len(names) == 1:
            return names
        middle = len(names) // 2
        return [
            *_read_open(table, command, names[:middle], chains),
            *_read_open(table, command, names[middle:], chains),
        ]
    for line in text.split("\n"):  # not splitlines: comments may have other separators
        if line.startswith("-A "):
            chain, _, rule = line[3:].partition(" ")
            chains[chain].append(rule)
    return []
