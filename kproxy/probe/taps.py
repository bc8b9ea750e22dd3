"""Taps: a packet socket in the namespace of each host, which sees what enters and leaves it.

A tap hears on all links. An entering packet is heard before netfilter handles it, a leaving one
after, so a node shows a translated packet with both of its faces.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from kproxy.kernel.netns import Namespace
from kproxy.probe.packets import ETH_P_IP, ETH_P_IPV6

_ETH_P_ALL = 3
_SO_RCVBUFFORCE = 33
_BUFFER_BYTES = 4 << 20  # some thousand packets: a burst must not push a probe out
_PACKET_OUTGOING = 4
_SNAPSHOT_BYTES = 2048


class HasNamespace(Protocol):
    @property
    def namespace(self) -> Namespace: ...


@dataclass(frozen=True, slots=True)
class Captured:
    """A packet from its IP header on. `outgoing`: it left the host, else it entered."""

    host: str
    outgoing: bool
    data: bytes


class Tap:
    """The tap of one host. Close it: an open tap keeps the host's namespace alive."""

    def __init__(self, host: str, namespace: Namespace) -> None:
        self.host = host
        self.namespace = namespace
        with namespace.entered():
            self.socket = socket.socket(
                socket.AF_PACKET,
                socket.SOCK_DGRAM | socket.SOCK_NONBLOCK,
                socket.htons(_ETH_P_ALL),
            )
        self.socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER_BYTES)

    def fileno(self) -> int:
        return self.socket.fileno()

    def read(self) -> Iterator[Captured]:
        """The IP packets heard since the last call. Never waits."""
        while True:
            try:
                data, (_, protocol, direction, _, _) = self.socket.recvfrom(_SNAPSHOT_BYTES)
            except BlockingIOError:
                return
            if protocol in (ETH_P_IP, ETH_P_IPV6):
                yield Captured(self.host, direction == _PACKET_OUTGOING, data)

    def discard(self) -> None:
        """Forget what was heard so far."""
        for _ in self.read():
            pass

    def close(self) -> None:
        self.socket.close()
