"""The common part of the listeners of both protocols."""

from __future__ import annotations

import asyncio
import socket
from abc import ABC, abstractmethod

from kproxy.backend import Endpoint
from kproxy.relay.choice import Chooser
from kproxy_userspace import sockets
from kproxy_userspace.wanted import Listener


class Serving(ABC):
    """A socket that serves clients as a `Listener` says until it is closed. On the event loop.

    `task` listens; the socket is closed when it ends. `room` limits the number of connections and
    flows of all listeners together.
    """

    def __init__(
        self, sock: socket.socket, listener: Listener, chooser: Chooser, room: asyncio.Semaphore
    ) -> None:
        """Take over `sock`."""
        self.listener = listener
        self._sock = sock
        self._chooser = chooser
        self._room = room
        self.task = asyncio.create_task(self._listen())
        self.task.add_done_callback(lambda _: sock.close())

    def hear(self, listener: Listener) -> None:
        """Accept only the clients of `listener` from now on. Raises KernelRefused."""
        sockets.hear(self._sock, listener)

    def become(self, listener: Listener, chooser: Chooser) -> None:
        """Send new clients to the endpoints of `listener`."""
        self.listener, self._chooser = listener, chooser

    def close(self) -> None:
        """Cancel the task."""
        self.task.cancel()

    def choose(self, client: str) -> Endpoint | None:
        """Return the endpoint for a new client; None if the last one was removed as it waited."""
        wanted, now = self.listener, asyncio.get_running_loop().time()
        if not wanted.endpoints:
            return None
        return self._chooser.choose(wanted.endpoints, client, wanted.affinity_timeout_s, now)

    @abstractmethod
    async def _listen(self) -> None: ...
