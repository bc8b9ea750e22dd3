"""A DNS server of one thread, over UDP and TCP, in whatever namespace its sockets are made.

Clients may be slow, silent or hostile: a connection that is silent for too long, or takes its
answers too slowly, is closed, and there are only so many, of which the longest silent one gives
way.
"""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterable
from functools import partial

from kproxy.address import Family, family_of
from kproxy.dns.messages import respond
from kproxy.dns.records import Records

PORT = 53
IDLE_S = 10.0  # a connection on which no query comes to its end, and no answer leaves
CONNECTIONS_MAX = 256
_BACKLOG = 128
_DATAGRAM_MAX_BYTES = 65535
_DATAGRAMS_AT_ONCE = 64  # then it is the others' turn
_QUERIES_AT_ONCE = 16
_CHUNK_BYTES = 65536
_UNSENT_MAX_BYTES = 1 << 17  # two of the largest answers; then the client has to take some
_PAUSE_S = 0.05  # where the machine has no descriptor or memory left

log = logging.getLogger("kproxy")


class DnsServer:
    """First `listen`, then `start`, at the end `close`.

    `provider` is asked for the records at each query, in the server's thread: let it return an
    attribute, and assigning that replaces all records at once.
    """

    def __init__(self, provider: Callable[[], Records]) -> None:
        self._provider = provider
        self._selector = selectors.DefaultSelector()
        self._listeners: list[socket.socket] = []
        self._connections: dict[_Connection, None] = {}  # the longest silent first
        self._stop_reader, self._stop_writer = os.pipe2(os.O_CLOEXEC)
        self._thread = threading.Thread(target=self._serve, name="kproxy-dns", daemon=True)
        self._closed = False

    def listen(self, addresses: Iterable[str], port: int = PORT) -> None:
        """Answer there, over UDP and TCP, in the namespace of the calling thread.

        Not after `start`. Raises OSError if an address is not there, or the port is taken.
        """
        for address in addresses:
            family = family_of(address)
            for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
                sock = socket.socket(family.socket_family, kind)
                self._listeners.append(sock)
                sock.setblocking(False)
                if family is Family.IPV6:
                    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                if kind == socket.SOCK_STREAM:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                sock.bind((address, port))
                if kind == socket.SOCK_STREAM:
                    sock.listen(_BACKLOG)
                    ready = partial(self._accept, sock)
                else:
                    ready = partial(self._answer_datagrams, sock)
                self._selector.register(sock, selectors.EVENT_READ, ready)

    def start(self) -> None:
        self._selector.register(self._stop_reader, selectors.EVENT_READ, None)
        self._thread.start()

    def close(self) -> None:
        """Stop the thread and close all sockets. Harmless when repeated."""
        if self._closed:
            return
        self._closed = True
        os.close(self._stop_writer)
        if self._thread.ident is not None:
            self._thread.join()
        self._selector.close()
        for sock in (*self._listeners, *(each.sock for each in self._connections)):
            sock.close()
        os.close(self._stop_reader)

    def _serve(self) -> None:
        while True:
            for key, _ in self._selector.select(self._wait_s()):
                ready: Callable[[], None] | None = key.data
                if ready is None:
                    return
                ready()
            now = time.monotonic()
            while self._connections and (oldest := next(iter(self._connections))).ends_at <= now:
                self._drop(oldest)

    def _wait_s(self) -> float | None:
        if not self._connections:
            return None
        return max(0.0, next(iter(self._connections)).ends_at - time.monotonic())

    def _respond(self, query: bytes, *, udp: bool) -> bytes | None:
        try:
            return respond(self._provider(), query, udp=udp)
        except Exception:  # ours; others are served all the same, and this client asks again
            log.exception("a DNS query was not answered")
            return None

    def _answer_datagrams(self, sock: socket.socket) -> None:
        for _ in range(_DATAGRAMS_AT_ONCE):
            try:
                query, client = sock.recvfrom(_DATAGRAM_MAX_BYTES)
            except BlockingIOError:
                return
            except OSError:  # an ICMP error about a former answer
                continue
            if response := self._respond(query, udp=True):
                # Datagrams may be lost, and the client may be gone, or its address forged.
                with contextlib.suppress(OSError):
                    sock.sendto(response, client)

    def _accept(self, listener: socket.socket) -> None:
        try:
            sock, _ = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):  # given up before we came
            return
        except OSError:
            self._make_room()
            time.sleep(_PAUSE_S)
            return
        sock.setblocking(False)
        if len(self._connections) >= CONNECTIONS_MAX:
            self._make_room()
        connection = _Connection(sock, partial(self._respond, udp=False))
        self._connections[connection] = None
        ready = partial(self._go_on, connection)
        self._selector.register(sock, selectors.EVENT_READ, ready)

    def _make_room(self) -> None:
        if self._connections:
            self._drop(next(iter(self._connections)))

    def _go_on(self, connection: _Connection) -> None:
        if connection not in self._connections:  # gave way in the same round
            return
        before = connection.ends_at
        try:
            events = connection.go_on()
        except OSError:  # it went away
            events = 0
        if not events:
            self._drop(connection)
            return
        if connection.ends_at != before:
            self._connections[connection] = self._connections.pop(connection)
        key = self._selector.get_key(connection.sock)
        if key.events != events:
            self._selector.modify(connection.sock, events, key.data)

    def _drop(self, connection: _Connection) -> None:
        del self._connections[connection]
        self._selector.unregister(connection.sock)
        connection.sock.close()


class _Connection:
    """Queries one after the other, two bytes of length before each: RFC 7766."""

    def __init__(self, sock: socket.socket, respond: Callable[[bytes], bytes | None]) -> None:
        self.sock = sock
        self.ends_at = time.monotonic() + IDLE_S
        self._respond = respond
        self._received = bytearray()
        self._unsent = bytearray()
        self._at_end = False  # the client will send no more

    def go_on(self) -> int:
        """Do what can be done now. Returns the events to wait for; 0: it is over.

        Raises OSError if the client is gone.
        """
        self._read()
        for _ in range(_QUERIES_AT_ONCE):
            if self._has_query() and len(self._unsent) < _UNSENT_MAX_BYTES:
                self._answer()
        self._send()
        if self._unsent or self._has_query():
            return selectors.EVENT_WRITE  # which comes at once, if there is room
        return 0 if self._at_end else selectors.EVENT_READ

    def _read(self) -> None:
        """Nothing as long as there is something to answer: the client can wait."""
        if self._at_end or self._unsent or self._has_query():
            return
        try:
            data = self.sock.recv(_CHUNK_BYTES)
        except BlockingIOError:
            return
        self._received += data
        self._at_end = not data

    def _has_query(self) -> bool:
        return len(self._received) >= 2 and len(self._received) >= self._end()

    def _end(self) -> int:
        return 2 + int.from_bytes(self._received[:2], "big")

    def _answer(self) -> None:
        end = self._end()
        response = self._respond(bytes(self._received[2:end]))
        del self._received[:end]
        self.ends_at = time.monotonic() + IDLE_S
        if response is not None:
            self._unsent += len(response).to_bytes(2, "big") + response

    def _send(self) -> None:
        if not self._unsent:
            return
        try:
            count = self.sock.send(self._unsent)
        except BlockingIOError:
            return
        del self._unsent[:count]
        self.ends_at = time.monotonic() + IDLE_S
