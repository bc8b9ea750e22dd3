"""Forwards the datagrams of each UDP client to an endpoint, from a socket for that client only.

The endpoint's answers come back to that socket, which tells whose they are. A client keeps its
endpoint until it is silent for a while, or until the endpoint is removed.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from contextlib import suppress
from typing import Any

from kproxy.backend import Endpoint
from kproxy.relay.choice import Chooser
from kproxy_userspace.serving import Serving
from kproxy_userspace.wanted import Listener

_DATAGRAM_BYTES = 1 << 16

log = logging.getLogger("kproxy")


class UdpListener(Serving):
    """A UDP listener. Its flows end when it is closed, or when their endpoints are removed."""

    def __init__(
        self,
        sock: socket.socket,
        listener: Listener,
        chooser: Chooser,
        room: asyncio.Semaphore,
        idle_timeout_s: float,
    ) -> None:
        """Forget a client that is silent for `idle_timeout_s`."""
        super().__init__(sock, listener, chooser, room)
        self._idle_timeout_s = idle_timeout_s
        self._flows: dict[Any, _Flow] = {}  # by the client's address, as sockets give it

    def become(self, listener: Listener, chooser: Chooser) -> None:
        """Send new clients to the endpoints of `listener`, and end flows to removed ones."""
        super().become(listener, chooser)
        for client, flow in list(self._flows.items()):
            if flow.endpoint not in listener.endpoints:
                self._flows.pop(client).task.cancel()

    def close(self) -> None:
        super().close()
        for flow in self._flows.values():
            flow.task.cancel()

    async def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            data, client = await loop.sock_recvfrom(self._sock, _DATAGRAM_BYTES)
            flow = self._flows.get(client) or await self._begin(client)
            if flow:
                flow.used_at = loop.time()
                with suppress(OSError):  # a datagram may be lost
                    flow.sock.send(data)

    async def _begin(self, client: Any) -> _Flow | None:
        """Return a new flow; None if there is no room or no endpoint for it."""
        endpoint = self.choose(client[0])
        if endpoint is None or self._room.locked():
            return None
        try:
            sock = socket.socket(self._sock.family, socket.SOCK_DGRAM)
        except OSError as error:
            log.warning("a datagram is lost: %s", error.strerror)
            return None
        sock.setblocking(False)
        with suppress(OSError):  # no route: there will be no answer
            sock.connect((endpoint.address, endpoint.port))
        await self._room.acquire()
        flow = self._flows[client] = _Flow(endpoint, sock)
        flow.task = asyncio.create_task(self._answer(client, flow))
        flow.task.add_done_callback(lambda _: self._end(client, flow))
        return flow

    async def _answer(self, client: Any, flow: _Flow) -> None:
        """Send answers back until both sides have been silent for a while."""
        loop = asyncio.get_running_loop()
        while (left_s := flow.used_at + self._idle_timeout_s - loop.time()) > 0:
            with suppress(OSError):  # silence (TimeoutError), or an ICMP error, which may pass
                async with asyncio.timeout(left_s):
                    data = await loop.sock_recv(flow.sock, _DATAGRAM_BYTES)
                self._sock.sendto(data, client)
                flow.used_at = loop.time()

    def _end(self, client: Any, flow: _Flow) -> None:
        flow.sock.close()
        self._room.release()
        if self._flows.get(client) is flow:
            del self._flows[client]


class _Flow:
    """The flow of one client: its endpoint, its socket, and the time of the last datagram."""

    task: asyncio.Task[None]

    def __init__(self, endpoint: Endpoint, sock: socket.socket) -> None:
        self.endpoint = endpoint
        self.sock = sock
        self.used_at = asyncio.get_running_loop().time()
