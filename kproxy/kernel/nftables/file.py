"""A table as `nft --stateless list` prints it, which is what `nft -f` reads. Pure.

As nft 1.0.6 prints it; other versions may use other words, but read these.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from msgspec import Struct

from kproxy.address import Family
from kproxy.kernel.nftables.objects import Hook, Set
from kproxy.kernel.nftables.types import (
    INTEGER,
    PORT,
    PROTOCOL,
    TYPEOF_DESTINATION,
    TYPEOF_PORT,
    TYPEOF_SLOT,
    VERDICT,
    DataType,
    address,
    entries,
)

_HOOKS = ("prerouting", "input", "forward", "output", "postrouting")
_PRIORITIES = {  # nft 1.0.6 has no words for those of an output hook
    ("prerouting", -110): "dstnat - 10",
    ("prerouting", -100): "dstnat",
    ("postrouting", 100): "srcnat",
}
_TYPES = {
    address(Family.IPV4).number: "ipv4_addr",
    address(Family.IPV6).number: "ipv6_addr",
    PROTOCOL.number: "inet_proto",
    PORT.number: "inet_service",
    INTEGER.number: "integer",
}
_TYPEOFS = {
    TYPEOF_DESTINATION[Family.IPV4]: "ip daddr",
    TYPEOF_DESTINATION[Family.IPV6]: "ip6 daddr",
    TYPEOF_SLOT: "numgen random mod 2",
    **{typeof: f"{name.lower()} dport" for name, typeof in TYPEOF_PORT.items()},
}
_BETWEEN = ",\n\t\t\t     "
_DEFAULT_SIZE = 65535  # the kernel's, of a set that rules add elements to
_DAY_S, _HOUR_S, _MINUTE_S = 86400, 3600, 60


class TableText(Struct, frozen=True, kw_only=True):
    """The contents of a table. `chains` and `elements` have rules and elements as text."""

    family: Family
    name: str
    comment: str
    counters: Sequence[str]
    sets: Sequence[Set]
    elements: Callable[[Set], Sequence[str]]
    chains: Mapping[str, Sequence[str]]
    hooks: Mapping[str, Hook]
    chain_comments: Mapping[str, str]


def replacing(table: TableText) -> Iterator[str]:
    """Yield text that replaces a table of that name, or creates it, in one transaction."""
    name = f"table {'ip' if table.family is Family.IPV4 else 'ip6'} {table.name}"
    yield f"{name}\ndelete {name}\n"
    yield from listed(table)


def listed(table: TableText) -> Iterator[str]:
    """Yield the table as nft lists it: counters, sets and maps, then chains."""
    yield f"table {'ip' if table.family is Family.IPV4 else 'ip6'} {table.name} {{\n"
    yield f'\tcomment "{table.comment}"\n'
    objects: list[Iterable[str]] = [_counter(name) for name in table.counters]
    objects += [_set(each, table.elements(each)) for each in table.sets]
    objects += [_chain(table, name, rules) for name, rules in table.chains.items()]
    for number, lines in enumerate(objects):
        yield "\n" if number else ""
        yield from lines
    yield "}\n"


def _counter(name: str) -> Iterator[str]:
    yield f"\tcounter {name} {{\n\t}}\n"


def _set(set_: Set, elements: Sequence[str]) -> Iterator[str]:
    yield f"\t{'map' if set_.value else 'set'} {set_.name} {{\n\t\t{_type(set_)}\n"
    if set_.timeout_s:
        yield f"\t\tsize {_DEFAULT_SIZE}\n\t\tflags dynamic,timeout\n"
        yield f"\t\ttimeout {_duration(set_.timeout_s)}\n"
    if set_.ranges:
        yield "\t\tflags interval\n"
    if set_.comment:
        yield f'\t\tcomment "{set_.comment}"\n'
    if elements:
        yield f"\t\telements = {{ {''.join(_separated(set_.key, elements))} }}\n"
    yield "\t}\n"


def _separated(key: DataType, elements: Sequence[str]) -> Iterator[str]:
    """Yield the elements, two in each line if they are IPv4 addresses."""
    in_pairs = key == address(Family.IPV4)
    for number, each in enumerate(elements):
        if number:
            yield ", " if in_pairs and number % 2 else _BETWEEN
        yield each


def _type(set_: Set) -> str:
    kinds = [set_.key, *([set_.value] if set_.value else [])]
    if set_.key.typeof:
        return "typeof " + " : ".join(_typeof(each) for each in kinds)
    return "type " + " : ".join(_named(each) for each in kinds)


def _named(type_: DataType) -> str:
    if type_ == VERDICT:
        return "verdict"
    last = len(type_.lengths) - 1
    numbers = (type_.number >> 6 * (last - place) & 0x3F for place in range(last + 1))
    return " . ".join(_TYPES[number] for number in numbers)


def _typeof(type_: DataType) -> str:
    """Return the expressions of a concatenation, see `types.like`."""
    ((_, _), (_, parts)) = entries(memoryview(type_.typeof))
    return " . ".join(_TYPEOFS[part] for _, part in entries(memoryview(parts)))


def _duration(seconds: int) -> str:
    text = ""
    for unit, length in (("d", _DAY_S), ("h", _HOUR_S), ("m", _MINUTE_S), ("s", 1)):
        count, seconds = divmod(seconds, length)
        text += f"{count}{unit}" if count else ""
    return text


def _chain(table: TableText, name: str, rules: Iterable[str]) -> Iterator[str]:
    yield f"\tchain {name} {{\n"
    if comment := table.chain_comments.get(name):
        yield f'\t\tcomment "{comment}"\n'
    if hook := table.hooks.get(name):
        where = _HOOKS[hook.number]
        usual = "filter" if hook.priority == 0 else str(hook.priority)
        priority = _PRIORITIES.get((where, hook.priority), usual)
        yield f"\t\ttype {hook.type} hook {where} priority {priority}; policy accept;\n"
    for rule in rules:
        yield f"\t\t{rule}\n"
    yield "\t}\n"
