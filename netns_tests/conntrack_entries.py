"""Entries of conntrack without packets: as if a node had translated them before."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable
from typing import NamedTuple

from kproxy.address import Family, family_of
from kproxy.kernel.conntrack import Flow
from kproxy.kernel.netlink import CREATE, EXCL, NETLINK_NETFILTER, Netlink, Request, attribute

_NEW, _NESTED = 1 << 8, 0x8000
_NUMBERS = {"TCP": 6, "UDP": 17}


class Entry(NamedTuple):
    source: tuple[str, int]
    destination: tuple[str, int]
    backend: tuple[str, int]
    protocol: str = "UDP"
    zone: int = 0


def write(entries: Iterable[Entry]) -> None:
    """Into the table of the calling thread's namespace. They live for ten minutes."""
    requests = [
        Request(_NEW, _body(each), ("write", *each), flags=CREATE | EXCL) for each in entries
    ]
    with Netlink(NETLINK_NETFILTER) as netlink:
        netlink.send(requests)


def ends(flows: Iterable[Flow]) -> list[tuple[tuple[str, int], tuple[str, int]]]:
    """Destination and backend of each, sorted."""
    return sorted((flow.destination, flow.backend) for flow in flows)


def _body(entry: Entry) -> bytes:
    family = family_of(entry.source[0])
    body = struct.pack("=BBH", family.socket_family, 0, 0)
    body += _nested(1, _tuple(family, entry.source, entry.destination, entry.protocol))
    body += _nested(2, _tuple(family, entry.backend, entry.source, entry.protocol))
    body += attribute(7, struct.pack(">I", 600))
    if entry.protocol == "TCP":
        body += _nested(4, _nested(1, attribute(1, b"\3")))  # established
    return body + (attribute(18, struct.pack(">H", entry.zone)) if entry.zone else b"")


def _tuple(
    family: Family, source: tuple[str, int], destination: tuple[str, int], protocol: str
) -> bytes:
    first = 1 if family is Family.IPV4 else 3
    addresses = (socket.inet_pton(family.socket_family, each[0]) for each in (source, destination))
    ports = (struct.pack(">H", each[1]) for each in (source, destination))
    number = attribute(1, bytes([_NUMBERS[protocol]]))
    return _nested(1, b"".join(map(attribute, (first, first + 1), addresses))) + _nested(
        2, number + b"".join(map(attribute, (2, 3), ports))
    )


def _nested(kind: int, payload: bytes) -> bytes:
    return attribute(kind | _NESTED, payload)
