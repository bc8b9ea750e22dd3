"""Connections that a host has translated: listed, followed, forgotten.

Source: linux/netfilter/nfnetlink.h, nfnetlink_conntrack.h, nf_conntrack_tcp.h
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

from kproxy.api.types import Protocol
from kproxy.forwarding.plan import Family
from kproxy.kernel.netlink import (
    NETLINK_NETFILTER,
    Netlink,
    Request,
    attribute,
    attributes,
)

_GET, _DELETE = (1 << 8) | 1, (1 << 8) | 2  # NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_
_GROUPS = 0b111  # NFNLGRP_CONNTRACK_NEW, _UPDATE, _DESTROY
_ORIGINAL, _REPLY, _PROTOINFO, _ID = 1, 2, 4, 12  # CTA_
_IP, _PROTO = 1, 2  # CTA_TUPLE_
_SOURCE, _DESTINATION = {1, 3}, {2, 4}  # CTA_IP_V4_, CTA_IP_V6_
_NUMBER, _SOURCE_PORT, _DESTINATION_PORT = 1, 2, 3  # CTA_PROTO_
_INFO_TCP, _TCP_STATE = 1, 1  # CTA_PROTOINFO_
_TCP_ALIVE = {1, 2, 3}  # SYN sent, SYN received, established; then it closes
_PROTOCOLS: dict[int, Protocol] = {6: "TCP", 17: "UDP"}
_FAMILIES = {Family.IPV4: socket.AF_INET, Family.IPV6: socket.AF_INET6}
_NESTED = 0x8000
_RECEIVE_BYTES = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """A connection as conntrack has it: where it was meant to go, and who answers.

    `alive`: not closing yet. `identity`: of the entry, as the kernel wants it back.
    """

    family: Family
    protocol: Protocol
    destination: tuple[str, int]
    backend: tuple[str, int]
    alive: bool
    identity: bytes


def flow_of(body: memoryview, family: Family) -> Flow | None:
    """From a message of ctnetlink, beginning with nfgenmsg. None if it is not TCP or UDP."""
    found = dict(attributes(body[4:]))
    if not {_ORIGINAL, _REPLY, _ID} <= found.keys():
        return None
    number, _, destination = _tuple(found[_ORIGINAL], family)
    _, backend, _ = _tuple(found[_REPLY], family)
    protocol = _PROTOCOLS.get(number)
    if protocol is None:
        return None
    identity = attribute(_ORIGINAL | _NESTED, bytes(found[_ORIGINAL]))
    return Flow(
        family=family,
        protocol=protocol,
        destination=destination,
        backend=backend,
        alive=protocol == "UDP" or _tcp_state(found.get(_PROTOINFO)) in _TCP_ALIVE,
        identity=identity + attribute(_ID, bytes(found[_ID])),
    )


def _tuple(data: memoryview, family: Family) -> tuple[int, tuple[str, int], tuple[str, int]]:
    """Number of the protocol, source, destination."""
    parts = dict(attributes(data))
    source = destination = ""
    for kind, payload in attributes(parts[_IP]):
        address = socket.inet_ntop(_FAMILIES[family], bytes(payload))
        if kind in _SOURCE:
            source = address
        elif kind in _DESTINATION:
            destination = address
    proto = dict(attributes(parts[_PROTO]))
    ports = [
        struct.unpack(">H", proto[kind])[0] if kind in proto else 0
        for kind in (_SOURCE_PORT, _DESTINATION_PORT)
    ]
    return proto[_NUMBER][0], (source, ports[0]), (destination, ports[1])


def _tcp_state(protoinfo: memoryview | None) -> int:
    if protoinfo is None:
        return 0
    tcp = dict(attributes(protoinfo)).get(_INFO_TCP)
    state = dict(attributes(tcp)).get(_TCP_STATE) if tcp is not None else None
    return state[0] if state is not None else 0


def flows(family: Family) -> list[Flow]:
    """All of the calling thread's namespace. Raises KernelRefused, Unsupported."""
    head = struct.pack("=BBH", _FAMILIES[family], 0, 0)
    with Netlink(NETLINK_NETFILTER) as netlink:
        bodies = netlink.dump(Request(_GET, head, ("list connections",)))
    return [flow for body in bodies if (flow := flow_of(body, family))]


def forget(doomed: Iterable[Flow]) -> None:
    """Delete entries; one that is gone is fine. Raises KernelRefused, Unsupported."""
    requests = [
        Request(
            _DELETE,
            struct.pack("=BBH", _FAMILIES[flow.family], 0, 0) + flow.identity,
            ("forget the connection on", *flow.backend),
            fine=frozenset({errno.ENOENT}),
        )
        for flow in doomed
    ]
    with Netlink(NETLINK_NETFILTER) as netlink:
        netlink.send(requests)


class Events:
    """Says that something has changed among the connections of the namespace it was made in."""

    def __init__(self) -> None:
        self.socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, NETLINK_NETFILTER
        )
        self.socket.bind((0, _GROUPS))

    def drain(self) -> None:
        """Read what has come. Lost messages do not matter: whoever is told looks for himself."""
        with suppress(BlockingIOError):
            while True:
                try:
                    self.socket.recv(_RECEIVE_BYTES)
                except OSError as error:
                    if error.errno != errno.ENOBUFS:
                        raise

    def close(self) -> None:
        self.socket.close()
