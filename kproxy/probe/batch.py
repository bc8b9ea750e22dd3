"""Probes sent at the same time: send them all, then read every socket until each is decided.

A probe without a reply is decided when nothing was seen of any for `silence_s`. TCP needs less: its
kernels answer at once or never, so it is decided as soon as no packet is on its way any more. A
datagram may still be answered by a process that has not had its turn yet.
"""

from __future__ import annotations

import errno
import selectors
import socket
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Self

from kproxy.address import Family, family_of, socket_family
from kproxy.forwarding.network import Packet
from kproxy.kernel.in_flight import Stillness
from kproxy.kernel.netns import Namespace
from kproxy.outcome import UNREACHABLE
from kproxy.probe.journey import Seen
from kproxy.probe.packets import Probe, Role, build, raw_reply, sighting
from kproxy.probe.taps import Tap
from kproxy.probe.vxlan import inner

_FIRST_PORT, _PORTS = 20_000, 10_000  # below the node ports and the kernel's ephemeral ports
_TAG_STRIDE = 8  # a tag plus one must not be another tag
_DATAGRAM_BYTES = 2048
PAUSE_S = 0.05
"""Without any sighting, before the kernel is asked whether packets are on their way."""


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
        self._stillness = Stillness()
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
            source_port=packet.source_port or _FIRST_PORT + serial % _PORTS,
            address=packet.address,
            port=packet.port,
            protocol=packet.protocol,
            tag=tag_of(serial),
            payload_bytes=packet.payload_bytes,
        )
        data = build(probe)
        pending = Pending(packet.client, probe)
        self._by_tag[probe.tag] = pending
        self._undecided.add(probe.tag)
        self._await_reply(pending, namespace)
        sender = self._raw(pending, namespace, socket.IPPROTO_RAW)
        # EPERM: the client's own OUTPUT hook dropped or rejected it; EMSGSIZE: it is too long for a
        # way that the client's kernel has been told of. Both are outcomes like any other.
        try:
            sender.sendto(data, (probe.address, 0))
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.EMSGSIZE):
                raise
        return pending

    def follow(self, packet: Packet, tag: int) -> Pending:
        """Follow the SYN of a connection that begins with `packet`; `tag` is its sequence number.

        `calm` reads what was seen of it; `watch` does not wait for it.
        """
        probe = Probe(
            source=packet.source,
            source_port=0,  # which nobody needs: its own socket receives the reply
            address=packet.address,
            port=packet.port,
            protocol=packet.protocol,
            tag=tag,
        )
        pending = self._by_tag[tag] = Pending(packet.client, probe)
        return pending

    def follow_only(self, tags: Collection[int]) -> None:
        """Follow no others than those with these tags any more."""
        self._by_tag = {tag: self._by_tag[tag] for tag in tags}

    def watch(self, *, patient: bool = False) -> None:
        """Read until every probe is decided. `patient`: each without a reply only by silence."""
        now = time.monotonic()
        deadline, calm = now + self._silence_s, now + PAUSE_S
        while self._undecided and (now := time.monotonic()) < deadline:
            if now >= calm and not patient and self._is_settled():
                break
            until = deadline if patient else min(deadline, max(calm, now + PAUSE_S / 2))
            for key, _ in self._selector.select(until - now):
                read: Callable[[], bool] = key.data
                if read():
                    now = time.monotonic()
                    deadline, calm = now + self._silence_s, now + PAUSE_S
        # A reply may have been read before older packets that wait in other sockets; and one may
        # have come after the last look at its socket, before the kernel was found to be still.
        for key in [*self._selector.get_map().values()]:
            key.data()

    def calm(self) -> bool:
        """Read all taps, and tell whether nothing new was seen and no packet is on its way.

        To be called again after a pause.
        """
        return not self._read_taps() and self._is_still()

    def _is_settled(self) -> bool:
        """Tell whether no probe will be answered any more."""
        undecided = (self._by_tag[tag] for tag in self._undecided)
        return all(map(_needs_no_process, undecided)) and self._is_still()

    def _is_still(self) -> bool:
        return self._stillness.reigns(tap.namespace for tap in self._taps)

    def _read_taps(self) -> bool:
        """Tell whether any tap has seen something new."""
        return sum(map(self._read_tap, self._taps)) > 0  # each, whatever the others have seen

    def _watch(self, sock: socket.socket, read: Callable[[], bool]) -> None:
        self._selector.register(sock, selectors.EVENT_READ, read)

    def _await_reply(self, pending: Pending, namespace: Namespace) -> None:
        """Open a socket for the reply, which the client's stack receives after the INPUT hook, with
        translations undone. A tap on a node captures replies before that.
        """
        probe = pending.probe
        if probe.protocol != "UDP":
            self._raw(pending, namespace, _number_of(probe))
            return
        # The bound port also keeps the client's kernel from refusing the answer with ICMP.
        receiver = self._socket(namespace, socket_family(probe.address), socket.SOCK_DGRAM)
        receiver.bind((probe.source, probe.source_port))
        self._watch(receiver, partial(self._read_datagrams, receiver, pending))

    def _raw(self, pending: Pending, namespace: Namespace, protocol: int) -> socket.socket:
        """Return the client's raw socket, for sending (IPPROTO_RAW) or receiving replies."""
        family = socket_family(pending.probe.address)
        key = (pending.client, family, protocol)
        if key not in self._raws:
            raw = self._raws[key] = self._socket(namespace, family, socket.SOCK_RAW, protocol)
            if protocol != socket.IPPROTO_RAW:
                self._watch(raw, partial(self._read_replies, raw))
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
                    captured.data,
                )
            )
            entered_client = tap.host == pending.client and not captured.outgoing
            if seen.role is Role.REFUSAL and seen.icmp and entered_client:
                self._undecided.discard(seen.tag)
        return noted

    def _read_replies(self, raw: socket.socket) -> bool:
        noted = False
        for data, address, _ in _received(raw):
            reply = raw_reply(raw.proto, data, header=raw.family == Family.IPV4.socket_family)
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


def tag_of(serial: int) -> int:
    """Return the tag of a probe; it and the one after it are no other's."""
    return serial * _TAG_STRIDE % (1 << 32)


def _needs_no_process(pending: Pending) -> bool:
    """Tell whether only kernels decide what happens next, or it has been answered."""
    answered = any(seen.sighting.role is Role.ANSWER for seen in pending.seen)
    return pending.probe.protocol != "UDP" or answered


def _number_of(probe: Probe) -> int:
    """Return the number of a probe's protocol."""
    match probe.protocol:
        case "TCP":
            return socket.IPPROTO_TCP
        case "SCTP":
            return socket.IPPROTO_SCTP
        case _:
            wide = family_of(probe.address) is Family.IPV6
            return socket.IPPROTO_ICMPV6 if wide else socket.IPPROTO_ICMP


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
