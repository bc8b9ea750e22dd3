"""A table as the kernel dumps it over netlink, in a form that is equal if the meaning is.

It is for comparing the messages of kproxy's encoder with those of the program nft.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from kproxy.address import Family
from kproxy.kernel.netlink import Request, attribute, attributes
from kproxy.kernel.nftables.objects import (
    GET_CHAIN,
    GET_ELEMENT,
    GET_RULE,
    GET_SET,
    NFPROTO,
)
from kproxy.kernel.nftables.session import Session
from kproxy.kernel.nftables.types import entries

Attributes = dict[int, bytes]
_ANONYMOUS = 0x1
_COMMENT, _SET_COMMENT = 0, 7  # in user data


class Rule(NamedTuple):
    chain: str
    expressions: tuple[object, ...]
    comment: bytes


def table_of(session: Session, family: Family, name: str) -> dict[str, object]:
    """Return chains, sets with their elements, and rules with the sets that are parts of them."""
    dump = _Dump(session, family, name)
    sets = {_text(found[2]): found for found in dump.of(GET_SET)}
    view: dict[str, object] = {}
    for found in dump.of(GET_CHAIN):
        if _text(found[1]) == name:
            parts = {kind: found.get(kind) for kind in (4, 5, 7, 12)}  # hook, policy, type, comment
            view[f"chain {_text(found[3])}"] = parts
    for set_name, found in sets.items():
        if not _flags(found) & _ANONYMOUS:
            comment = dict(entries(memoryview(found.get(13, b"")))).get(_SET_COMMENT)
            view[f"set {set_name}"] = (_kind(found), comment, dump.elements(set_name))
    rules: dict[str, list[Rule]] = {}
    for found in dump.of(GET_RULE):
        rule = Rule(
            _text(found[2]),
            tuple(_expressions(found[4], sets, dump)),
            dict(entries(memoryview(found.get(7, b"")))).get(_COMMENT, b""),
        )
        rules.setdefault(rule.chain, []).append(rule)
    return view | {f"rules {chain}": tuple(listed) for chain, listed in rules.items()}


class _Dump:
    def __init__(self, session: Session, family: Family, table: str) -> None:
        self._session = session
        self._start = struct.pack(">BBH", NFPROTO[family], 0, 0)
        self._table = attribute(1, table.encode() + b"\0")

    def of(self, kind: int, selection: bytes = b"") -> Iterator[Attributes]:
        request = Request(kind, self._start + self._table + selection, ("dump",))
        for answer in self._session.dump(request):
            yield {number: bytes(value) for number, value in attributes(answer[4:])}

    def elements(self, set_: str) -> frozenset[tuple[tuple[int, bytes], ...]]:
        found = set()
        for answer in self.of(GET_ELEMENT, attribute(2, set_.encode() + b"\0")):
            for _, element in attributes(memoryview(answer.get(3, b""))):
                parts = {number: bytes(value) for number, value in attributes(element)}
                found.add(tuple(sorted(parts.items())))
        return frozenset(found)


def _expressions(data: bytes, sets: dict[str, Attributes], dump: _Dump) -> Iterator[object]:
    for _, body in attributes(memoryview(data)):
        expression = {kind: bytes(value) for kind, value in attributes(body)}
        name = _text(expression[1])
        parts = {kind: bytes(value) for kind, value in attributes(memoryview(expression[2]))}
        if name == "byteorder":
            continue  # nft's, for the single byte of a protocol: a no-op in the kernel
        if name == "lookup" and _flags(sets[_text(parts[1])]) & _ANONYMOUS:
            set_ = _text(parts.pop(1))
            parts[0] = repr((_kind(sets[set_]), sorted(dump.elements(set_)))).encode()
        yield name, tuple(sorted(parts.items()))


def _kind(set_: Attributes) -> dict[int, bytes | None]:
    """Return flags, types and lengths of key and value, parts of a concatenation, the timeout."""
    kind = {number: set_.get(number) for number in (4, 5, 6, 7, 11)}
    parts = dict(attributes(memoryview(set_.get(9, b"")))).get(2)
    return kind | {3: _flags(set_).to_bytes(4, "big"), 9: bytes(parts or b"")}


def _flags(set_: Attributes) -> int:
    return int.from_bytes(set_.get(3, b""), "big")


def _text(value: bytes) -> str:
    return value.rstrip(b"\0").decode()
