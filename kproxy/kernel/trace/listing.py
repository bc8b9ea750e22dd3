"""Parsers for rules as their own tool prints them. Pure."""

from __future__ import annotations

import re
import shlex
from functools import lru_cache
from itertools import pairwise

from msgspec import Struct

_CHAIN = re.compile(r"\tchain (\S+) \{ # handle \d+")
_RULE = re.compile(r"\t\t(.*) # handle (\d+)")
_VERDICTS = {
    "ACCEPT": "accept",
    "DROP": "drop",
    "RETURN": "return",
    **dict.fromkeys(("DNAT", "MASQUERADE", "NETMAP", "REDIRECT", "SNAT"), "accept"),
    "REJECT": "drop",
    **dict.fromkeys(("CONNMARK", "LOG", "MARK", "NFLOG", "SET", "TCPMSS"), "continue"),
}


class SavedChain(Struct):
    """A chain as iptables-save prints it."""

    policy: str
    """The policy of a built-in chain; "-" for other chains."""
    rules: list[str]


SavedTable = dict[str, SavedChain]


def parse_saved(text: str) -> dict[str, SavedTable]:
    """Return the tables in the output of iptables-save, each rule with its "-A CHAIN "."""
    tables: dict[str, SavedTable] = {}
    chains: SavedTable = {}
    for line in text.splitlines():
        if line.startswith("*"):
            chains = tables.setdefault(line[1:], {})
        elif line.startswith(":"):
            name, policy, *_ = line[1:].split(" ")
            chains[name] = SavedChain(policy, [])
        elif line.startswith("-A "):
            chains[line.split(" ", 2)[1]].rules.append(line)
    return tables


def verdict_of(rule: str, chains: SavedTable) -> str:
    """Return the verdict of an iptables rule's target; see `TraceStep`."""
    option, target = _target(rule)
    if not option:
        return "continue"
    if target in chains:
        return f"{'jump' if option == '-j' else 'goto'} {target}"
    return _VERDICTS.get(target, "")


@lru_cache(maxsize=4096)  # shlex is slow, and most packets meet the same rules
def _target(rule: str) -> tuple[str, str]:
    """Return `-j` or `-g` and the word after it; empty without one."""
    pairs = pairwise(shlex.split(rule))
    return next((pair for pair in pairs if pair[0] in ("-j", "-g")), ("", ""))


def parse_listed(text: str) -> dict[str, dict[int, str]]:
    """Return the rules by chain and handle in the output of `nft --handle list table`."""
    chains: dict[str, dict[int, str]] = {}
    rules: dict[int, str] = {}
    for line in text.splitlines():
        if opening := _CHAIN.fullmatch(line):
            rules = chains.setdefault(opening[1], {})
        elif found := _RULE.fullmatch(line):
            rules[int(found[2])] = found[1]
    return chains
