"""Real kernel connections: connect, send a line, read the pod's answer, close.

`connect_many` sends a line and expects the pod's; `exchange_many` sends any question.

Half a handshake can mislead, so the result of each packet is checked again with the kernel's own
TCP or UDP. The sockets are made inside the client's namespace and served by one loop, so hundreds
run at once.
"""

from __future__ import annotations

import errno
import json
import random
import selectors
import socket
import struct
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from itertools import count, islice
from typing import Any, Generic, Self, TypeVar, cast

from kproxy.address import socket_family
from kproxy.errors import Unsupported
from kproxy.forwarding.network import Packet
from kproxy.kernel.running import on_uml
from kproxy.outcome import UNREACHABLE, Connection, Outcome
from kproxy.probe.batch import PAUSE_S
from kproxy.probe.entrance import checked
from kproxy.probe.prober import Probed

TIMEOUT_S = 4.0 if on_uml() else 1.6
"""Long enough for a second SYN, which Linux sends after one second; on user-mode Linux for a third.

The refusal of the first may be lost: an ICMP error that returns while connect() still holds the
socket is dropped (LockDroppedIcmps), and in a lab it returns within microseconds.
"""

# The kernel's ephemeral ports, in turn for all hosts. Each process begins at a random one.
_FIRST_PORT, _PORTS = 32_768, 28_232
_serials = count(random.randrange(_PORTS))

_END_S = 1.0
"""For the other side to end an answered connection, which programs do at once, or never."""

_Answer = TypeVar("_Answer")
_Answer_co = TypeVar("_Answer_co", covariant=True)
_GREETING = b"kproxy\n"
_ANSWER_BYTES = 4096
_SAID_BYTES = 80
_TCP_REPAIR, _TCP_REPAIR_QUEUE, _TCP_QUEUE_SEQ = 19, 20, 21
_ON, _OFF, _SENT = 1, 0xFFFFFFFF, 2  # -1: end the repair without a packet to the other side
# EACCES: ICMPv6 "prohibited"; ENOPROTOOPT: ICMP protocol unreachable.
_OUTCOMES = {
    errno.ECONNREFUSED: Outcome.REFUSED,
    errno.ECONNRESET: Outcome.REFUSED,
    errno.EACCES: Outcome.REFUSED,
    errno.ENOPROTOOPT: Outcome.REFUSED,
    errno.ETIMEDOUT: Outcome.TIMEOUT,
    **dict.fromkeys(UNREACHABLE, Outcome.REFUSED),
}


def connect(probed: Probed, packet: Packet, *, timeout_s: float = TIMEOUT_S) -> Connection:
    """Make one connection; see `connect_many`."""
    return connect_many(probed, [packet], timeout_s=timeout_s)[0]


def connect_many(
    probed: Probed, packets: Sequence[Packet], *, timeout_s: float = TIMEOUT_S
) -> list[Connection]:
    """Make one connection for each packet (its first one), all at once; results in their order.

    UDP: a connected socket sends the line and waits for the answer.
    Open connections count as timed out when none has connected or begun to answer for `timeout_s`:
    so a slow, busy machine does not fail them. Raises Unsupported for a protocol that this kernel
    lacks, BadInput for an unknown client or something that is no address.
    """
    return exchange_many(probed, [*map(greeting, packets)], timeout_s=timeout_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange(Generic[_Answer_co]):
    """A question to send on the connection that `packet` begins."""

    packet: Packet
    question: bytes
    read: Callable[[bytes, bool], _Answer_co | None]
    """Makes the answer from all bytes received so far, and whether there will be no more: the
    stream has ended, or the time is over. None: it needs more.
    """


def greeting(packet: Packet) -> Exchange[Connection]:
    """Return the exchange of `connect_many`."""
    return Exchange(packet=packet, question=_GREETING, read=_line)


def exchange_many(
    probed: Probed, exchanges: Sequence[Exchange[_Answer]], *, timeout_s: float = TIMEOUT_S
) -> list[_Answer | Connection]:
    """Do the same as `connect_many` with the caller's questions.

    A Connection among the results is one that failed. One that ended before `read` returned an
    answer counts as refused.
    """
    with Exchanges(probed, exchanges, timeout_s=timeout_s) as under_way:
        under_way.wait()
        return under_way.results()


class Exchanges(Generic[_Answer]):
    """Exchanges under way at the same time. A context manager, which closes their sockets."""

    def __init__(
        self,
        probed: Probed,
        exchanges: Sequence[Exchange[_Answer]],
        *,
        timeout_s: float = TIMEOUT_S,
        follow: Callable[[Packet], int] = lambda _: 0,
    ) -> None:
        """Begin all of them. `follow` returns the sequence number of a connection's SYN, by which
        it can be recognised on its way; 0 leaves it to the kernel. Raises like `connect_many`.
        """
        packets = checked(probed.network, probed.hosts, [each.packet for each in exchanges])
        self._timeout_s = timeout_s
        self._sockets: list[socket.socket] = []
        with ExitStack() as stack:
            self._selector = stack.enter_context(selectors.DefaultSelector())
            self._attempts = [
                _Attempt(replace(exchange, packet=packet))
                for exchange, packet in zip(exchanges, packets, strict=True)
            ]
            for attempt in self._attempts:
                packet = attempt.exchange.packet
                sock = stack.enter_context(_open(probed, packet))
                self._sockets.append(sock)
                if packet.protocol == "TCP" and (sequence := follow(packet)):
                    _choose_sequence(sock, sequence)
                attempt.start(sock)
                if attempt.result is None:
                    self._selector.register(sock, attempt.interest, attempt)
            self._stack = stack.pop_all()
        self._deadline = time.monotonic() + timeout_s

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._stack:
            self._end()

    def _end(self) -> None:
        """End the connections that have their answers, and wait until the other sides have, too.

        One that is half closed when its endpoint or its Service goes sends its FIN again and again.
        Hosts without a route refuse such segments, and then nothing else of the same client: Linux
        answers so one packet a second from each source, after a first few.
        Source: net/ipv4/route.c (ip_error)
        """
        with selectors.DefaultSelector() as ending:
            for attempt, sock in zip(self._attempts, self._sockets, strict=True):
                if attempt.connected and attempt.received:
                    with suppress(OSError):  # the other side has reset it
                        sock.shutdown(socket.SHUT_WR)
                        ending.register(sock, selectors.EVENT_READ)
            deadline = time.monotonic() + _END_S
            while ending.get_map() and (left := deadline - time.monotonic()) > 0:
                for key, _ in ending.select(left):
                    with suppress(OSError):
                        if cast(socket.socket, key.fileobj).recv(_ANSWER_BYTES):
                            continue
                    ending.unregister(key.fileobj)

    def wait(self, calm: Callable[[], bool] | None = None) -> None:
        """Wait until all are decided or have timed out.

        `calm`, if given, is asked whenever nothing has happened for a moment: true ends the wait.
        The time of those that are undecided goes on; `wait` may be called again.
        """
        while self._selector.get_map():
            left = max(0.0, self._deadline - time.monotonic())
            ready = self._selector.select(min(left, PAUSE_S) if calm else left)
            if not ready and (time.monotonic() >= self._deadline or (calm and calm())):
                return
            for key, _ in ready:
                attempt = key.data
                if not attempt.received:  # else a program that never stops would never time out
                    self._deadline = time.monotonic() + self._timeout_s
                attempt.proceed(key.fileobj)
                if attempt.result is not None:
                    self._selector.unregister(key.fileobj)
                else:
                    self._selector.modify(key.fileobj, attempt.interest, attempt)

    @property
    def connecting(self) -> list[int]:
        """Return which of them are undecided without a connection, by their places."""
        return [
            place
            for place, attempt in enumerate(self._attempts)
            if attempt.result is None and attempt.interest == selectors.EVENT_WRITE
        ]

    def conclude(self, place: int, result: Connection) -> None:
        """Decide one of them; it is not waited for any longer."""
        attempt = self._attempts[place]
        attempt.result = result
        for key in [*self._selector.get_map().values()]:
            if key.data is attempt:
                self._selector.unregister(key.fileobj)

    def results(self) -> list[_Answer | Connection]:
        """Return the results in their order. Those that are undecided have timed out."""
        return [attempt.result or attempt.after_all() for attempt in self._attempts]


def _line(received: bytes, ended: bool) -> Connection | None:
    """Return the answer of a pod's server, or of a program that is none."""
    if not received:
        return None
    if not ended and not received.endswith(b"\n") and len(received) < _ANSWER_BYTES:
        return None
    try:
        answer: dict[str, Any] = json.loads(received)
        return Connection(
            outcome=Outcome.SUCCESS,
            pod=answer["pod"],
            source=answer["source"],
            source_port=answer["source_port"],
        )
    except (ValueError, KeyError, TypeError, RecursionError):
        return Connection(outcome=Outcome.ANSWERED, said=received[:_SAID_BYTES])


@dataclass(slots=True)
class _Attempt(Generic[_Answer]):
    """A connection under way: connecting (waits to write), then asking (waits to read)."""

    exchange: Exchange[_Answer]
    result: _Answer | Connection | None = None
    interest: int = selectors.EVENT_WRITE
    received: bytes = b""
    connected: bool = False

    def start(self, sock: socket.socket) -> None:
        packet = self.exchange.packet
        code = sock.connect_ex((packet.address, packet.port))
        if code not in (0, errno.EINPROGRESS):
            self._fail(code)

    def proceed(self, sock: socket.socket) -> None:
        try:
            if self.interest == selectors.EVENT_WRITE:
                if code := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                    self._fail(code)
                    return
                self.connected = self.exchange.packet.protocol != "UDP"  # which knows of none
                sock.send(self.exchange.question)  # far smaller than an empty send buffer
                self.interest = selectors.EVENT_READ
                return
            data = sock.recv(_ANSWER_BYTES)
        except PermissionError:
            # This host's own OUTPUT hook dropped the datagram: wait for the timeout (or the ICMP
            # error, if it was rejected) as for one that is dropped farther away.
            self.interest = selectors.EVENT_READ
        except OSError as error:
            # A program that closes without having read the question resets what it has answered.
            self._take(b"", error.errno or 0)
        else:
            self._take(data, errno.ECONNRESET)

    def _take(self, data: bytes, code: int) -> None:
        """Take what came; b"": there is no more, and `code` is why if that is no answer."""
        self.received += data
        self.result = self.exchange.read(self.received, not data)
        if self.result is None and not data:
            self._fail(code)

    def after_all(self) -> _Answer | Connection:
        """Return what has come by the end of the time."""
        answer = self.exchange.read(self.received, True) if self.received else None
        return answer or Connection(outcome=Outcome.TIMEOUT, connected=self.connected)

    def _fail(self, code: int) -> None:
        outcome = _OUTCOMES.get(code)
        if outcome is None:
            packet = self.exchange.packet
            raise OSError(code, f"connection to {packet.address} port {packet.port}")
        self.result = Connection(outcome=outcome, errno=code, connected=self.connected)


_SOCKETS = {
    "TCP": (socket.SOCK_STREAM, socket.IPPROTO_TCP),
    "UDP": (socket.SOCK_DGRAM, socket.IPPROTO_UDP),
    "SCTP": (socket.SOCK_STREAM, socket.IPPROTO_SCTP),
}


def _open(probed: Probed, packet: Packet) -> socket.socket:
    kind, protocol = _SOCKETS[packet.protocol]
    with probed.hosts[packet.client].namespace.entered():
        try:
            sock = socket.socket(socket_family(packet.address), kind, protocol)
        except OSError as error:
            if error.errno != errno.EPROTONOSUPPORT:
                raise
            raise Unsupported(
                f"this kernel does not support {packet.protocol}",
                remedy=f"load its module: modprobe {packet.protocol.lower()}",
            ) from error
    sock.setblocking(False)
    if packet.source_port:
        sock.bind((packet.source, packet.source_port))
    else:
        _bind(sock, packet.source)
    return sock


def _choose_sequence(sock: socket.socket, number: int) -> None:
    """Choose the sequence number of the SYN: Linux keeps one that a repair (tcp(7): TCP_REPAIR) has
    set. Source: net/ipv4/tcp_ipv4.c, tcp_v4_connect: `if (!tp->write_seq)`.
    """
    for option, value in (
        (_TCP_REPAIR, _ON),
        (_TCP_REPAIR_QUEUE, _SENT),
        (_TCP_QUEUE_SEQ, number),
        (_TCP_REPAIR, _OFF),
    ):
        sock.setsockopt(socket.IPPROTO_TCP, option, struct.pack("@I", value))


def _bind(sock: socket.socket, address: str) -> None:
    """Bind to a free port, the one that we have not used for the longest time.

    The kernel may give one port to several sockets with different destinations. IPVS chooses no new
    source port: of two connections from the same port to different virtual services, one hangs if
    they go to the same endpoint. And it drops the first packet from a port that it knows from a
    connection to the same virtual service, up to two minutes after its end.
    Source: net/netfilter/ipvs/ip_vs_conn.c (ip_vs_conn_out_get), ip_vs_core.c (ip_vs_in_hook)
    """
    for serial in islice(_serials, _PORTS):
        try:
            sock.bind((address, _FIRST_PORT + serial % _PORTS))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
        else:
            return
    raise OSError(errno.EADDRINUSE, "all ports are in use")
