"""Messages that create and delete the objects of a table. Pure.

They are to be sent in one transaction (`session`), in the order of the same commands of nft: `add`,
`flush` and `add rule` mean here what they mean there.
Source: linux/netfilter/nf_tables.h; man 8 nft.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from hashlib import blake2b
from typing import NamedTuple

from kproxy.address import Family
from kproxy.kernel.netlink import CREATE, Request, attribute
from kproxy.kernel.nftables.expressions import COUNTER, DATA_VALUE, LIST_ELEM, NESTED, lookup
from kproxy.kernel.nftables.types import DataType, udata

SUBSYSTEM = 10 << 8  # NFNL_SUBSYS_NFTABLES
NFPROTO = {Family.IPV4: 2, Family.IPV6: 10}
NEW_TABLE, GET_TABLE, DELETE_TABLE = SUBSYSTEM | 0, SUBSYSTEM | 1, SUBSYSTEM | 2
NEW_CHAIN, GET_CHAIN, DELETE_CHAIN = SUBSYSTEM | 3, SUBSYSTEM | 4, SUBSYSTEM | 5
NEW_RULE, GET_RULE, DELETE_RULE = SUBSYSTEM | 6, SUBSYSTEM | 7, SUBSYSTEM | 8
NEW_SET, GET_SET, DELETE_SET = SUBSYSTEM | 9, SUBSYSTEM | 10, SUBSYSTEM | 11
NEW_ELEMENT, GET_ELEMENT, DELETE_ELEMENT = SUBSYSTEM | 12, SUBSYSTEM | 13, SUBSYSTEM | 14
GET_GENERATION = SUBSYSTEM | 16
NEW_OBJECT, GET_OBJECT, DELETE_OBJECT = SUBSYSTEM | 18, SUBSYSTEM | 19, SUBSYSTEM | 20

_APPEND = 0x800  # NLM_F_APPEND
_ANONYMOUS, _CONSTANT, _INTERVAL, _MAP, _TIMEOUT, _DYNAMIC, _CONCATENATED = (
    *(0x1, 0x2, 0x4, 0x8),
    *(0x10, 0x20, 0x80),
)
_NUMBER = struct.Struct("=L")
_FEW_NUMBERS = [_NUMBER.pack(number) for number in range(100)]
_OWNER = 0x2  # NFT_TABLE_F_OWNER
_INTERVAL_END = 1  # NFT_SET_ELEM_INTERVAL_END
_ANONYMOUS_PREFIX = "_k"
DIGEST = 0x6B  # our own, in the user data of a rule; nft ignores entries it does not know
_COMMENT = 7  # NFTNL_UDATA_SET_COMMENT; for all other objects it is 0
_MOST_LIST_BYTES = 60_000  # the length of an attribute has sixteen bits


class Hook(NamedTuple):
    """The hook of a base chain."""

    type: str  # filter, nat
    number: int  # prerouting 0, input 1, forward 2, output 3, postrouting 4
    priority: int


class Set(NamedTuple):
    """A set, or a map if it has a `value`."""

    name: str
    key: DataType
    value: DataType | None = None
    comment: str = ""
    timeout_s: int = 0  # more than 0: rules add elements, which vanish after this time
    ranges: bool = False  # elements are intervals in the last part of the key


class AnonymousSet(NamedTuple):
    """A set that is part of a rule and deleted with it. It stands where it is looked up."""

    elements: tuple[bytes, ...]  # as `element` makes them
    key: DataType
    value: DataType | None = None
    ranges: bool = False
    target: int | None = None  # of the lookup, like `inverted`
    inverted: bool = False


class Rule(NamedTuple):
    expressions: tuple[bytes | AnonymousSet, ...]
    comment: str = ""

    @property
    def digest(self) -> bytes:
        """Return a hash of the whole rule, to be kept beside its comment: the kernel never changes
        a rule, so equal digests mean equal rules.
        """
        whole = blake2b(self.comment.encode(), digest_size=8)
        for part in self.expressions:
            if isinstance(part, bytes):
                whole.update(part)
            else:
                whole.update(repr(part[1:]).encode())
                whole.update(b"".join(part.elements))
        return whole.digest()


def element(key: bytes, data: bytes = b"", comment: str = "") -> bytes:
    """Return an element of a set or, with `data` (`data_value`, `verdict_data`), of a map.

    Lengths must be multiples of four bytes.
    """
    user_data = attribute(6, udata(0, comment.encode() + b"\0")) if comment else b""
    head, middle = _frame(len(key), len(data), len(user_data))
    return head + key + middle + data + user_data


def numbered_elements(key: bytes, values: Sequence[bytes]) -> list[bytes]:
    """Return elements of a map: `key . 0 : value`, `key . 1 : value`, ...

    All values must have the same length.
    """
    length = len(values[0])
    head, middle = _frame(len(key) + 4, length + 4, 0)
    before, after = head + key, middle + _value_header(length)
    return [
        before + number + after + value for number, value in zip(_numbers(), values, strict=False)
    ]


def interval(first: bytes, last: bytes) -> bytes:
    """Return an element of a set of ranges over several parts: from `first` to `last` inclusive."""
    ends = attribute(1 | NESTED, attribute(DATA_VALUE, first))
    ends += attribute(10 | NESTED, attribute(DATA_VALUE, last))
    return attribute(LIST_ELEM, ends)


def boundary(key: bytes, *, end: bool = False, endless: bool = False) -> bytes:
    """Return an element of a set of ranges over one part: the first key of a range, or with `end`
    the first key after it. An `endless` range goes on to the highest possible value.
    """
    flags = attribute(3, struct.pack(">L", _INTERVAL_END)) if end else b""
    user_data = attribute(6, udata(1, struct.pack("=L", 1))) if endless else b""
    key = attribute(1 | NESTED, attribute(DATA_VALUE, key))
    return attribute(LIST_ELEM, flags + key + user_data)


def data_value(value: bytes) -> bytes:
    """Return the data of a map's element that is not a verdict."""
    return _value_header(len(value)) + value


class Table:
    """Messages about one table: one request each, or several where a list may be long."""

    def __init__(self, family: Family, name: str) -> None:
        self.family = family
        self.name = name
        self._what = ("ip" if family is Family.IPV4 else "ip6", name)
        header = struct.pack(">BBH", NFPROTO[family], 0, 0)
        self._start = header + attribute(1, name.encode() + b"\0")
        self._last_set_id = 0
        self._last_anonymous = 0

    def create(self, comment: str = "", *, owned: bool = False) -> Request:
        """`owned`: the kernel deletes the table when the socket that creates it is closed."""
        body = self._start + _u32(2, _OWNER if owned else 0)
        if comment:
            body += attribute(6, udata(0, comment.encode() + b"\0"))
        return Request(NEW_TABLE, body, ("add table", *self._what), CREATE)

    def delete(self) -> Request:
        return Request(DELETE_TABLE, self._start, ("delete table", *self._what))

    def add_chain(self, name: str, hook: Hook | None = None, comment: str = "") -> Request:
        body = self._start + _name(3, name)
        if hook:
            where = attribute(1, struct.pack(">L", hook.number))
            where += attribute(2, struct.pack(">i", hook.priority))
            body += attribute(4 | NESTED, where) + _name(7, hook.type)
        if comment:
            body += attribute(12, udata(0, comment.encode() + b"\0"))
        return Request(NEW_CHAIN, body, ("add chain", *self._what, name), CREATE)

    def flush_chain(self, name: str) -> Request:
        body = self._start + _name(2, name)
        return Request(DELETE_RULE, body, ("flush chain", *self._what, name))

    def delete_rule(self, chain: str, handle: int) -> Request:
        body = self._start + _name(2, chain) + attribute(3, handle.to_bytes(8, "big"))
        return Request(DELETE_RULE, body, ("delete rule", *self._what, chain))

    def delete_chain(self, name: str) -> Request:
        body = self._start + _name(3, name)
        return Request(DELETE_CHAIN, body, ("delete chain", *self._what, name))

    def add_set(self, set_: Set) -> Request:
        body = _name(2, set_.name) + self._set_body(
            set_.key, set_.value, set_.comment, set_.ranges, set_.timeout_s
        )
        what = ("add map" if set_.value else "add set", *self._what, set_.name)
        return Request(NEW_SET, self._start + body, what, CREATE)

    def delete_set(self, name: str) -> Request:
        body = self._start + _name(2, name)
        return Request(DELETE_SET, body, ("delete set", *self._what, name))

    def flush_set(self, name: str) -> Request:
        body = self._start + _name(2, name)
        return Request(DELETE_ELEMENT, body, ("flush set", *self._what, name))

    def add_counter(self, name: str) -> Request:
        """Add a counter that rules share. One that exists keeps its value."""
        body = self._start + _name(2, name) + _u32(3, COUNTER) + attribute(4 | NESTED, b"")
        return Request(NEW_OBJECT, body, ("add counter", *self._what, name), CREATE)

    def delete_counter(self, name: str) -> Request:
        body = self._start + _name(2, name) + _u32(3, COUNTER)
        return Request(DELETE_OBJECT, body, ("delete counter", *self._what, name))

    def add_elements(self, set_: str, elements: Iterable[bytes]) -> Iterator[Request]:
        start = self._start + _name(2, set_)
        yield from self._elements(NEW_ELEMENT, start, "add elements", set_, elements)

    def delete_elements(self, set_: str, elements: Iterable[bytes]) -> Iterator[Request]:
        """Delete elements, given without data."""
        start = self._start + _name(2, set_)
        yield from self._elements(DELETE_ELEMENT, start, "delete elements", set_, elements)

    def add_rule(self, chain: str, rule: Rule) -> Iterator[Request]:
        """Add a rule at the end of the chain, after creating the sets that are part of it."""
        expressions = []
        for part in rule.expressions:
            if isinstance(part, bytes):
                expressions.append(part)
            else:
                name, set_id = self._next_anonymous(), self._next_id()
                yield from self._anonymous(name, set_id, part)
                expressions.append(lookup(name, part.target, inverted=part.inverted, set_id=set_id))
        body = self._start + _name(2, chain) + attribute(4 | NESTED, b"".join(expressions))
        user_data = udata(0, rule.comment.encode() + b"\0") if rule.comment else b""
        body += attribute(7, user_data + udata(DIGEST, rule.digest))
        yield Request(NEW_RULE, body, ("add rule", *self._what, chain), CREATE | _APPEND)

    def _anonymous(self, name: str, set_id: int, set_: AnonymousSet) -> Iterator[Request]:
        flags = _ANONYMOUS | _CONSTANT
        size = attribute(9 | NESTED, attribute(1, struct.pack(">L", len(set_.elements))))
        body = _name(2, name) + self._set_body(
            set_.key, set_.value, "", set_.ranges, 0, flags, set_id, size
        )
        yield Request(NEW_SET, self._start + body, ("add set", *self._what, "of a rule"), CREATE)
        # Only by its number: to find a name the kernel looks through all sets of the table.
        start = self._start + attribute(4, struct.pack(">L", set_id))
        yield from self._elements(NEW_ELEMENT, start, "add elements", "of a rule", set_.elements)

    def _set_body(
        self,
        key: DataType,
        value: DataType | None,
        comment: str,
        ranges: bool,
        timeout_s: int,
        flags: int = 0,
        set_id: int = 0,
        size: bytes = b"",
    ) -> bytes:
        flags |= _MAP if value else 0
        flags |= _TIMEOUT | _DYNAMIC if timeout_s else 0
        flags |= _INTERVAL if ranges else 0
        flags |= _CONCATENATED if ranges and len(key.lengths) > 1 else 0
        body = _u32(3, flags) + _u32(4, key.number) + _u32(5, key.length)
        user_data = udata(0, struct.pack("=L", key.byte_order))
        if value:
            body += _u32(6, value.number) + _u32(7, value.length)
            user_data += udata(1, struct.pack("=L", value.byte_order))
        if key.typeof:
            user_data += udata(3, key.typeof)
        if value and value.typeof:
            user_data += udata(4, value.typeof)
        if comment:
            user_data += udata(_COMMENT, comment.encode() + b"\0")
        body += _u32(10, set_id or self._next_id()) + size
        if flags & _CONCATENATED:
            parts = b"".join(attribute(LIST_ELEM, _u32(1, length)) for length in key.lengths)
            body += attribute(9 | NESTED, attribute(2 | NESTED, parts))
        if timeout_s:
            body += attribute(11, struct.pack(">Q", timeout_s * 1000))
        return body + attribute(13, user_data)

    def _elements(
        self, kind: int, start: bytes, verb: str, set_: str, elements: Iterable[bytes]
    ) -> Iterator[Request]:
        flags = CREATE if kind == NEW_ELEMENT else 0
        chunk: list[bytes] = []
        size = 0
        for each in elements:
            if size + len(each) > _MOST_LIST_BYTES:
                what = (verb, *self._what, set_)
                yield Request(kind, start + attribute(3 | NESTED, b"".join(chunk)), what, flags)
                chunk, size = [], 0
            chunk.append(each)
            size += len(each)
        if chunk:
            what = (verb, *self._what, set_)
            yield Request(kind, start + attribute(3 | NESTED, b"".join(chunk)), what, flags)

    def avoid(self, names: Iterable[str]) -> None:
        """Skip these names of existing anonymous sets when naming new ones."""
        numbers = (_number_of(name) for name in names)
        self._last_anonymous = max(self._last_anonymous, *numbers, 0)

    def _next_anonymous(self) -> str:
        """Return a short name of our own.

        If asked to choose one (`__map%d`), the kernel reads the names of all sets. Long names cost
        time, too: it compares names whenever a set is added or looked up.
        """
        self._last_anonymous += 1
        return f"{_ANONYMOUS_PREFIX}{self._last_anonymous:x}"

    def _next_id(self) -> int:
        """Return a number that tells the sets of one transaction apart."""
        self._last_set_id += 1
        return self._last_set_id


def _number_of(anonymous: str) -> int:
    digits = anonymous.removeprefix(_ANONYMOUS_PREFIX)
    try:
        return int(digits, 16) if digits != anonymous else 0
    except ValueError:
        return 0


def _numbers() -> Iterator[bytes]:
    """Yield 0, 1, 2 ... in the byte order of the host."""
    yield from _FEW_NUMBERS
    yield from map(_NUMBER.pack, itertools.count(len(_FEW_NUMBERS)))


@cache
def _frame(key_length: int, data_length: int, rest: int) -> tuple[bytes, bytes]:
    """Return the bytes before the key of an element, and those between key and data."""
    key = struct.pack("=HHHH", key_length + 8, 1 | NESTED, key_length + 4, DATA_VALUE)
    data = struct.pack("=HH", data_length + 4, 2 | NESTED) if data_length else b""
    length = 4 + len(key) + key_length + len(data) + data_length + rest
    return struct.pack("=HH", length, LIST_ELEM) + key, data


@cache
def _value_header(length: int) -> bytes:
    return struct.pack("=HH", length + 4, DATA_VALUE)


def _u32(kind: int, number: int) -> bytes:
    return attribute(kind, number.to_bytes(4, "big"))


def _name(kind: int, text: str) -> bytes:
    return attribute(kind, text.encode() + b"\0")
