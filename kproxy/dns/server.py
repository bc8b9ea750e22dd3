"""A DNS server of one thread, over UDP and TCP, in the namespace in which its sockets are made.

Clients may be slow, silent or hostile: a connection that is silent for too long, or takes its
answers too slowly, is closed. The number of connections is limited; at the limit the one that has
been silent for the longest time is closed.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterable
from functools import partial

from kproxy.address import Family, family_of
from kproxy.dns.messages import respond
from kproxy.dns.records import Records
from kproxy.loop.reactor import Connection, Connections, Reactor

PORT = 53
IDLE_S = 10.0  # without a complete query, and without an answer that leaves
CONNECTIONS_MAX = 256
_BACKLOG = 128
_DATAGRAM_MAX_BYTES = 65535
_DATAGRAMS_AT_ONCE = 64  # then it is the others' turn
_QUERIES_AT_ONCE = 16
_CHUNK_BYTES = 65536
_UNSENT_MAX_BYTES = 1 << 17  # two of the largest answers; then the client has to read some


class DnsServer:
    """A DNS server: call `listen`, then `start`, and `close` at the end.

    `provider` is called for the records at each query, in the server's thread. If it returns an
    attribute, assigning that attribute replaces all records at once.
    """

    def __init__(self, provider: Callable[[], Records]) -> None:
        self._provider = provider
        self._sockets: list[socket.socket] = []
        self._reactor = Reactor("kproxy-dns")

    def listen(self, addresses: Iterable[str], port: int = PORT) -> None:
        """Listen at `addresses`, over UDP and TCP, in the namespace of the calling thread.

        Must not be called after `start`. Raises OSError if the namespace does not have an address,
        or if the port is taken.
        """
        for address in addresses:
            family = family_of(address)
            for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
                sock = socket.socket(family.socket_family, kind)
                self._sockets.append(sock)
                sock.setblocking(False)
                if family is Family.IPV6:
                    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                if kind == socket.SOCK_STREAM:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                sock.bind((address, port))
                if kind == socket.SOCK_STREAM:
                    sock.listen(_BACKLOG)

    def start(self) -> None:
        """Start to answer."""
        self._reactor.call(self._watch)

    def close(self) -> None:
        """Stop the thread and close all sockets. Harmless when repeated."""
        self._reactor.close()
        for sock in self._sockets:
            sock.close()

    def _watch(self) -> None:
        connections = Connections(CONNECTIONS_MAX)
        start = partial(_Conversation, partial(self._respond, udp=False))
        for sock in self._sockets:
            if sock.type == socket.SOCK_STREAM:
                self._reactor.listen(sock, connections, start)
            else:
                self._reactor.watch(sock, partial(self._answer_datagrams, sock))

    def _respond(self, query: bytes, *, udp: bool) -> bytes | None:
        return respond(self._provider(), query, udp=udp)

    def _answer_datagrams(self, sock: socket.socket) -> None:
        for _ in range(_DATAGRAMS_AT_ONCE):
            try:
                query, client = sock.recvfrom(_DATAGRAM_MAX_BYTES)
            except BlockingIOError:
                return
            except OSError:  # an ICMP error about an earlier answer
                continue
            if response := self._respond(query, udp=True):
                # Datagrams may be lost, the client may have ended, its address may be forged.
                with contextlib.suppress(OSError):
                    sock.sendto(response, client)


class _Conversation:
    """The queries of one connection, with two bytes of length before each: RFC 7766."""

    def __init__(
        self, respond: Callable[[bytes], bytes | None], connection: Connection, _client: object
    ) -> None:
        self._respond = respond
        self._connection = connection
        self._received = bytearray()
        self._unsent = bytearray()
        self._at_end = False  # the client will send no more
        connection.end_in(IDLE_S)
        connection.when_readable(self._go_on)

    def _go_on(self) -> None:
        """Read, answer and send what is possible now, and wait until more is possible."""
        self._read()
        for _ in range(_QUERIES_AT_ONCE):
            if self._has_query() and len(self._unsent) < _UNSENT_MAX_BYTES:
                self._answer()
        self._send()
        if self._unsent or self._has_query():
            self._connection.when_writable(self._go_on)  # called at once if there is room
        elif self._at_end:
            self._connection.close()
        else:
            self._connection.when_readable(self._go_on)

    def _read(self) -> None:
        """Receive, unless there is something to answer or to send: the client can wait."""
        if self._at_end or self._unsent or self._has_query():
            return
        data = self._connection.receive(_CHUNK_BYTES)
        self._received += data or b""
        self._at_end = data == b""

    def _has_query(self) -> bool:
        return len(self._received) >= 2 and len(self._received) >= self._end()

    def _end(self) -> int:
        return 2 + int.from_bytes(self._received[:2], "big")

    def _answer(self) -> None:
        end = self._end()
        response = self._respond(bytes(self._received[2:end]))
        del self._received[:end]
        self._connection.end_in(IDLE_S)
        if response is not None:
            self._unsent += len(response).to_bytes(2, "big") + response

    def _send(self) -> None:
        if self._unsent and (count := self._connection.send(self._unsent)):
            del self._unsent[:count]
            self._connection.end_in(IDLE_S)
