"""Connects each TCP client to an endpoint, and copies bytes both ways.

The client is accepted before it is known whether the endpoint answers. If it does not, the client
can only be reset.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from functools import partial

from kproxy.relay.choice import Chooser
from kproxy.relay.copying import NO_ROOM, PAUSE_S, accept, relay, reset_at_close
from kproxy_userspace.serving import Serving
from kproxy_userspace.wanted import Listener

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
            try:
                client, address = await accept(self._sock)
            except OSError as error:
                if error.errno not in NO_ROOM:
                    raise
                log.warning("clients must wait: %s", error.strerror)
                await asyncio.sleep(PAUSE_S)
                continue
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
        reset_at_close(client)
        endpoint = self.choose(address)
        if endpoint is None:
            return
        try:
            with socket.socket(client.family, socket.SOCK_STREAM) as server:
                reset_at_close(server)
                server.setblocking(False)
                async with asyncio.timeout(self._connect_timeout_s):
                    await asyncio.get_running_loop().sock_connect(
                        server, (endpoint.address, endpoint.port)
                    )
                await relay(client, server)
        except* OSError as broken:
            log.debug("%s, connection of %s: %s", endpoint, address, broken.exceptions[0])
