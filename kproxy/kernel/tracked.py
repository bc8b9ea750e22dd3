"""Entries of conntrack as they appear, change and go: the events of one namespace.

Source: linux/netfilter/nfnetlink_conntrack.h, nf_conntrack_common.h, nf_conntrack_tcp.h,
nf_conntrack_sctp.h
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from ipaddress import ip_address
from itertools import islice
from typing import NamedTuple

from kproxy.errors import KernelRefused
from kproxy.kernel.netlink import attributes
from kproxy.kernel.trace.listener import Listener

_NEW, _DELETE = (1 << 8) | 0, (1 << 8) | 2  # NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_
_GROUPS = (1, 2, 3)  # NFNLGRP_CONNTRACK_NEW, _UPDATE, _DESTROY
_ORIGINAL, _REPLY, _STATUS, _PROTOINFO, _MARK = 1, 2, 3, 4, 8  # CTA_
_IP, _PROTO = 1, 2  # CTA_TUPLE_
_SOURCES, _DESTINATIONS = (1, 3), (2, 4)  # CTA_IP_V4_, CTA_IP_V6_
_NUMBER, _SOURCE_PORT, _DESTINATION_PORT, _ICMP_IDS = 1, 2, 3, (4, 7)  # CTA_PROTO_
_SEEN_REPLY = 1 << 1  # IPS_
_HEADER_BYTES = 4  # nfgenmsg
_PROTOCOLS = {1: "ICMP", 6: "TCP", 17: "UDP", 58: "ICMP", 132: "SCTP"}
_STATES = {  # by kind of CTA_PROTOINFO_
    1: (
        *("NONE", "SYN_SENT", "SYN_RECV", "ESTABLISHED", "FIN_WAIT", "CLOSE_WAIT", "LAST_ACK"),
        *("TIME_WAIT", "CLOSE", "SYN_SENT2"),
    ),
    3: (
        *("NONE", "CLOSED", "COOKIE_WAIT", "COOKIE_ECHOED", "ESTABLISHED", "SHUTDOWN_SENT"),
        *("SHUTDOWN_RECD", "SHUTDOWN_ACK_SENT", "HEARTBEAT_SENT"),
    ),
}
_BUFFER_BYTES = 4 << 20


class Tuple(NamedTuple):
    """One direction of a connection. Of an ICMP echo, `source_port` is its identifier."""

    protocol: str
    source: str
    source_port: int
    destination: str
    destination_port: int


class Entry(NamedTuple):
    """An entry. `state`: that of TCP or SCTP; for others REPLIED or UNREPLIED."""

    original: Tuple
    reply: Tuple
    state: str
    mark: int
    deleted: bool = False


class TrackedEvents:
    """The entries that have changed in the namespace it was made in. A context manager."""

    def __init__(self) -> None:
        """Begin. Raises Unsupported if this kernel does not tell."""
        self._listener = Listener(_BUFFER_BYTES)
        with ExitStack() as undo:
            undo.callback(self._listener.close)
            self._listener.join(*_GROUPS)
            undo.pop_all()

    def read(self, most: int | None = None) -> list[Entry]:
        """Return the entries that have changed since the last call, each as it was at last.

        Never waits. If there were more than the buffer holds, those are missing. `most`: changes,
        of which a busy node has more than can be read.
        """
        found: dict[Tuple, Entry] = {}
        for entry in islice(self._heard(), most):
            before = found.get(entry.original)
            if entry.deleted and before:  # the last message does not tell the state
                entry = before._replace(deleted=True)
            found[entry.original] = entry
        return list(found.values())

    def _heard(self) -> Iterator[Entry]:
        try:
            for kind, body in self._listener.heard_of((_NEW, _DELETE)):
                if entry := parse_entry(body, deleted=kind == _DELETE):
                    yield entry
        except KernelRefused:
            return

    def close(self) -> None:
        self._listener.close()

    def __enter__(self) -> TrackedEvents:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def parse_entry(body: memoryview, *, deleted: bool = False) -> Entry | None:
    """Parse a message of ctnetlink that begins with nfgenmsg. None for other protocols. Pure."""
    found = dict(attributes(body[_HEADER_BYTES:]))
    original, reply = (_tuple(found[each]) for each in (_ORIGINAL, _REPLY))
    if not original or not reply:
        return None
    status = int.from_bytes(found.get(_STATUS, b""), "big")
    state = _state(found.get(_PROTOINFO)) or ("REPLIED" if status & _SEEN_REPLY else "UNREPLIED")
    return Entry(original, reply, state, int.from_bytes(found.get(_MARK, b""), "big"), deleted)


def _tuple(data: memoryview) -> Tuple | None:
    ends = dict(attributes(data))
    addresses, protocol = dict(attributes(ends[_IP])), dict(attributes(ends[_PROTO]))
    name = _PROTOCOLS.get(protocol[_NUMBER][0])
    if name is None:
        return None
    source, destination = (
        next(str(ip_address(bytes(addresses[kind]))) for kind in kinds if kind in addresses)
        for kinds in (_SOURCES, _DESTINATIONS)
    )
    ports = [
        int.from_bytes(protocol.get(kind, b""), "big")
        for kind in (_SOURCE_PORT, _DESTINATION_PORT, *_ICMP_IDS)
    ]
    return Tuple(name, source, ports[0] or ports[2] or ports[3], destination, ports[1])


def _state(protoinfo: memoryview | None) -> str:
    for kind, payload in attributes(protoinfo) if protoinfo is not None else ():
        number = dict(attributes(payload)).get(1)
        if kind in _STATES and number is not None and number[0] < len(_STATES[kind]):
            return _STATES[kind][number[0]]
    return ""
