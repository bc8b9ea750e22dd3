"""The commands of iptables-restore's text, carried out in the chains of a table. Pure."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Callable, Iterable

from kproxy.address import Family
from kproxy.kernel.iptables_legacy.layout import VERDICTS
from kproxy.kernel.iptables_legacy.rule import Rule, encode
from kproxy.kernel.iptables_legacy.table import Chain, Line
from kproxy.kernel.iptables_nft.extensions import Unknown

_LONGEST_NAME = 28  # of a chain: XT_EXTENSION_MAXNAMELEN
_NO_POLICY = "- [0:0]"


def edit(
    family: Family, chains: list[Chain], lines: Iterable[str], with_indexes: Callable[[str], str]
) -> None:
    """Carry out the lines of a table. `with_indexes` replaces the names of ipsets in a rule by
    their numbers.

    Raises Unknown for what the program has to do, and if it would refuse something.
    """
    by_name = {chain.name: chain for chain in chains}
    for line in lines:
        if line[0] == ":":
            _declare(chains, by_name, line)
            continue
        verb, _, rest = line.partition(" ")
        name, _, text = rest.partition(" ")  # a rule without any word counts packets
        if name not in by_name:
            raise Unknown(f"no such chain: {line}")
        if verb in _OF_RULES:
            rule = encode(family, with_indexes(text))
            if rule.jump not in VERDICTS and rule.jump not in ("", *by_name):
                raise Unknown(f"no such target: {line}")
            _OF_RULES[verb](by_name[name].lines, rule)
        elif verb == "-F" and not text:
            by_name[name].lines.clear()
        elif verb == "-X" and not text:
            _delete(chains, by_name.pop(name))
        else:
            raise Unknown(line)


def _declare(chains: list[Chain], by_name: dict[str, Chain], line: str) -> None:
    """Create a chain, or empty it."""
    name, _, policy = line[1:].partition(" ")
    if policy != _NO_POLICY or not 0 < len(name) <= _LONGEST_NAME or name in VERDICTS:
        raise Unknown(line)
    if found := by_name.get(name):
        if found.policy:
            raise Unknown(line)
        found.lines.clear()
        return
    by_name[name] = Chain(name, [])
    builtin = sum(1 for chain in chains if chain.policy)
    # libiptc keeps them sorted.
    place = bisect(chains, name.encode(), lo=builtin, key=lambda chain: chain.name.encode())
    chains.insert(place, by_name[name])


def _delete(chains: list[Chain], chain: Chain) -> None:
    used = any(line.rule.jump == chain.name for other in chains for line in other.lines)
    if chain.policy or chain.lines or used:
        raise Unknown(f"{chain.name} is in use")
    chains.remove(chain)


def _append(lines: list[Line], rule: Rule) -> None:
    lines.append(Line(rule))


def _insert(lines: list[Line], rule: Rule) -> None:
    lines.insert(0, Line(rule))


def _remove(lines: list[Line], rule: Rule) -> None:
    for line in lines:
        if line.rule == rule:
            lines.remove(line)
            return
    raise Unknown("no such rule, byte for byte")


_OF_RULES: dict[str, Callable[[list[Line], Rule], None]] = {
    "-A": _append,
    "-I": _insert,
    "-D": _remove,
}
