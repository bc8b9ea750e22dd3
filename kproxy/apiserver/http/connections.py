"""Which connections there are: not too many, and none that only waits."""

from __future__ import annotations

import asyncio
import resource
import socket
import ssl
from asyncio import Task, Transport
from asyncio.sslproto import SSLProtocol
from asyncio.trsock import TransportSocket
from contextlib import suppress
from typing import Any
from weakref import WeakKeyDictionary

from aiohttp import web

MOST_CONNECTIONS = 1000
FIRST_REQUEST_S = 10.0  # until a new connection has sent its first request's headers
NEXT_REQUEST_S = 120.0  # until it has sent those of the next one
_HANDSHAKE_S = 10.0
_TLS_BUFFER_BYTES = 32 << 10
_LOOK_EACH_S = 1.0
_BACKLOG = 512
_PAUSE_S = 0.1  # until more connections are accepted, if there can be no more now
_CLOSE_S = 2.0
_TURNS = 5  # of the loop: what a connection whose socket is shut down takes to end


class Connections:
    """Accepts connections, and cuts those that ask for nothing; belongs to an event loop.

    If there are too many, the one that has been silent for longest is cut for a new one.
    """

    def __init__(self, server: web.Server, tls: ssl.SSLContext | None, most: int = 0) -> None:
        """`most` 0: as many as half of the process's file descriptors, but 1,000."""
        descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._server = server
        self._tls = tls
        self._most = most or min(MOST_CONNECTIONS, descriptors // 2)
        self._loop = asyncio.get_running_loop()
        # asyncio has 256 KiB for each connection of TLS, which sends records of 16 KiB.
        SSLProtocol.max_size = _TLS_BUFFER_BYTES
        self._waiting: dict[web.RequestHandler, float] = {}  # when each is to be cut, in order
        self._accepting: list[Task[None]] = []
        self._beginning: dict[Task[None], None] = {}  # in their handshakes
        # A protocol forgets its transport when it closes that, long before the client has answered;
        # and one of TLS that was closed twice can no longer be aborted.
        self._sockets: WeakKeyDictionary[Transport, TransportSocket] = WeakKeyDictionary()
        self._looking = self._loop.create_task(self._look())

    def listen(self, bound: socket.socket) -> None:
        """Accept connections of a bound socket, which is closed at the end."""
        bound.listen(_BACKLOG)
        bound.setblocking(False)
        self._accepting.append(self._loop.create_task(self._accept(bound)))

    def busy(self, protocol: web.RequestHandler) -> None:
        """Note that a request came."""
        self._waiting.pop(protocol, None)

    def idle(self, protocol: web.RequestHandler) -> None:
        """Note that a request was answered."""
        if protocol.transport is not None:
            self._waiting[protocol] = self._loop.time() + NEXT_REQUEST_S

    async def close(self) -> None:
        """Accept no more, and return when all connections have ended."""
        await asyncio.sleep(0)  # a task that is cancelled before it has begun closes nothing
        await _cancel(self._looking, *self._accepting)
        await _cancel(*self._beginning)
        for each in self._server.connections:
            if isinstance(each.transport, Transport):
                self._keep_socket(each.transport)
        sockets = [*self._sockets.items()]
        self._server.pre_shutdown()  # those that wait for a request end at once
        await self._server.shutdown(_CLOSE_S)
        for transport, its_socket in sockets:
            transport.abort()
            with suppress(OSError):  # it has ended
                its_socket.shutdown(socket.SHUT_RDWR)
        await self._told_of_their_end()

    async def _accept(self, listening: socket.socket) -> None:
        with listening:
            while True:
                try:
                    accepted, _ = await self._loop.sock_accept(listening)
                except OSError:  # no file descriptor is left, or the client has gone
                    await asyncio.sleep(_PAUSE_S)
                    continue
                if len(self._server.connections) + len(self._beginning) >= self._most:
                    await asyncio.sleep(0)  # so that every handshake has begun
                    if not self._cut_one():
                        accepted.close()
                        continue
                task = self._loop.create_task(self._begin(accepted))
                self._beginning[task] = None
                task.add_done_callback(self._ended)

    async def _begin(self, accepted: socket.socket) -> None:
        timeouts: dict[str, Any] = {"ssl_handshake_timeout": _HANDSHAKE_S} if self._tls else {}
        try:
            transport, protocol = await self._loop.connect_accepted_socket(
                self._server, accepted, ssl=self._tls, **timeouts
            )
        except OSError:  # no TLS, or not in time
            return
        self._keep_socket(transport)
        self._waiting[protocol] = self._loop.time() + FIRST_REQUEST_S

    def _keep_socket(self, transport: Transport) -> None:
        if transport in self._sockets:
            return
        its_socket = transport.get_extra_info("socket")
        if its_socket is not None:  # else the client has gone again
            self._sockets[transport] = its_socket

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_EACH_S)
            now = self._loop.time()
            for protocol in [each for each, when in self._waiting.items() if when < now]:
                self._cut(protocol)

    def _cut_one(self) -> bool:
        """End the connection that has been silent for longest, if any is."""
        if len(self._beginning) > len(self._waiting):
            next(iter(self._beginning)).cancel()
        elif self._waiting:
            self._cut(next(iter(self._waiting)))
        else:
            return False
        return True

    def _ended(self, handshake: Task[None]) -> None:
        self._beginning.pop(handshake, None)

    def _cut(self, protocol: web.RequestHandler) -> None:
        del self._waiting[protocol]
        if isinstance(protocol.transport, Transport):
            protocol.transport.abort()

    async def _told_of_their_end(self) -> None:
        """Let the loop tell the protocols of connections that they are lost."""
        for _ in range(_TURNS):
            await asyncio.sleep(0)


async def _cancel(*tasks: Task[None]) -> None:
    for each in tasks:
        each.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
