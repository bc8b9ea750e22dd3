"""Walks through rules as iptables-save prints them, as far as their text tells who they are for.
Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from ipaddress import ip_address, ip_network
from typing import NamedTuple

from kproxy.kernel.leading import target

_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
_COMMENT = re.compile(r'-m comment --comment ("(?:[^"\\]|\\.)*"|\S+) ?')
_ADDRESS = re.compile(r"(! )?-([sd]) (\S+)")
_OPTION = re.compile(r"(?:^| )(?:! )?(-[-\w]+)")
_TARGET = re.compile(r"(?:^| )-[jg] ")
_SOURCE_CHANGING = ("MASQUERADE", "SNAT")
_ENDING = ("ACCEPT", "RETURN", "DROP")
_DEEPEST = 8  # chains that lead to chains: a guard, the kernel allows no loop

Chains = Mapping[str, Sequence[str]]


class Flow(NamedTuple):
    """A packet, as far as rules are asked about it."""

    source: str
    destination: str


class Verdict(NamedTuple):
    """A rule that ends a packet's way. `certain`: it does so for every packet."""

    chain: str
    rule: str
    target: str
    certain: bool


def ends_here(
    chains: Chains, start: str, targets: set[str], *, until: str = "", but: str = ""
) -> list[Verdict]:
    """Return the rules with one of these targets that a packet may meet from chain `start` on.

    With `until`, only those before the first rule that leads to a chain whose name begins so.
    Chains whose names begin with `but` are left out; by default those of `until`, or KUBE-.
    """
    return [*_ends(chains, start, targets, until, but or until or "KUBE-", 0, True)]


def _ends(
    chains: Chains,
    chain: str,
    targets: set[str],
    until: str,
    but: str,
    depth: int,
    certain: bool,
) -> Iterator[Verdict]:
    for rule in chains.get(chain, ()):
        leads_to = target(rule)
        if until and leads_to.startswith(until):
            return
        plain = certain and not _conditions(rule)
        if leads_to in targets and not (depth and leads_to == "RETURN"):
            yield Verdict(chain, rule, leads_to, plain)
        elif leads_to in chains and not leads_to.startswith(but) and depth < _DEEPEST:
            yield from _ends(chains, leads_to, targets, until, but, depth + 1, plain)


def source_changes(chains: Chains, start: str, flow: Flow, *, but: str) -> Verdict | None:
    """Return the rule that changes the source of a packet that comes to chain `start`; None if none
    does for sure. Chains whose names begin with `but` are passed over.

    Rules with other conditions than addresses are passed over, too: their text does not tell.
    """
    found = _walk(chains, start, flow, but, 0)
    return found if isinstance(found, Verdict) else None


def ends_before(chains: Chains, start: str, flow: Flow, before: str) -> Verdict | None:
    """Return the rule that for sure ends a packet's way from chain `start` on, with its source as
    it was, before it comes to chain `before`; None if none does.
    """
    found = _end(chains, start, flow, before, 0)
    return found if found and found.target in _ENDING else None


def _end(chains: Chains, chain: str, flow: Flow, before: str, depth: int) -> Verdict | None:
    """Return the rule that ends a packet's way, changes its source or leads to `before`."""
    for rule in chains.get(chain, ()):
        leads_to = target(rule)
        if leads_to == before:
            return Verdict(chain, rule, leads_to, True)
        if not _matches(rule, flow):
            continue
        if leads_to == "RETURN" and depth:
            return None
        if leads_to in (*_ENDING, *_SOURCE_CHANGING):
            return Verdict(chain, rule, leads_to, True)
        if leads_to in chains and depth < _DEEPEST:
            found = _end(chains, leads_to, flow, before, depth + 1)
            if found:
                return found
    return None


def _walk(chains: Chains, chain: str, flow: Flow, but: str, depth: int) -> Verdict | bool:
    """Return the rule that changes the source; else whether the packet has left all chains."""
    for rule in chains.get(chain, ()):
        if not _matches(rule, flow):
            continue
        leads_to = target(rule)
        if leads_to in _SOURCE_CHANGING:
            return Verdict(chain, rule, leads_to, True)
        if leads_to == "RETURN":
            return depth == 0
        if leads_to == "ACCEPT":
            return True
        if leads_to in chains and not leads_to.startswith(but) and depth < _DEEPEST:
            found = _walk(chains, leads_to, flow, but, depth + 1)
            if found:
                return found
    return False


def _matches(rule: str, flow: Flow) -> bool:
    """Tell whether a rule is for a packet by its addresses alone."""
    if _conditions(_ADDRESS.sub("", rule)):
        return False
    for inverted, which, text in _ADDRESS.findall(_QUOTED.sub('""', rule)):
        address = flow.source if which == "s" else flow.destination
        if (ip_address(address) in ip_network(text, strict=False)) is bool(inverted):
            return False
    return True


def _conditions(rule: str) -> list[str]:
    """Return the options of a rule that limit whom it is for."""
    text = _QUOTED.sub('""', _COMMENT.sub("", rule))
    return _OPTION.findall(_TARGET.split(text, maxsplit=1)[0])
