"""An HTTP server of one thread for listeners in any number of namespaces.

Clients may be slow, silent or hostile: each connection has a fixed time and a fixed number of
bytes, and their number is limited; at the limit the oldest is closed.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from functools import partial

from kproxy.address import Family
from kproxy.loop import reactor
from kproxy.loop.http import Request, Response, encode, read_request
from kproxy.loop.reactor import Connection, Connections, Reactor

TIMEOUT_S = 5.0  # from accepting a connection to its end, whatever happens
CONNECTIONS_MAX = 256
_BACKLOG = 128
_CHUNK_BYTES = 4096
_SURPLUS_MAX_BYTES = 65536  # read and discarded after the answer
_REQUEST_MAX_BYTES = 65536  # with its body

Respond = Callable[[Request], Response]


class HttpServer:
    """An HTTP server: call `listen` for each address, and `close` at the end.

    Its thread starts when needed. Any thread may call `listen` and `Listener.close`.
    """

    def __init__(self) -> None:
        self._reactor = Reactor("kproxy-http")
        self._connections = Connections(CONNECTIONS_MAX)

    def listen(
        self,
        family: Family,
        address: str,
        port: int,
        respond: Respond,
        *,
        both_families: bool = False,
        bodies: bool = False,
    ) -> Listener:
        """Answer requests at an address from now on, in the namespace of the calling thread.

        `address`: "" for all of the family and, with `both_families` and IPv6, for all of IPv4 as
        well. `bodies`: requests have their bodies. `respond` is called in the server's thread and
        must neither wait nor raise. Raises OSError if the address and port cannot be listened on.
        """
        sock = socket.socket(family.socket_family, socket.SOCK_STREAM)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family is Family.IPV6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not both_families)
            sock.setblocking(False)
            sock.bind((address, port))
            sock.listen(_BACKLOG)
            start = partial(_Exchange, respond, bodies)
            watched = self._reactor.call(
                partial(self._reactor.listen, sock, self._connections, start)
            )
        except BaseException:
            sock.close()
            raise
        return Listener(self._reactor, watched)

    def close(self) -> None:
        """Close everything and end the thread. Harmless when repeated."""
        self._reactor.close()


class Listener:
    """An address and port that an `HttpServer` listens on. Made by `HttpServer.listen`."""

    def __init__(self, served_by: Reactor, watched: reactor.Listener) -> None:
        self._reactor = served_by
        self._watched = watched

    def close(self) -> None:
        """Stop listening, and close the connections of clients that wait for an answer.

        New clients are refused. May be called in any namespace. Harmless when repeated, until the
        server is closed.
        """
        self._reactor.call(self._watched.cut_off)


class _Exchange:
    """One request and its answer."""

    def __init__(
        self, respond: Respond, bodies: bool, connection: Connection, _client: object
    ) -> None:
        self._respond = respond
        self._bodies = bodies
        self._unsent = memoryview(b"")
        self._connection = connection
        self._received = bytearray()
        self._surplus_bytes = 0
        connection.end_in(TIMEOUT_S)
        connection.when_readable(self._read)

    def _read(self) -> None:
        """Receive, and answer once the request is complete."""
        data = self._connection.receive(_CHUNK_BYTES)
        if data == b"":
            self._connection.close()
        if not data:
            return
        self._received += data
        found = read_request(bytes(self._received), body=self._bodies)
        if found is None:
            if len(self._received) > _REQUEST_MAX_BYTES:
                self._connection.close()
            return
        from email.utils import formatdate  # takes as long as all of this package

        request = found if isinstance(found, Request) else None
        response = self._respond(found) if isinstance(found, Request) else found
        self._unsent = memoryview(encode(response, request, formatdate(usegmt=True)))
        self._send()

    def _send(self) -> None:
        """Send the answer, as much as the socket takes, and the rest when it takes more."""
        self._unsent = self._unsent[self._connection.send(self._unsent) :]
        if self._unsent:
            self._connection.when_writable(self._send)
            return
        self._connection.finish()
        self._connection.when_readable(self._read_surplus)

    def _read_surplus(self) -> None:
        data = self._connection.receive(_CHUNK_BYTES)
        self._surplus_bytes += len(data or b"")
        if data == b"" or self._surplus_bytes > _SURPLUS_MAX_BYTES:
            self._connection.close()
