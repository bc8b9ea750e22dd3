"""Values, and the elements of sets and maps, as the program nft prints them. Pure.

Elements are taken in the form in which `objects` packs them for the kernel. Source: nftables 1.0.6
src/datatype.c, src/mergesort.c (the order), src/segtree.c (intervals).
"""

from __future__ import annotations

import ipaddress
import socket
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from kproxy.address import Family
from kproxy.kernel.netlink import attributes
from kproxy.kernel.nftables.expressions import Verdict
from kproxy.kernel.nftables.types import (
    INTEGER,
    PORT,
    PROTOCOL,
    VERDICT,
    DataType,
    address,
    entries,
)

PROTOCOLS = {
    socket.IPPROTO_TCP: "tcp",
    socket.IPPROTO_UDP: "udp",
    socket.IPPROTO_SCTP: "sctp",
}
_KEY, _DATA, _FLAGS, _USER_DATA, _KEY_END = 1, 2, 3, 6, 10  # NFTA_SET_ELEM_
_VALUE, _VERDICT = 1, 2  # NFTA_DATA_
_COMMENT, _ENDLESS = 0, 1  # in the user data
_ADDRESSES = {address(family).number: family for family in Family}
_WORDS = {Verdict.DROP: "drop", Verdict.ACCEPT: "accept", Verdict.RETURN: "return"}
_LEADING = {Verdict.JUMP: "jump", Verdict.GOTO: "goto"}

Attributes = Mapping[int, memoryview]


class _Element(NamedTuple):
    key: bytes
    data: memoryview
    comment: str
    last: bytes  # of an interval of a concatenation
    is_end: bool  # the first key after an interval
    is_endless: bool


def elements_text(
    key: DataType, value: DataType | None, elements: Iterable[bytes], *, ranges: bool
) -> tuple[str, ...]:
    """Return the elements of a set or, with `value`, of a map in nft's order.

    Raises ValueError for a value of a type that kproxy does not use.
    """
    unpacked = [_unpacked(each) for packed in elements for _, each in _lists(packed)]
    if ranges:
        if len(key.lengths) > 1:  # as they were added
            return tuple(_box_text(key, each) for each in unpacked)
        return tuple(_intervals(key, unpacked))
    ordered = sorted(unpacked, key=lambda each: _rank(key, each.key))
    return tuple(_element_text(key, value, each) for each in ordered)


def value_text(type_: DataType, value: bytes) -> str:
    """Return a value; the parts of a concatenation stand in registers of four bytes."""
    return " . ".join(
        _part_text(number, part)
        for number, part in zip(_numbers(type_), _parts(type_, value), strict=True)
    )


def address_text(packed: bytes) -> str:
    family = Family.IPV4 if len(packed) == 4 else Family.IPV6
    return socket.inet_ntop(family.socket_family, packed)


def verdict_text(data: Attributes) -> str:
    """Return a verdict, given what is inside of its attribute."""
    code = Verdict(int.from_bytes(data[1], "big", signed=True))
    if code in _LEADING:
        return f"{_LEADING[code]} {text_of(data[2])}"
    return _WORDS[code]


def text_of(value: memoryview) -> str:
    return bytes(value).rstrip(b"\0").decode()


def inner(data: memoryview) -> dict[int, memoryview]:
    return dict(attributes(data))


def _lists(packed: bytes) -> Iterator[tuple[int, memoryview]]:
    return attributes(memoryview(packed))


def _unpacked(element: memoryview) -> _Element:
    found = inner(element)
    user_data = dict(entries(found[_USER_DATA])) if _USER_DATA in found else {}
    return _Element(
        key=bytes(inner(found[_KEY])[_VALUE]),
        data=found.get(_DATA, memoryview(b"")),
        comment=user_data.get(_COMMENT, b"").rstrip(b"\0").decode(),
        last=bytes(inner(found[_KEY_END])[_VALUE]) if _KEY_END in found else b"",
        is_end=_FLAGS in found,
        is_endless=_ENDLESS in user_data,
    )


def _element_text(key: DataType, value: DataType | None, element: _Element) -> str:
    text = value_text(key, element.key)
    if element.comment:
        text += f' comment "{element.comment}"'
    if value is None:
        return text
    data = inner(element.data)
    if value == VERDICT:
        return f"{text} : {verdict_text(inner(data[_VERDICT]))}"
    return f"{text} : {value_text(value, bytes(data[_VALUE]))}"


def _rank(key: DataType, value: bytes) -> int:
    """Return what nft sorts by: a number, or the parts of a concatenation as if they were one in
    the byte order of the host.
    """
    parts = b"".join(_parts(key, value))
    if len(key.lengths) == 1 and key.number != INTEGER.number:
        return int.from_bytes(parts, "big")
    return int.from_bytes(parts, sys.byteorder)


def _numbers(type_: DataType) -> Iterator[int]:
    last = len(type_.lengths) - 1
    return (type_.number >> 6 * (last - place) & 0x3F for place in range(last + 1))


def _parts(type_: DataType, value: bytes) -> Iterator[bytes]:
    position = 0
    for length in type_.lengths:
        yield value[position : position + length]
        position += length + -length % 4


def _part_text(number: int, value: bytes) -> str:
    if number in _ADDRESSES:
        return address_text(value)
    if number == PORT.number:
        return str(int.from_bytes(value, "big"))
    if number == INTEGER.number:
        return str(int.from_bytes(value, sys.byteorder))
    if number == PROTOCOL.number and value[0] in PROTOCOLS:
        return PROTOCOLS[value[0]]
    raise ValueError(f"no text is known for {value.hex()} of nft's data type {number}")


def _box_text(key: DataType, element: _Element) -> str:
    """Return an interval of a concatenation, which may be one in each part."""
    return " . ".join(
        _part_text(number, first)
        if first == last
        else range_text(int.from_bytes(first, "big"), int.from_bytes(last, "big"), len(first))
        for number, first, last in zip(
            _numbers(key), _parts(key, element.key), _parts(key, element.last), strict=True
        )
    )


def _intervals(key: DataType, elements: Iterable[_Element]) -> Iterator[str]:
    """Yield the intervals that these boundaries delimit."""
    (size,) = key.lengths
    first: int | None = None
    for element in sorted(elements, key=lambda each: each.key):
        here = int.from_bytes(element.key, "big")
        if first is not None:
            yield range_text(first, here - 1, size)
        first = None if element.is_end else here
        if first is not None and element.is_endless:
            yield range_text(first, (1 << 8 * size) - 1, size)
            first = None


def range_text(first: int, last: int, size: int) -> str:
    """Return an interval of addresses of `size` bytes: CIDR, address or FIRST-LAST."""
    ends = [address_text(end.to_bytes(size, "big")) for end in (first, last)]
    blocks = [
        *ipaddress.summarize_address_range(
            ipaddress.ip_address(ends[0]), ipaddress.ip_address(ends[1])
        )
    ]
    if len(blocks) > 1:
        return "-".join(ends)
    prefix = blocks[0].prefixlen
    return ends[0] if prefix == 8 * size else f"{ends[0]}/{prefix}"
