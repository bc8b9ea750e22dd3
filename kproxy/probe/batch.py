"""Probes sent at the same time: send them all, then read every socket until each is decided."""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Self

from kproxy.address import Family, socket_family
from kproxy.forwarding.network import Packet
from kproxy.kernel.netns import Namespace
from kproxy.outcome import UNREACHABLE
from kproxy.probe.journey import Seen
from kproxy.probe.packets import Probe, Role, build, segment_reply, sighting
from kproxy.probe.taps import Tap
from kproxy.probe.vxlan import inner

_FIRST_PORT, _PORTS = 20_000, 10_000  # below the node ports and the kernel's ephemeral ports
_TAG_STRIDE = 8  # a tag plus one must not be another tag
_DATAGRAM_BYTES = 2048


@dataclass(slots=True)
class Pending:
    """A probe under way. `reply`: received by the client's stack, from the address it asked."""

    client: str
    probe: Probe
    seen: list[Seen] = field(default_factory=list)
    reply: Role | None = None


class Batch:
    """Probes under way, and the sockets of their clients. A context manager."""

    def __init__(self, taps: Sequence[Tap], silence_s: float) -> None:
        self._taps = taps
        self._silence_s = silence_s
        self._by_tag: dict[int, Pending] = {}
        self._undecided: set[int] = set()
        self._raws: dict[tuple[str, int, int], socket.socket] = {}
        self._stack = ExitStack()
        self._selector = self._stack.enter_context(selectors.DefaultSelector())
        for tap in taps:
            self._watch(tap.socket, partial(self._read_tap, tap))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def send(self, packet: Packet, namespace: Namespace, serial: int) -> Pending | None:
        """Send one probe from `namespace`; None if there is no route. `serial` must be unused.

        A packet that the client's own netfilter drops counts as sent.
        """
        source = packet.source or source_address(namespace, packet.address)
        if not source:
            return None
        probe = Probe(
            source=source,
            source_port=_FIRST_PORT + serial % _PORTS,
            address=packet.address,
            port=packet.port,
            protocol=packet.protocol,
            tag=serial * _TAG_STRIDE % (1 << 32),
        )
        data = build(probe)
        pending = Pending(packet.client, probe)
        self._by_tag[probe.tag] = pending
        self._undecided.add(probe.tag)
        self._await_reply(pending, namespace)
        sender = self._raw(pending, namespace, socket.IPPROTO_RAW)
        # EPERM: the client's own OUTPUT hook dropped or rejected it, an outcome like any other.
        with suppress(PermissionError):
            sender.sendto(data, (probe.address, 0))
        return pending

    def watch(self) -> None:
        """Read until every probe has its reply or no packet of any was seen for a while."""
        deadline = time.monotonic() + self._silence_s
        while self._undecided and (left := deadline - time.monotonic()) > 0:
            for key, _ in self._selector.select(left):
                read: Callable[[], bool] = key.data
                if read():
                    deadline = time.monotonic() + self._silence_s
        # A reply may have been read before older packets that wait in other sockets.
        for tap in self._taps:
            self._read_tap(tap)

    def _watch(self, sock: socket.socket, read: Callable[[], bool]) -> None:
        self._selector.register(sock, selectors.EVENT_READ, read)

    def _await_reply(self, pending: Pending, namespace: Namespace) -> None:
        """Open a socket for the reply, which the client's stack receives after the INPUT hook, with
        translations undone. A tap on a node captures replies before that.
        """
        probe = pending.probe
        if probe.protocol == "TCP":
            self._raw(pending, namespace, socket.IPPROTO_TCP)
            return
        # The bound port also keeps the client's kernel from refusing the answer with ICMP.
        receiver = self._socket(namespace, socket_family(probe.address), socket.SOCK_DGRAM)
        receiver.bind((probe.source, probe.source_port))
        self._watch(receiver, partial(self._read_datagrams, receiver, pending))

    def _raw(self, pending: Pending, namespace: Namespace, protocol: int) -> socket.socket:
        """Return the client's raw socket, for sending (IPPROTO_RAW) or receiving TCP segments."""
        family = socket_family(pending.probe.address)
        key = (pending.client, family, protocol)
        if key not in self._raws:
            raw = self._raws[key] = self._socket(namespace, family, socket.SOCK_RAW, protocol)
            if protocol == socket.IPPROTO_TCP:
                self._watch(raw, partial(self._read_segments, raw))
        return self._raws[key]

    def _socket(
        self, namespace: Namespace, family: int, kind: int, protocol: int = 0
    ) -> socket.socket:
        with namespace.entered():
            sock = self._stack.enter_context(socket.socket(family, kind, protocol))
        sock.setblocking(False)
        return sock

    def _read_tap(self, tap: Tap) -> bool:
        noted = False
        for captured in tap.read():
            encapsulated = inner(captured.data)
            seen = sighting(encapsulated or captured.data, self._by_tag.keys())
            if seen is None:
                continue
            noted = True
            pending = self._by_tag[seen.tag]
            pending.seen.append(
                Seen(
                    tap.host,
                    captured.outgoing,
                    seen,
                    captured.link,
                    captured.time_ns,
                    encapsulated is not None,
                )
            )
            entered_client = tap.host == pending.client and not captured.outgoing
            if seen.role is Role.REFUSAL and seen.icmp and entered_client:
                self._undecided.discard(seen.tag)
        return noted

    def _read_segments(self, raw: socket.socket) -> bool:
        noted = False
        for data, address, _ in _received(raw):
            reply = segment_reply(data, header=raw.family == Family.IPV4.socket_family)
            pending = self._by_tag.get(reply.tag) if reply else None
            if not reply or not pending:
                continue
            probe = pending.probe
            expected = (probe.address, probe.port, probe.source_port)
            if (address, reply.source_port, reply.destination_port) == expected:
                pending.reply = reply.role
                self._undecided.discard(reply.tag)
                noted = True
        return noted

    def _read_datagrams(self, receiver: socket.socket, pending: Pending) -> bool:
        probe = pending.probe
        noted = False
        for _, address, port in _received(receiver):
            if (address, port) == (probe.address, probe.port):
                pending.reply = Role.ANSWER
                self._undecided.discard(probe.tag)
                noted = True
        return noted


def source_address(namespace: Namespace, address: str) -> str:
    """Return the source address that a process in `namespace` would use; "" without a route."""
    with namespace.entered(), socket.socket(socket_family(address), socket.SOCK_DGRAM) as sock:
        try:
            sock.connect((address, 9))  # sends nothing
        except OSError as error:
            if error.errno in UNREACHABLE:
                return ""
            raise
        return str(sock.getsockname()[0])


def _received(sock: socket.socket) -> Iterator[tuple[bytes, str, int]]:
    """Yield data, source address and source port of waiting packets; raw sockets have no ports."""
    while True:
        try:
            data, (address, port, *_) = sock.recvfrom(_DATAGRAM_BYTES)
        except BlockingIOError:
            return
        yield data, address, port
