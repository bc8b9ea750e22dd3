"""Tells what leads to a chain, from rules as iptables-save prints them. Pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Mapping, Sequence

_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
_WORD = re.compile(r'"(?:[^"\\]|\\.)*"|\S+')
_SAFE = re.compile(r'"[^"\\$`!]*"|[\w@%+=:,./!-]+', re.ASCII)  # the same words for a shell
_ESCAPED = re.compile(r"\\(.)")
_TARGET = re.compile(r"(?:^| )(?:-j|-g|--jump|--goto) (\S+)")


def target(rule: str) -> str:
    """Return what a rule jumps or goes to, "" for nothing. Texts in quotes, such as comments, are
    passed over.
    """
    found = _TARGET.search(_QUOTED.sub('""', rule))
    return found[1] if found else ""


def for_shell(rule: str) -> str:
    """Return a rule as iptables-save prints it as words for a shell.

    iptables-save puts a backslash before quotes within quotes; a shell takes some characters
    otherwise.
    """
    words = (found[0] for found in _WORD.finditer(rule))
    return " ".join(_word_for_shell(word) for word in words)


def _word_for_shell(word: str) -> str:
    if _SAFE.fullmatch(word):
        return word
    plain = _ESCAPED.sub(r"\1", word[1:-1]) if word.startswith('"') else word
    return shlex.quote(plain)


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
