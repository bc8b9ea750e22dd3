"""What listeners of both protocols have in common."""

from __future__ import annotations

import asyncio
import socket
from abc import ABC, abstractmethod

from kproxy.backend import Endpoint
from kproxy_userspace import sockets
from kproxy_userspace.choice import Chooser
from kproxy_userspace.wanted import Listener


class Serving(ABC):
    """A socket that listens, until it is closed, for what a `Listener` wants. On the event loop.

    `task` listens; with it the socket ends. `room`: for connections and flows of all listeners.
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
        """Hear only the clients of `listener` from now on. Raises KernelRefused."""
        sockets.hear(self._sock, listener)

    def become(self, listener: Listener, chooser: Chooser) -> None:
        """Lead new clients to the endpoints of `listener`."""
        self.listener, self._chooser = listener, chooser

    def close(self) -> None:
        """Have the task end."""
        self.task.cancel()

    def choose(self, client: str) -> Endpoint | None:
        """Return the endpoint for a new client. None: it waited while the last one was removed."""
        wanted, now = self.listener, asyncio.get_running_loop().time()
        if not wanted.endpoints:
            return None
        return self._chooser.choose(wanted.endpoints, client, wanted.affinity_timeout_s, now)

    @abstractmethod
    async def _listen(self) -> None: ...
