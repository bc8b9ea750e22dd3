"""Walks the rules of one family in the form of iptables-save, for the first packet of a connection.

A random rule may match or not, so there are several ways; nobody has session affinity yet.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from tests.verdict.walking import DROP, REJECT, Fate, Node, Packet, Translated, fate, within

END = {"DROP": DROP, "REJECT": REJECT}
_FLAGS = {  # options that match anything here, with the number of their values
    "--physdev-is-in": 0,  # negated: no packet comes from a bridge
    "-m": 1,
    "--comment": 1,
    "--nfacct-name": 1,
    "--random-fully": 0,
    "--reject-with": 1,
    "--mode": 1,
    "--set": 0,
    "--reap": 0,
    "--seconds": 1,
    "--name": 1,
    "--mask": 1,
    "--rsource": 0,
}


@dataclass(frozen=True)
class Match:
    option: str
    value: str
    negated: bool


@dataclass(frozen=True)
class Rule:
    matches: tuple[Match, ...]
    target: str
    value: str  # of the target's option


Tables = Mapping[str, Mapping[str, Sequence[Rule]]]
Also = Callable[[Match, Packet], bool]  # matches of a mode's own, such as those of sets


def parse(saved: str) -> Tables:
    """Return chains by table. Text without any of them is refused, so that no test is vain."""
    tables: dict[str, dict[str, list[Rule]]] = {}
    chains: dict[str, list[Rule]] = {}
    for line in saved.splitlines():
        if line.startswith("*"):
            chains = tables.setdefault(line[1:], {})
        elif line.startswith("-A "):
            words = shlex.split(line)
            chains.setdefault(words[1], []).append(rule(words[2:]))
    assert tables["nat"]["PREROUTING"], "no rules"
    return tables


def rule(words: list[str]) -> Rule:
    found: list[Match] = []
    target = value = ""
    negated = False
    while words:
        word = words.pop(0)
        if word == "!":
            negated = True
            continue
        if word == "-j":
            target = words.pop(0)
        elif word in ("--set-xmark", "--to-destination"):
            value = words.pop(0)
        elif word in ("--rcheck",):
            found.append(Match(word, "", negated))
        elif word == "--match-set":
            found.append(Match(word, f"{words.pop(0)} {words.pop(0)}", negated))
        elif word in _FLAGS:
            del words[: _FLAGS[word]]
        else:
            found.append(Match(word, words.pop(0), negated))
        negated = False
    return Rule(tuple(found), target, value)


def walk(tables: Tables, packet: Packet, node: Node) -> Fate:
    """Return what the rules do with a packet."""
    first = "PREROUTING" if packet.interface else "OUTPUT"
    ways = [_way(*each) for each in run(tables["nat"], first, packet, node, False, 0)]
    return fate(packet, node, ways, partial(_refuses, tables, node), partial(_hides, tables, node))


def _way(end: tuple[str, str], mark: int) -> Translated:
    target, value = end
    assert target in ("", "DNAT", "ACCEPT"), target
    if target != "DNAT":
        return Translated(None, mark)
    place = re.fullmatch(r"\[?([^\]]*?)\]?:(\d+)", value)
    assert place, value
    return Translated((place[1], int(place[2])), mark)


def _refuses(
    tables: Tables, node: Node, packet: Packet, hook: str, translated: bool, mark: int
) -> str:
    ends = {
        end[0] for end, _ in run(tables["filter"], hook.upper(), packet, node, translated, mark)
    }
    (only,) = ends
    return END.get(only, "")


def _hides(tables: Tables, node: Node, packet: Packet, translated: bool, mark: int) -> bool:
    ((end, _),) = run(tables["nat"], "POSTROUTING", packet, node, translated, mark)
    return end[0] == "MASQUERADE"


End = tuple[str, str]  # a final target and its value; ("", "") if the chain ends without one


def _unknown(match: Match, _packet: Packet) -> bool:
    raise AssertionError(f"unknown option {match.option}")


def run(
    chains: Mapping[str, Sequence[Rule]],
    name: str,
    packet: Packet,
    node: Node,
    translated: bool,
    mark: int,
    also: Also = _unknown,
) -> Iterator[tuple[End, int]]:
    """Yield the ends of all ways through a chain, each with the mark that it has then."""
    marks = {mark}
    for each in chains.get(name, ()):
        further: set[int] = set()
        for one in marks:
            said = {_matches(match, packet, node, translated, one, also) for match in each.matches}
            if False in said:
                further.add(one)
                continue
            if None in said:
                further.add(one)
            match each.target:
                case "":
                    further.add(one)
                case "MARK":
                    value, mask = (int(part, 16) for part in each.value.split("/"))
                    further.add(one & ~mask ^ value)
                case "RETURN":
                    yield ("", ""), one
                case "DNAT" | "MASQUERADE" | "ACCEPT" | "DROP" | "REJECT":
                    yield (each.target, each.value), one
                case chain:
                    for end, left in run(chains, chain, packet, node, translated, one, also):
                        if end[0]:
                            yield end, left
                        else:
                            further.add(left)
        marks = further
    for one in marks:
        yield ("", ""), one


def _matches(
    match: Match, packet: Packet, node: Node, translated: bool, mark: int, also: Also
) -> bool | None:
    """Tell whether a packet matches; None if that is a matter of chance."""
    value = match.value
    match match.option:
        case "--probability":
            return None
        case "--rcheck":
            return False
        case "-s":
            said = within(packet.source, value)
        case "-d":
            said = within(packet.address, value)
        case "-p":
            said = packet.protocol == value
        case "--dport":
            said = packet.port == int(value)
        case "-i":
            named, stem = packet.interface, value.removesuffix("+")
            said = named == value or (stem != value and named.startswith(stem))
        case "--ctstate":
            states = {"NEW"} | ({"DNAT"} if translated else set())
            said = not states.isdisjoint(value.split(","))
        case "--src-type":
            said = node.has(packet.source)
        case "--dst-type":
            said = node.has(packet.address)
        case "--mark":
            number, mask = (int(part, 16) for part in value.split("/"))
            said = mark & mask == number
        case _:
            said = also(match, packet)
    return said != match.negated
