"""Tells what leads to a chain, from rules as iptables-save prints them. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence

_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
_TARGET = re.compile(r"(?:^| )(?:-j|-g|--jump|--goto) (\S+)")


def target(rule: str) -> str:
    """Return what a rule jumps or goes to, "" for nothing. Texts in quotes, such as comments, are
    passed over.
    """
    found = _TARGET.search(_QUOTED.sub('""', rule))
    return found[1] if found else ""


def leading_to(
    saved: Mapping[str, Sequence[str]], chains: Collection[str]
) -> dict[str, list[tuple[str, str]]]:
    """Return, for each of the chains that a rule leads to, the chains and texts of such rules.

    `saved`: rules by chain, without the leading "-A CHAIN ".
    """
    wanted = set(chains)
    found: dict[str, list[tuple[str, str]]] = {}
    for chain, rules in saved.items():
        for rule in rules:
            if (name := target(rule)) in wanted:
                found.setdefault(name, []).append((chain, rule))
    return found
