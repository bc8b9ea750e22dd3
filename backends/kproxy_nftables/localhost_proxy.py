"""The TCP proxy for node ports on 127.0.0.1 or ::1, on an event loop in a thread of its own.

Each connection is accepted, and made again to an endpoint: that sees the node's own address.
Source: kube-proxy v1.37 nftables/localnodeportproxy, KEP-6032. Texts of errors are kube-proxy's.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Mapping
from functools import partial
from random import Random

from kproxy.address import Family
from kproxy.forwarding.plan import Endpoint
from kproxy.relay.choice import Chooser
from kproxy.relay.copying import PAUSE_S, accept, relay_each_way
from kproxy.relay.thread import RelayThread, end
from kproxy_nftables.localhost_listeners import ADDRESS, Changes, Listener, place

_BACKLOG = 4096
_CONNECT_TIMEOUT_S = 5.0
_ALL_CLIENTS = ""  # session affinity is that of the port: every client is the node itself

log = logging.getLogger("kproxy")


class LocalhostProxy:
    """The listeners of one family, in the namespace of the thread that creates this object."""

    def __init__(self, family: Family) -> None:
        self._family = family
        self._thread = RelayThread(f"kproxy-localhost-{family.value}")
        self._open: dict[int, _Open] = {}

    @property
    def listeners(self) -> Mapping[int, Listener]:
        """Return the listeners that work. Must not be read during `apply`."""
        return {port: each.listener for port, each in self._open.items() if not each.task.done()}

    @property
    def alive(self) -> bool:
        return not any(each.task.done() for each in self._open.values())

    def apply(self, changes: Changes) -> dict[int, OSError]:
        """Set the listeners at these ports. Returns why there is none at a port.

        One that is changed keeps its connections; one that is removed ends with them.
        """
        return self._thread.run(self._apply(changes))

    def close(self) -> None:
        """End all listeners, their connections, and the thread."""
        self._thread.close()

    async def _apply(self, changes: Changes) -> dict[int, OSError]:
        failed = {}
        for port, wanted in changes.items():
            present = self._open.get(port)
            if present and (wanted is None or present.task.done()):
                log.debug("Removing localhost nodeport proxy at %s", place(self._family, port))
                await end(self._open.pop(port).tasks())
                present = None
            if present and wanted:
                present.become(wanted)
            elif wanted:
                try:
                    self._open[port] = _Open(self._family, port, wanted)
                except OSError as error:
                    failed[port] = error
                else:
                    text = "Created localhost nodeport proxy at %s, %d endpoints"
                    log.debug(text, place(self._family, port), len(wanted.endpoints))
        return failed


class _Open:
    """A listener with its connections."""

    def __init__(self, family: Family, port: int, listener: Listener) -> None:
        """Start to listen. Raises OSError."""
        self.listener = listener
        self._place = place(family, port)
        self._chooser = Chooser(Random())
        self._connections: set[asyncio.Task[None]] = set()
        self._sock = socket.create_server(
            (ADDRESS[family], port), family=family.socket_family, backlog=_BACKLOG
        )
        self._sock.setblocking(False)
        self.task = asyncio.create_task(self._listen())
        self.task.add_done_callback(partial(_close, self._sock))

    def become(self, listener: Listener) -> None:
        """Send new connections to other endpoints."""
        if listener.affinity_timeout_s != self.listener.affinity_timeout_s:
            self._chooser = Chooser(Random())
        self.listener = listener

    def tasks(self) -> set[asyncio.Task[None]]:
        return {self.task, *self._connections}

    async def _listen(self) -> None:
        while True:
            try:
                client, _ = await accept(self._sock)
            except OSError as error:
                text = "Accept error on localhost nodeport proxy at %s: %s"
                log.error(text, self._place, _reason(error))
                await asyncio.sleep(PAUSE_S)
                continue
            connection = asyncio.create_task(self._serve(client))
            self._connections.add(connection)
            connection.add_done_callback(self._connections.discard)
            connection.add_done_callback(partial(_close, client))

    async def _serve(self, client: socket.socket) -> None:
        wanted, now = self.listener, asyncio.get_running_loop().time()
        endpoint = self._chooser.choose(
            wanted.endpoints, _ALL_CLIENTS, wanted.affinity_timeout_s, now
        )
        try:
            server = await _connected(client.family, endpoint)
        except OSError as error:
            text = "Failed to connect to backend %s of localhost node port %s/TCP: %s"
            log.error(text, endpoint, self._place, _reason(error))
            return
        with server:
            await relay_each_way(client, server)


def _reason(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno else "timed out"


def _close(sock: socket.socket, _: object) -> None:
    sock.close()


async def _connected(family: int, endpoint: Endpoint) -> socket.socket:
    """Return a connection to an endpoint. Raises OSError."""
    server = socket.socket(family, socket.SOCK_STREAM)
    try:
        server.setblocking(False)
        async with asyncio.timeout(_CONNECT_TIMEOUT_S):
            await asyncio.get_running_loop().sock_connect(server, (endpoint.address, endpoint.port))
    except BaseException:
        server.close()
        raise
    return server
