"""The types and entries of ipsets, as text and as the attributes of netlink messages. Pure.

Entries are text as ipset prints it:
`10.0.0.1`, `10.0.0.1,tcp:80`, `10.0.0.1,tcp:80,10.0.0.2`, `10.0.0.1,tcp:80,10.0.0.0/8`, `30080`,
and the name of a set in a list:set.
Source: linux/netfilter/ipset/ip_set.h
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from kproxy.address import Family, family_of
from kproxy.kernel.netlink import attribute, attributes

NESTED, NET_BYTE_ORDER = 0x8000, 0x4000

# Numbers in the order of bytes of the network, by their names in `Shape.parameters`.
_SETTABLE = {
    "hashsize": (18, struct.Struct(">L")),
    "maxelem": (19, struct.Struct(">L")),
    "from": (4, struct.Struct(">H")),
    "to": (5, struct.Struct(">H")),
}
_PARAMETERS = {number: name for name, (number, _) in _SETTABLE.items()} | {
    6: "timeout",
    17: "initval",
    20: "netmask",
    21: "bucketsize",
    23: "size",
}
_FLAGS, _ELEMENTS, _REFERENCES, _MEMORY = 8, 24, 25, 26
_FLAG_NAMES = {1 << 3: "counters", 1 << 4: "comment", 1 << 5: "forceadd", 1 << 6: "skbinfo"}

_IP, _PORT, _PROTO, _NAME, _IP2, _CIDR2 = 1, 4, 7, 18, 20, 21
_PROTO_NUMBERS = {
    "tcp": socket.IPPROTO_TCP,
    "udp": socket.IPPROTO_UDP,
    "sctp": socket.IPPROTO_SCTP,
}
_PROTO_NAMES = {number: name for name, number in _PROTO_NUMBERS.items()}
_Fields = Mapping[int, memoryview]


class Shape(NamedTuple):
    """The type of a set and its parameters, with the names that the `ipset` program has for them.

    Those of `create` are hashsize and maxelem, and for bitmap:port from and to. `read_shape` also
    returns others; an option without a value is 1.
    """

    type: str
    family: Family | None
    """None for types that have none, such as bitmap:port."""
    parameters: Mapping[str, int]


def creation(shape: Shape) -> bytes:
    """Return the attributes of the parameters that the set is created with."""
    settable = [(_SETTABLE[name], value) for name, value in shape.parameters.items()]
    return b"".join(
        attribute(number | NET_BYTE_ORDER, layout.pack(value))
        for (number, layout), value in settable
    )


def creation_text(shape: Shape) -> str:
    """Return the shape as the program `ipset` takes it behind `create NAME`."""
    if {"from", "to"} <= shape.parameters.keys():
        return f"{shape.type} range {shape.parameters['from']}-{shape.parameters['to']}"
    family = {None: "", Family.IPV4: " family inet", Family.IPV6: " family inet6"}[shape.family]
    parameters = "".join(f" {name} {value}" for name, value in shape.parameters.items())
    return f"{shape.type}{family}{parameters}"


def read_shape(kind: str, family: int, data: memoryview) -> Shape:
    """Return what the kernel says of a set, but not how large it is, and who uses it."""
    fields = dict(attributes(data))
    for number in (_ELEMENTS, _REFERENCES, _MEMORY):
        fields.pop(number, None)
    flags = int.from_bytes(fields.pop(_FLAGS, b""), "big")
    parameters = {
        _PARAMETERS.get(number, f"attribute {number}"): int.from_bytes(payload, "big")
        for number, payload in fields.items()
    }
    parameters |= {name: 1 for bit, name in _FLAG_NAMES.items() if flags & bit}
    families = (each for each in Family if each.socket_family == family)
    return Shape(kind, next(families, None), parameters)


def count(data: memoryview) -> int:
    """Return how many entries the kernel says a set has."""
    return int.from_bytes(dict(attributes(data))[_ELEMENTS], "big")


def entry(text: str) -> bytes:
    """Return the attributes of an entry, except one of a list:set."""
    first, _, rest = text.partition(",")
    if first.isdigit():
        return _port(first)
    data = _address(_IP, first)
    if rest:
        where, _, other = rest.partition(",")
        protocol, _, port = where.partition(":")
        number = _PROTO_NUMBERS.get(protocol) or int(protocol)
        data += _port(port) + attribute(_PROTO, bytes([number]))
        if other:
            address, _, length = other.partition("/")
            data += _address(_IP2, address)
            if length:
                data += attribute(_CIDR2, bytes([int(length)]))
    return data


def read_entries(kind: str, data: memoryview) -> Iterator[str]:
    """Yield the entries of a set of this type, without their options. None of types that no service
    proxy has.

    Protocols other than TCP, UDP and SCTP are numbers, where the program knows names.
    """
    if read := _READERS.get(kind):
        for _, each in attributes(data):
            yield read(dict(attributes(each)))


def _ip_port(fields: _Fields) -> str:
    protocol = fields[_PROTO][0]
    address = _address_text(fields[_IP])
    return f"{address},{_PROTO_NAMES.get(protocol, protocol)}:{_port_text(fields)}"


def _ip_port_net(fields: _Fields) -> str:
    address = fields[_IP2]
    length = fields[_CIDR2][0] if _CIDR2 in fields else 0
    single = length in (0, 8 * (len(address) - 4))
    return f"{_ip_port(fields)},{_address_text(address)}{'' if single else f'/{length}'}"


def _address_text(field: memoryview) -> str:
    """The address is in an attribute of its own; its length tells the family."""
    packed = field[4:]
    family = Family.IPV6 if len(packed) == 16 else Family.IPV4
    return socket.inet_ntop(family.socket_family, packed)


def _port_text(fields: _Fields) -> str:
    return str(int.from_bytes(fields[_PORT], "big"))


_READERS: Mapping[str, Callable[[_Fields], str]] = {
    "hash:ip": lambda fields: _address_text(fields[_IP]),
    "hash:ip,port": _ip_port,
    "hash:ip,port,ip": lambda fields: f"{_ip_port(fields)},{_address_text(fields[_IP2])}",
    "hash:ip,port,net": _ip_port_net,
    "bitmap:port": _port_text,
    "list:set": lambda fields: bytes(fields[_NAME]).rstrip(b"\0").decode(),
}


def _address(kind: int, text: str) -> bytes:
    family = family_of(text)
    inner = 2 if family is Family.IPV6 else 1
    packed = socket.inet_pton(family.socket_family, text)
    return attribute(kind | NESTED, attribute(inner | NET_BYTE_ORDER, packed))


def _port(text: str) -> bytes:
    return attribute(_PORT | NET_BYTE_ORDER, struct.pack(">H", int(text)))
