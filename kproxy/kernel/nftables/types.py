"""Data types of sets and maps, as the kernel keeps them for nft, which prints them. Pure.

The kernel itself knows only lengths. The rest is nft's: a number for the type, and for data without
a type of its own (a slot number) an expression of the same type ("typeof"), in the set's user data.
Source: nftables 1.0.6 include/datatype.h, libnftnl 1.2.4 include/libnftnl/udata.h.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from kproxy.address import Family


class DataType(NamedTuple):
    """The type of a key or value."""

    number: int  # nft's; six bits for each part of a concatenation
    lengths: tuple[int, ...]  # bytes of each part
    typeof: bytes = b""  # see `_typeof`

    @property
    def byte_order(self) -> int:
        """Return the byte order for nft's user data: 1 host, 2 network, 0 none (concatenations)."""
        return {INTEGER.number: 1, VERDICT.number: 0}.get(
            self.number, 2 if len(self.lengths) == 1 else 0
        )

    @property
    def length(self) -> int:
        """Return the length in bytes, with each part padded to a multiple of four."""
        return sum((length + 3) & ~3 for length in self.lengths)


INTEGER = DataType(4, (4,))
PROTOCOL = DataType(12, (1,))
PORT = DataType(13, (2,))
VERDICT = DataType(0xFFFFFF00, ())
_ADDRESSES = {Family.IPV4: DataType(7, (4,)), Family.IPV6: DataType(8, (16,))}


def address(family: Family) -> DataType:
    return _ADDRESSES[family]


def concatenation(*parts: DataType) -> DataType:
    number = 0
    for part in parts:
        number = number << 6 | part.number
    return DataType(number, tuple(length for part in parts for length in part.lengths))


def like(type_: DataType, *parts: bytes) -> DataType:
    """Return the type with an expression for each part, which nft prints for it."""
    numbered = b"".join(udata(index, part) for index, part in enumerate(parts))
    return type_._replace(typeof=_typeof(_CONCATENATION, numbered))


def _typeof(kind: int, data: bytes) -> bytes:
    """Pack nftnl_udata: type and length of one byte each, numbers in the byte order of the host."""
    return udata(0, struct.pack("=L", kind)) + udata(1, data)


def udata(kind: int, value: bytes) -> bytes:
    """Pack one entry of nft's user data."""
    return struct.pack("BB", kind, len(value)) + value


def entries(user_data: memoryview) -> Iterator[tuple[int, bytes]]:
    """Yield type and value of each entry."""
    position = 0
    while position + 2 <= len(user_data):
        kind, length = user_data[position], user_data[position + 1]
        yield kind, bytes(user_data[position + 2 : position + 2 + length])
        position += 2 + length


def _numbers(*values: int) -> bytes:
    return b"".join(udata(kind, struct.pack("=L", value)) for kind, value in enumerate(values))


# EXPR_PAYLOAD and so on in nftables include/expression.h; PROTO_DESC_* in include/proto.h.
_PAYLOAD, _CONCATENATION, _NUMGEN = 7, 13, 23
_IP, _IP6 = 12, 13
_HEADERS = {"TCP": 8, "UDP": 6, "SCTP": 10}

TYPEOF_DESTINATION = {
    Family.IPV4: _typeof(_PAYLOAD, _numbers(_IP, 12)),
    Family.IPV6: _typeof(_PAYLOAD, _numbers(_IP6, 9)),
}
TYPEOF_PORT = {  # by protocol
    protocol: _typeof(_PAYLOAD, _numbers(header, 2)) for protocol, header in _HEADERS.items()
}
TYPEOF_SLOT = _typeof(_NUMGEN, _numbers(1, 2, 0))
