"""Rules as iptables-save prints them. Pure."""

from __future__ import annotations

import re
from typing import Literal, get_args

Table = Literal["mangle", "nat", "filter"]
TABLES: tuple[Table, ...] = get_args(Table)
Chains = dict[str, list[str]]
"""The rules of each chain in order, each without the leading "-A CHAIN "."""

_QUOTED_OR_BLANKS = re.compile(r'("(?:\\.|[^"\\])*")|\s+')


def kube_chains(chains: Chains) -> dict[str, tuple[str, ...]]:
    """Return the chains whose names begin with KUBE-, and of others the jumps to them."""
    found = {
        chain: tuple(r for r in rules if chain.startswith("KUBE-") or "-j KUBE-" in r)
        for chain, rules in chains.items()
    }
    return {chain: rules for chain, rules in found.items() if rules or chain.startswith("KUBE-")}


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
