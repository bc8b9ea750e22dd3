"""Walks the table of one family as nft lists it, for the first packet of a connection.

A random choice gives several ways; nobody has session affinity yet. Only what kube-proxy writes is
understood, and anything else fails.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial

from tests.verdict.walking import DROP, REJECT, Fate, Node, Packet, Translated, fate, within

_COMMENT = re.compile(r' comment "[^"]*"')
_OBJECT = re.compile(r"\t(chain|set|map) (\S+) \{")
_ELEMENTS = re.compile(r"elements = \{(.*)\}", re.DOTALL)
_COMMAS = re.compile(r",\s*(?=(?:[^\"]*\"[^\"]*\")*[^\"]*$)")
_FINAL = {"drop": DROP, "reject": REJECT}
_HOOKS_BEFORE = {True: "prerouting", False: "output"}


@dataclass(frozen=True)
class Table:
    chains: Mapping[str, tuple[str, ...]]
    sets: Mapping[str, frozenset[str]]
    maps: Mapping[str, Mapping[str, str]]


def parse(listing: str, family: str) -> Table:
    """Return the table of a family, `ip` or `ip6`."""
    start = listing.index(f"table {family} kube-proxy {{")
    text = listing[start : listing.index("\n}", start)]
    objects: dict[str, list[str]] = {}
    for kind, name, body in _objects(text):
        lines = [line.strip() for line in body.splitlines() if line.strip()]
        if kind != "chain":
            found = _ELEMENTS.search(body)
            lines = [" ".join(each.split()) for each in _COMMAS.split(found[1])] if found else []
        objects[f"{kind} {name}"] = [
            line for line in lines if not line.startswith(("type ", "comment "))
        ]
    return table(objects)


def table(objects: Mapping[str, Sequence[str]]) -> Table:
    """Return the table of objects: rules of `chain NAME`, elements of `set NAME`, `map NAME`."""
    chains: dict[str, tuple[str, ...]] = {}
    sets: dict[str, frozenset[str]] = {}
    maps: dict[str, Mapping[str, str]] = {}
    for title, lines in objects.items():
        kind, _, name = title.partition(" ")
        plain = [_COMMENT.sub("", line) for line in lines]
        match kind:
            case "chain":
                chains[name] = tuple(plain)
            case "set":
                sets[name] = frozenset(plain)
            case _:
                parts = (each.partition(" : ") for each in plain)
                maps[name] = {key: value for key, _, value in parts}
    assert chains["nat-prerouting"], "no rules"
    return Table(chains, sets, maps)


def _objects(text: str) -> Iterator[tuple[str, str, str]]:
    for found in _OBJECT.finditer(text):
        yield found[1], found[2], text[found.end() : text.index("\n\t}", found.end())]


@dataclass(frozen=True)
class _State:
    packet: Packet
    node: Node
    translated: bool
    mark: int


@dataclass(frozen=True)
class _End:
    """The end of a way: `verdict` of a final statement, or "" if a chain ends without one."""

    verdict: str
    mark: int
    place: tuple[str, int] | None = field(default=None)


def walk(table: Table, packet: Packet, node: Node) -> Fate:
    """Return what the rules do with a packet."""
    hook = _HOOKS_BEFORE[packet.interface != ""]
    state = _State(packet, node, False, 0)
    ways = [*_ways(table, hook, state)]
    return fate(packet, node, ways, partial(_refuses, table, node), partial(_hides, table, node))


def _ways(table: Table, hook: str, state: _State) -> Iterator[Translated]:
    for early in _run(table, f"filter-{hook}-pre-dnat", state):
        if early.verdict:
            yield Translated(None, early.mark, early.verdict)
            continue
        for end in _run(table, f"nat-{hook}", replace(state, mark=early.mark)):
            yield Translated(end.place, end.mark)


def _refuses(
    table: Table, node: Node, packet: Packet, hook: str, translated: bool, mark: int
) -> str:
    (end,) = {*_run(table, f"filter-{hook}", _State(packet, node, translated, mark))}
    return end.verdict


def _hides(table: Table, node: Node, packet: Packet, translated: bool, mark: int) -> bool:
    (end,) = _run(table, "nat-postrouting", _State(packet, node, translated, mark))
    return end.verdict == "masquerade"


def _run(table: Table, chain: str, state: _State) -> Iterator[_End]:
    """Yield the ends of all ways through a chain."""
    states = [state]
    for rule in table.chains[chain]:
        further = []
        for one in states:
            for end, left in _rule(table, rule, one):
                if end:
                    yield end
                else:
                    further.append(left)
        states = further
    for one in states:
        yield _End("", one.mark)


@cache
def _statements(rule: str) -> tuple[tuple[_Statement, re.Match[str], str], ...]:
    """Return a rule's statements, each with its match and the rest of the rule."""
    found: list[tuple[_Statement, re.Match[str], str]] = []
    rest = rule
    while rest:
        for pattern, statement in _STATEMENTS:
            if match := re.match(pattern, rest):
                rest = rest[match.end() :].lstrip()
                found.append((statement, match, rest))
                break
        else:
            raise AssertionError(f"unknown statement: {rest}")
    return tuple(found)


def _rule(table: Table, rule: str, state: _State) -> Iterator[tuple[_End | None, _State]]:
    """Yield the ends that a rule leads to, or None and the state behind it."""
    for statement, found, rest in _statements(rule):
        said = statement(table, found, state)
        if said is False:
            yield None, state
            return
        if said is True:
            continue
        if isinstance(said, _State):
            state = said
            continue
        assert not rest, rest
        yield from said
        return
    yield None, state


_Ends = Iterator[tuple[_End | None, _State]]
_Said = bool | _State | _Ends
_Statement = Callable[[Table, re.Match[str], _State], _Said]


def _follow(table: Table, verdict: str, state: _State) -> _Ends:
    """Yield where a verdict leads to."""
    word, _, chain = verdict.partition(" ")
    if word in _FINAL:
        yield _End(_FINAL[word], state.mark), state
        return
    for end in _run(table, chain, state):
        if end.verdict or end.place or word == "goto":
            yield end, state
        else:
            yield None, replace(state, mark=end.mark)


def _look_up(table: Table, found: re.Match[str], state: _State) -> _Said:
    key = _key(found["key"], state.packet)
    value = table.maps[found["name"]].get(key)
    return False if value is None else _follow(table, value, state)


def _in_set(table: Table, found: re.Match[str], state: _State) -> _Said:
    return _key(found["key"], state.packet) in table.sets[found["name"]]


def _key(text: str, packet: Packet) -> str:
    values = {
        "ip saddr": packet.source,
        "ip6 saddr": packet.source,
        "ip daddr": packet.address,
        "ip6 daddr": packet.address,
        "meta l4proto": packet.protocol,
        "th dport": str(packet.port),
    }
    return " . ".join(values[part] for part in text.split(" . "))


def _compare(_table: Table, found: re.Match[str], state: _State) -> _Said:
    own = _key(found["field"], state.packet)
    texts = [text.strip() for text in found["value"].strip("{} ").split(",")]
    return any(within(own, text) for text in texts) != bool(found["not"])


def _interface(_table: Table, found: re.Match[str], state: _State) -> _Said:
    name, wanted = state.packet.interface, found["name"]
    stem = wanted.removesuffix("*")
    same = name == wanted or (stem != wanted and name.startswith(stem))
    return same != bool(found["not"])


def _fib(_table: Table, found: re.Match[str], state: _State) -> _Said:
    packet = state.packet
    return state.node.has(packet.source if found["which"] == "saddr" else packet.address)


def _set_mark(_table: Table, found: re.Match[str], state: _State) -> _Said:
    number = int(found["number"], 16)
    return replace(state, mark=state.mark | number if found["how"] == "|" else state.mark ^ number)


def _final(_table: Table, found: re.Match[str], state: _State) -> _Said:
    word = found[0].split()[0]
    return iter([(_End(_FINAL.get(word, word), state.mark), state)])


def _dnat_to(_table: Table, found: re.Match[str], state: _State) -> _Said:
    return iter(
        [(_End("", state.mark, (found["six"] or found["four"], int(found["port"]))), state)]
    )


def _dnat_random(_table: Table, found: re.Match[str], state: _State) -> _Said:
    elements = dict(each.strip().split(" : ") for each in found["map"].split(","))
    assert len(elements) == int(found["count"])
    places = (value.split(" . ") for value in elements.values())
    return iter([(_End("", state.mark, (ip, int(port))), state) for ip, port in places])


def _goto_random(table: Table, found: re.Match[str], state: _State) -> _Said:
    elements = dict(each.strip().split(" : ") for each in found["map"].split(","))
    assert len(elements) == int(found["count"])
    return (end for value in elements.values() for end in _follow(table, value, state))


_FIELDS = r"(?:ip6? [sd]addr|meta l4proto|th dport)(?: \. (?:ip6? [sd]addr|meta l4proto|th dport))*"
_STATEMENTS: tuple[tuple[str, _Statement], ...] = (
    (rf"(?P<key>{_FIELDS}) vmap @(?P<name>\S+)", _look_up),
    (rf"(?P<key>{_FIELDS}) @(?P<name>affinity-\S+)", lambda *_: False),
    (rf"(?P<key>{_FIELDS}) @(?P<name>\S+)", _in_set),
    (r"(?P<field>ip6? [sd]addr) (?P<not>!= )?(?P<value>\{[^}]*\}|\S+)", _compare),
    (r"meta l4proto (?P<protocol>\w+)", lambda _, f, s: s.packet.protocol == f["protocol"]),
    (r"ct state new", lambda *_: True),
    (r"ct status dnat", lambda _, __, s: s.translated),
    (r"fib (?P<which>[sd]addr) type local", _fib),
    (r'iifname (?P<not>!= )?"(?P<name>[^"]*)"', _interface),
    (r"meta mark set meta mark (?P<how>[|^]) (?P<number>\w+)", _set_mark),
    (
        r"meta mark & (?P<number>\w+) != 0x0+",
        lambda _, f, s: s.mark & int(f["number"], 16) != 0,
    ),
    (r"dnat ip6? to numgen random mod (?P<count>\d+) map \{(?P<map>[^}]*)\}", _dnat_random),
    (r"numgen random mod (?P<count>\d+) vmap \{(?P<map>[^}]*)\}", _goto_random),
    (r"dnat to (?:\[(?P<six>[^\]]+)\]|(?P<four>[\d.]+)):(?P<port>\d+)", _dnat_to),
    (r"update @\S+ \{ ip6? saddr \}", lambda *_: True),
    (r"(?:drop|reject)\b", _final),
    (r"masquerade fully-random", _final),
    (r"(?P<verdict>(?:jump|goto) \S+)", lambda t, f, s: _follow(t, f["verdict"], s)),
)
