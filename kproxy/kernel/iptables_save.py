"""Rules as iptables-save prints them, and what reads them. Pure."""

from __future__ import annotations

import re
from typing import Literal, get_args

from msgspec import Struct

from kproxy.address import Family

Table = Literal["mangle", "nat", "filter"]
TABLES: tuple[Table, ...] = get_args(Table)
Chains = dict[str, list[str]]
"""The rules of each chain in order, each without the leading "-A CHAIN "."""

_COUNTED = re.compile(r"\[(\d+):\d+\] -A (\S+) ?(.*)")
_QUOTED_OR_BLANKS = re.compile(r'("(?:\\.|[^"\\])*")|\s+')


class Jump(Struct, frozen=True):
    """A rule in a built-in chain. `rule` is written exactly as iptables-save prints it."""

    table: Table
    chain: str
    rule: str


def kube_chains(chains: Chains) -> dict[str, tuple[str, ...]]:
    """Return the chains whose names begin with KUBE-, and of others the jumps to them."""
    found = {
        chain: tuple(rule for rule in rules if is_kube_rule(chain, rule))
        for chain, rules in chains.items()
    }
    return {chain: rules for chain, rules in found.items() if rules or chain.startswith("KUBE-")}


def is_kube_rule(chain: str, rule: str) -> bool:
    """Tell whether a rule is in a chain whose name begins with KUBE-, or jumps to one."""
    return chain.startswith("KUBE-") or "-j KUBE-" in rule


def parse_counted(text: str) -> dict[Table, dict[str, list[tuple[str, int | None]]]]:
    """Return the chains of each table in the output of `iptables-save --counters`: rules with
    single blanks, each with how many packets it has counted.
    """
    tables: dict[str, dict[str, list[tuple[str, int | None]]]] = {table: {} for table in TABLES}
    chains: dict[str, list[tuple[str, int | None]]] = {}
    for line in text.split("\n"):
        if line.startswith("*"):
            chains = tables.setdefault(line[1:], {})
        elif line.startswith(":"):
            chains[line[1:].split(" ", 1)[0]] = []
        elif found := _COUNTED.match(line):
            chains.setdefault(found[2], []).append((single_blanks(found[3]), int(found[1])))
    return {table: tables[table] for table in TABLES}


def parse_save(text: str) -> dict[Table, Chains]:
    """Return the chains of each table in the output of iptables-save."""
    tables: dict[str, Chains] = {table: {} for table in TABLES}
    chains: Chains = {}
    for line in text.split("\n"):  # not splitlines: comments may have other separators
        if line.startswith("*"):
            chains = tables.setdefault(line[1:], {})
        elif line.startswith(":"):
            chains[line[1:].split(" ", 1)[0]] = []
        elif line.startswith("-A "):
            chain, _, rule = line[3:].partition(" ")  # a rule may be empty
            chains.setdefault(chain, []).append(rule)
    return {table: tables[table] for table in TABLES}


def single_blanks(rule: str) -> str:
    """Return a rule with single blanks outside quotes."""
    return _QUOTED_OR_BLANKS.sub(lambda found: found[1] or " ", rule)


def restore_command(family: Family, variant: str) -> tuple[str, ...]:
    """Return the command that loads rules beside those there are. `variant`: nft, legacy or auto,
    for that of the machine.
    """
    program = "iptables" if family is Family.IPV4 else "ip6tables"
    chosen = "" if variant == "auto" else f"-{variant}"
    return f"{program}{chosen}-restore", "--noflush"
