"""Connections that a host has translated: list, follow and delete them.

Source: linux/netfilter/nfnetlink.h, nfnetlink_conntrack.h, nf_conntrack_tcp.h
"""

from __future__ import annotations

import errno
import math
import socket
import struct
from collections.abc import Collection, Iterable
from contextlib import suppress
from functools import partial
from typing import NamedTuple

from kproxy.address import Family
from kproxy.api.types import Protocol
from kproxy.errors import Unsupported
from kproxy.kernel import conntrack_file, sysctl
from kproxy.kernel.conntrack_file import UdpLine
from kproxy.kernel.netlink import (
    NETLINK_NETFILTER,
    Netlink,
    Request,
    attribute,
    attributes,
)

_GET, _DELETE = (1 << 8) | 1, (1 << 8) | 2  # NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_
_GROUPS = 0b111  # NFNLGRP_CONNTRACK_NEW, _UPDATE, _DESTROY
_ORIGINAL, _REPLY, _PROTOINFO, _ID, _ZONE, _FILTER = 1, 2, 4, 12, 18, 25  # CTA_
_IP, _PROTO = 1, 2  # CTA_TUPLE_
_ADDRESSES = {Family.IPV4: (1, 2), Family.IPV6: (3, 4)}  # CTA_IP_: source, destination
_NUMBER, _SOURCE_PORT, _PORT = 1, 2, 3  # CTA_PROTO_
_FILTER_ORIGINAL, _BY_NUMBER = 1, 1 << 3  # CTA_FILTER_ORIG_FLAGS, CTA_FILTER_FLAG(CTA_PROTO_NUM)
_INFO_TCP, _TCP_STATE = 1, 1  # CTA_PROTOINFO_
_TCP_ALIVE = {1, 2, 3}  # SYN sent, SYN received, established; then it closes
_PROTOCOLS: dict[int, Protocol] = {6: "TCP", 17: "UDP"}
_NUMBERS: dict[Protocol, int] = {name: number for number, name in _PROTOCOLS.items()}
_FAMILIES = {int(family.socket_family): family for family in Family}
# Buckets through which the kernel walks in the time that a connection takes, of another protocol or
# family, which is read in vain: as a line of text, and as a message.
_BUCKETS_A_LINE, _BUCKETS_A_MESSAGE = 50, 100
_NESTED = 0x8000
_RECEIVE_BYTES = 1 << 16

# Both ends of a tuple that has ports, in the layout that ctnetlink has always written: CTA_TUPLE_IP
# with two addresses, CTA_TUPLE_PROTO with a number and two ports. Walking through the attributes
# takes five times as long, and tables have 100,000 entries.
_TUPLES = {
    Family.IPV4: struct.Struct(">4x 4x4s 4x4s 4x 4xB3x 4xH2x 4xH2x"),
    Family.IPV6: struct.Struct(">4x 4x16s 4x16s 4x 4xB3x 4xH2x 4xH2x"),
}


class Flow(NamedTuple):
    """A tracked connection: the destination its client asked for, and the backend that answers."""

    family: Family
    protocol: Protocol
    destination: tuple[str, int]
    backend: tuple[str, int]
    alive: bool
    """Not closing yet."""
    entry: memoryview | UdpLine
    """What the kernel told about it: a message, or a line."""


def flow_of(body: memoryview, family: Family) -> Flow | None:
    """Parse a message of ctnetlink that begins with nfgenmsg. None if it is not TCP or UDP."""
    ends = _TUPLES[family]
    original = reply = None
    for kind, payload in attributes(body[4:]):
        if kind == _ORIGINAL:
            original = payload
        elif kind == _REPLY:
            reply = payload
            break
    if original is None or reply is None or len(original) < ends.size or len(reply) < ends.size:
        return None
    _, to, number, _, port = ends.unpack_from(original)
    sender, _, _, sender_port, _ = ends.unpack_from(reply)
    protocol = _PROTOCOLS.get(number)
    if protocol is None:
        return None
    address = family.socket_family
    return Flow(
        family,
        protocol,
        (socket.inet_ntop(address, to), port),
        (socket.inet_ntop(address, sender), sender_port),
        protocol == "UDP" or _tcp_state(body) in _TCP_ALIVE,
        body,
    )


def _tcp_state(body: memoryview) -> int:
    protoinfo = dict(attributes(body[4:])).get(_PROTOINFO)
    if protoinfo is None:
        return 0
    tcp = dict(attributes(protoinfo)).get(_INFO_TCP)
    state = dict(attributes(tcp)).get(_TCP_STATE) if tcp is not None else None
    return state[0] if state is not None else 0


def flows(family: Family, protocol: Protocol | None = None) -> list[Flow]:
    """Return all connections of the calling thread's namespace, or those of one protocol.

    Raises KernelRefused, Unsupported.
    """
    return flows_of([family], protocol)[family]


def flows_of(
    families: Collection[Family], protocol: Protocol | None = None
) -> dict[Family, list[Flow]]:
    """Return the connections of the calling thread's namespace by family, as `flows` does.

    Raises KernelRefused, Unsupported.
    """
    found: dict[Family, list[Flow]] = {family: [] for family in families}
    count, buckets = _read_number("count", math.inf), _read_number("buckets", 0)
    if count == 0:
        return found
    few = protocol == "UDP" and count * _BUCKETS_A_LINE <= buckets * len(found)
    if few and (lines := conntrack_file.udp_lines()) is not None:
        for line in lines:
            if line.family in found:
                ends = line.destination, line.backend
                found[line.family].append(Flow(line.family, "UDP", *ends, True, line))
        return found
    with Netlink(NETLINK_NETFILTER) as netlink:
        # The kernel takes a filter for one family only. Where there is little to be left out, one
        # walk through its table is better than two.
        if len(found) > 1 and count * _BUCKETS_A_MESSAGE <= buckets:
            bodies = _listed(netlink, struct.pack("=BBH", socket.AF_UNSPEC, 0, 0))
        else:
            bodies = [
                body for family in found for body in _listed(netlink, _request(family, protocol))
            ]
    for body in bodies:
        family = _FAMILIES.get(body[0])
        flow = flow_of(body, family) if family in found else None
        if flow and protocol in (None, flow.protocol):
            found[flow.family].append(flow)
    return found


def _request(family: Family, protocol: Protocol | None) -> bytes:
    request = struct.pack("=BBH", family.socket_family, 0, 0)
    if protocol:
        # Linux 5.8 and later filter in the kernel, older ones list all.
        number = attribute(_NUMBER, bytes([_NUMBERS[protocol]]))
        request += attribute(_ORIGINAL | _NESTED, attribute(_PROTO | _NESTED, number))
        request += attribute(
            _FILTER | _NESTED, attribute(_FILTER_ORIGINAL, struct.pack("=I", _BY_NUMBER))
        )
    return request


def _listed(netlink: Netlink, request: bytes) -> list[memoryview]:
    return netlink.dump(Request(_GET, request, ("list connections",)))


def _read_number(name: str, otherwise: float) -> float:
    """Return how many connections the namespace has, or how many buckets the kernel's table;
    `otherwise`, if the kernel does not tell.

    Without any connections, nothing has to be listed: to do so, the kernel walks through the table
    of all namespaces, which takes 10 ms if that has 262,144 buckets.
    """
    try:
        return int(sysctl.read(f"net/netfilter/nf_conntrack_{name}"))
    except Unsupported:
        return otherwise


def forget(to_remove: Iterable[Flow]) -> None:
    """Delete entries. Missing ones are no error. Raises KernelRefused, Unsupported."""
    requests = [
        Request(
            _DELETE,
            _identity(flow.entry),
            ("forget the connection on", *flow.backend),
            fine=frozenset({errno.ENOENT}),
        )
        for flow in to_remove
    ]
    with Netlink(NETLINK_NETFILTER) as netlink:
        netlink.send(requests)


def _identity(entry: memoryview | UdpLine) -> bytes:
    """Return the message by which the kernel finds the entry again."""
    if isinstance(entry, UdpLine):
        return _identity_of(entry)
    return bytes(entry[:4]) + b"".join(
        attribute(kind | _NESTED if kind == _ORIGINAL else kind, bytes(payload))
        for kind, payload in attributes(entry[4:])
        if kind in (_ORIGINAL, _ID, _ZONE)
    )


def _identity_of(line: UdpLine) -> bytes:
    as_bytes = partial(socket.inet_pton, line.family.socket_family)
    (source, port), (to, to_port) = line.client, line.destination
    addresses = zip(_ADDRESSES[line.family], map(as_bytes, (source, to)), strict=True)
    ports = (_SOURCE_PORT, struct.pack("!H", port)), (_PORT, struct.pack("!H", to_port))
    ends = (_IP, addresses), (_PROTO, ((_NUMBER, bytes([_NUMBERS["UDP"]])), *ports))
    original = b"".join(
        attribute(kind | _NESTED, b"".join(attribute(*each) for each in parts))
        for kind, parts in ends
    )
    return (
        struct.pack("=BBH", line.family.socket_family, 0, 0)
        + attribute(_ORIGINAL | _NESTED, original)
        + (attribute(_ZONE, struct.pack("!H", line.zone)) if line.zone else b"")
    )


class Events:
    """A socket that becomes readable when connections of the namespace it was made in change."""

    def __init__(self) -> None:
        self.socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, NETLINK_NETFILTER
        )
        self.socket.bind((0, _GROUPS))

    def drain(self) -> None:
        """Read and drop all messages. Lost ones do not matter: the caller lists connections."""
        with suppress(BlockingIOError):
            while True:
                try:
                    self.socket.recv(_RECEIVE_BYTES)
                except OSError as error:
                    if error.errno != errno.ENOBUFS:
                        raise

    def close(self) -> None:
        self.socket.close()
