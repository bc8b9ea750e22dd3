"""Taps: a packet socket in the namespace of each host, for packets that enter or leave it.

A tap captures on all links. An entering packet is captured before netfilter handles it, a leaving
one after, so a node shows a translated packet in both of its forms. Of TCP it captures only the
beginning and the refusal of a connection, as no other segment tells where a packet has come to.
"""

from __future__ import annotations

import ctypes
import socket
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from kproxy.kernel.links import Links
from kproxy.kernel.netlink import RCVBUFFORCE
from kproxy.kernel.netns import Namespace
from kproxy.kernel.privilege import require_net_raw
from kproxy.probe.packets import ETH_P_IP, ETH_P_IPV6
from kproxy.probe.tap_filter import program

_ETH_P_ALL = 3
_SO_TIMESTAMPNS = 35
_PAUSE_S, _ATTEMPTS = 0.0005, 10_000  # five seconds: a busy machine has had time by then
_TIMESPEC = struct.Struct("@ll")
_ANCILLARY_BYTES = socket.CMSG_SPACE(_TIMESPEC.size)
_BUFFER_BYTES = 4 << 20  # some thousand packets, so that no probe is lost in a burst
_PACKET_OUTGOING = 4
_SNAPSHOT_BYTES = 2048
_SO_ATTACH_FILTER = 26
_SOL_PACKET, _PACKET_STATISTICS = 263, 6
_STATISTICS = struct.Struct("=LL")  # packets, and those of them that were dropped


class HasNamespace(Protocol):
    @property
    def namespace(self) -> Namespace: ...


@dataclass(frozen=True, slots=True)
class Captured:
    """A captured packet."""

    host: str
    link: str
    outgoing: bool
    """It left the host by `link`, else it entered."""
    time_ns: int
    """The time of capture, by a clock that all namespaces share."""
    data: bytes
    """The packet from its IP header on."""


class Tap:
    """The tap of one host. It must be closed: an open tap keeps the host's namespace alive."""

    def __init__(self, host: str, namespace: Namespace, *, datagrams: bool = True) -> None:
        """Open the tap. `datagrams`: capture those of UDP, too. Raises Unsupported without the
        privilege.
        """
        self.host = host
        self.namespace = namespace
        require_net_raw()
        with namespace.entered():
            self.socket = socket.socket(
                socket.AF_PACKET,
                socket.SOCK_DGRAM | socket.SOCK_NONBLOCK,
                socket.htons(_ETH_P_ALL),
            )
        _attach_filter(self.socket, program(datagrams=datagrams))
        self.socket.setsockopt(socket.SOL_SOCKET, RCVBUFFORCE, _BUFFER_BYTES)
        self.socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)

    def fileno(self) -> int:
        return self.socket.fileno()

    def read(self) -> Iterator[Captured]:
        """Yield the IP packets captured since the last call. Never waits."""
        while True:
            try:
                data, ancillary, _, address = self.socket.recvmsg(_SNAPSHOT_BYTES, _ANCILLARY_BYTES)
            except BlockingIOError:
                return
            link, protocol, direction, _, _ = address
            if protocol in (ETH_P_IP, ETH_P_IPV6):
                outgoing = direction == _PACKET_OUTGOING
                yield Captured(self.host, link, outgoing, _time_ns(ancillary), data)

    def lost(self) -> int:
        """Return how many packets had no room since the last call."""
        found = self.socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, _STATISTICS.size)
        _, dropped = _STATISTICS.unpack(found)
        return int(dropped)

    def discard(self) -> None:
        """Discard all packets captured so far."""
        for _ in self.read():
            pass

    def close(self) -> None:
        self.socket.close()


def await_stamps() -> None:
    """Return when the kernel notes the time of what the open taps capture.

    It begins to do so when a worker of its own has had time, after the first socket has asked for
    it. Until then a packet gets the time at which it is read, so that the order of taps would
    decide who had it first. Raises Unsupported without the privilege.
    """
    with (
        Namespace.create("stamps") as namespace,
        namespace.entered(),
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked,
    ):
        with Links() as links:
            links.up("lo")
        asked.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        asked.bind(("127.0.0.1", 0))
        for _ in range(_ATTEMPTS):
            asked.sendto(b"when?", asked.getsockname())
            sent = time.time_ns()
            time.sleep(_PAUSE_S)
            _, ancillary, _, _ = asked.recvmsg(_SNAPSHOT_BYTES, _ANCILLARY_BYTES)
            if _time_ns(ancillary) <= sent:
                return


def _attach_filter(sock: socket.socket, steps: bytes) -> None:
    """Have the kernel keep only packets that a tap is for: a woken process costs far more."""
    kept = ctypes.create_string_buffer(steps)
    length_and_place = struct.pack("@HP", len(steps) // 8, ctypes.addressof(kept))
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, length_and_place)


def _time_ns(ancillary: list[tuple[int, int, bytes]]) -> int:
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, _SO_TIMESTAMPNS):
            seconds, nanoseconds = _TIMESPEC.unpack(data)
            return int(seconds * 1_000_000_000 + nanoseconds)
    return 0
