"""Values, and the elements of sets and maps, as the program nft prints them. Pure.

Elements are taken in the form in which `objects` packs them for the kernel. Source: nftables 1.0.6
src/datatype.c, src/mergesort.c (the order), src/segtree.c (intervals).
"""

from __future__ import annotations

import ipaddress
import socket
import struct
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache, partial
from typing import Literal

from msgspec import Struct

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
_SOCKET_FAMILIES = {
    4: Family.IPV4.socket_family,
    16: Family.IPV6.socket_family,
}  # by bytes of an address
_WORDS = {Verdict.DROP: "drop", Verdict.ACCEPT: "accept", Verdict.RETURN: "return"}
_LEADING = {Verdict.JUMP: "jump", Verdict.GOTO: "goto"}

_HEADER = struct.Struct("=HH")  # length and kind of an attribute

Attributes = Mapping[int, memoryview]


class _Element(Struct, gc=False):
    key: bytes
    data: bytes
    comment: str = ""
    last: bytes = b""  # of an interval of a concatenation
    is_end: bool = False  # the first key after an interval
    is_endless: bool = False


def elements_text(
    key: DataType, value: DataType | None, elements: Iterable[bytes], *, ranges: bool
) -> tuple[str, ...]:
    """Return the elements of a set or, with `value`, of a map in nft's order.

    Raises ValueError for a value of a type that kproxy does not use.
    """
    unpacked = [_unpacked(each) for packed in elements for each in _single(packed)]
    if ranges:
        if len(key.lengths) > 1:  # as they were added
            return tuple(_box_text(key, each) for each in unpacked)
        return tuple(_intervals(key, unpacked))
    if len(unpacked) > 1:
        rank = _rank(key)
        unpacked.sort(key=lambda each: rank(each.key))
    key_text = _printer(key)
    if value is None:
        return tuple(f"{key_text(each.key)}{_comment(each)}" for each in unpacked)
    data_text = _verdict if value == VERDICT else _value_printer(value)
    return tuple(f"{key_text(each.key)}{_comment(each)} : {data_text(each)}" for each in unpacked)


def address_text(packed: bytes) -> str:
    return socket.inet_ntop(_SOCKET_FAMILIES[len(packed)], packed)


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


def _single(packed: bytes) -> Iterable[bytes]:
    """Return the elements in what `objects` packs: nearly always one."""
    if _HEADER.unpack_from(packed)[0] == len(packed):
        return (packed[4:],)
    return [bytes(each) for _, each in attributes(memoryview(packed))]


def _unpacked(element: bytes) -> _Element:
    length, kind = _HEADER.unpack_from(element)
    if kind & 0x3FFF == _KEY and not length % 4:  # true of all but boundaries
        key, rest = element[8:length], element[length:]
        if not rest:
            return _Element(key, rest)
        data_length, kind = _HEADER.unpack_from(rest)
        if kind & 0x3FFF == _DATA and data_length == len(rest):
            return _Element(key, rest[4:])
    found = inner(memoryview(element))
    user_data = dict(entries(found[_USER_DATA])) if _USER_DATA in found else {}
    return _Element(
        key=bytes(inner(found[_KEY])[_VALUE]),
        data=bytes(found.get(_DATA, b"")),
        comment=user_data.get(_COMMENT, b"").rstrip(b"\0").decode(),
        last=bytes(inner(found[_KEY_END])[_VALUE]) if _KEY_END in found else b"",
        is_end=_FLAGS in found,
        is_endless=_ENDLESS in user_data,
    )


def _comment(element: _Element) -> str:
    return f' comment "{element.comment}"' if element.comment else ""


def _verdict(element: _Element) -> str:
    return verdict_text(inner(inner(memoryview(element.data))[_VERDICT]))


def _value_printer(type_: DataType) -> Callable[[_Element], str]:
    text = _printer(type_)
    return lambda element: text(element.data[4:])  # behind the header of the value


@lru_cache(maxsize=256)
def _printer(type_: DataType) -> Callable[[bytes], str]:
    """Return what prints values of a type: there are many values, and few types."""
    parts: list[tuple[Callable[[bytes], str], slice]] = []
    position = 0
    for number, length in zip(_numbers(type_), type_.lengths, strict=True):
        part = address_text if number in _ADDRESSES else partial(_number_text, number)
        parts.append((part, slice(position, position + length)))
        position += length + -length % 4

    def text(value: bytes) -> str:
        return " . ".join([text_of_part(value[place]) for text_of_part, place in parts])

    return text


def _rank(key: DataType) -> Callable[[bytes], int]:
    """Return what nft sorts by: a number, or the parts of a concatenation as if they were one in
    the byte order of the host.
    """
    alone = len(key.lengths) == 1 and key.number != INTEGER.number
    order: Literal["big", "little"] = "big" if alone else sys.byteorder
    if all(length % 4 == 0 for length in key.lengths):
        return lambda value: int.from_bytes(value, order)
    return lambda value: int.from_bytes(b"".join(_parts(key, value)), order)


def _numbers(type_: DataType) -> Iterator[int]:
    last = len(type_.lengths) - 1
    return (type_.number >> 6 * (last - place) & 0x3F for place in range(last + 1))


def _parts(type_: DataType, value: bytes) -> Iterator[bytes]:
    position = 0
    for length in type_.lengths:
        yield value[position : position + length]
        position += length + -length % 4


@lru_cache(maxsize=1 << 12)  # ports, protocols, slots: few values, many times
def _number_text(number: int, value: bytes) -> str:
    return _part_text(number, value)


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
