"""Connects each TCP client to an endpoint, and copies bytes both ways.

The client is accepted before it is known whether the endpoint answers. If it does not, the client
can only be reset.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import struct
from functools import partial

from kproxy_userspace.choice import Chooser
from kproxy_userspace.serving import Serving
from kproxy_userspace.wanted import Listener

_CHUNK_BYTES = 1 << 16
_NO_ROOM = frozenset([errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
_PAUSE_S = 0.5

log = logging.getLogger("kproxy")


class TcpListener(Serving):
    """A TCP listener. Connections that it has accepted go on when it changes or is closed."""

    def __init__(
        self,
        sock: socket.socket,
        listener: Listener,
        chooser: Chooser,
        room: asyncio.Semaphore,
        connections: set[asyncio.Task[None]],
        connect_timeout_s: float,
    ) -> None:
        """Start to listen. Each open connection is kept in `connections`."""
        super().__init__(sock, listener, chooser, room)
        self._connections = connections
        self._connect_timeout_s = connect_timeout_s

    async def _listen(self) -> None:
        while True:
            await _readable(self._sock)
            try:
                client, (address, *_) = self._sock.accept()
            except (BlockingIOError, ConnectionAbortedError):  # the client has given up
                continue
            except OSError as error:
                if error.errno not in _NO_ROOM:
                    raise
                log.warning("clients must wait: %s", error.strerror)
                await asyncio.sleep(_PAUSE_S)
                continue
            client.setblocking(False)
            try:
                await self._room.acquire()  # meanwhile the others wait in the kernel's queue
            except asyncio.CancelledError:
                client.close()
                raise
            connection = asyncio.create_task(self._serve(client, address))
            self._connections.add(connection)
            connection.add_done_callback(self._connections.discard)
            connection.add_done_callback(partial(self._end, client))

    def _end(self, client: socket.socket, _: object) -> None:
        client.close()
        self._room.release()

    async def _serve(self, client: socket.socket, address: str) -> None:
        _reset_at_close(client)
        endpoint = self.choose(address)
        if endpoint is None:
            return
        try:
            with socket.socket(client.family, socket.SOCK_STREAM) as server:
                _reset_at_close(server)
                server.setblocking(False)
                async with asyncio.timeout(self._connect_timeout_s):
                    await asyncio.get_running_loop().sock_connect(
                        server, (endpoint.address, endpoint.port)
                    )
                await relay(client, server)
        except* OSError as broken:
            log.debug("%s, connection of %s: %s", endpoint, address, broken.exceptions[0])


async def relay(one: socket.socket, other: socket.socket) -> None:
    """Copy bytes both ways until both sides have ended. The caller closes the sockets then.

    Raises ExceptionGroup if a side breaks; the rest of the other's bytes is not read.
    """
    for sock in (one, other):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    async with asyncio.TaskGroup() as both:
        both.create_task(_pump(one, other))
        both.create_task(_pump(other, one))
    for sock in (one, other):
        _reset_at_close(sock, False)


async def _pump(source: socket.socket, target: socket.socket) -> None:
    """Copy bytes one way, no faster than `target` takes them, and then the end of input."""
    loop = asyncio.get_running_loop()
    while data := await loop.sock_recv(source, _CHUNK_BYTES):
        await loop.sock_sendall(target, data)
    target.shutdown(socket.SHUT_WR)


async def _readable(sock: socket.socket) -> None:
    """Wait for something to read or to accept, without reading or accepting it.

    `loop.sock_accept` would lose, and never close, what it accepts when it is cancelled.
    """
    loop = asyncio.get_running_loop()
    ready = loop.create_future()
    loop.add_reader(sock, lambda: None if ready.done() else ready.set_result(None))
    try:
        await ready
    finally:
        loop.remove_reader(sock)


def _reset_at_close(sock: socket.socket, reset: bool = True) -> None:
    """Send RST when the socket is closed, or, without `reset`, end normally.

    RST tells the other side of a failure; an end of input would tell it of success. So it is set at
    first, and unset when both sides have ended.
    """
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", reset, 0))
