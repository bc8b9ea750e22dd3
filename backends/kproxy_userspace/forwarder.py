"""The listeners of one family, on an event loop in a thread of their own."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping
from random import Random
from socket import socket
from weakref import WeakValueDictionary

from kproxy.backend import ServicePortName
from kproxy.relay.choice import Chooser
from kproxy.relay.thread import RelayThread, end
from kproxy_userspace.options import UserspaceOptions
from kproxy_userspace.sockets import Taken, open_at
from kproxy_userspace.tcp import TcpListener
from kproxy_userspace.udp import UdpListener
from kproxy_userspace.wanted import Listener, Place


class Forwarder:
    """The listeners of one family, in the namespace of the thread that creates this object."""

    def __init__(self, options: UserspaceOptions, name: str) -> None:
        """Start the thread, see `RelayThread`."""
        self._options = options
        self._listeners: dict[Place, TcpListener | UdpListener] = {}
        self._connections: defaultdict[str, set[asyncio.Task[None]]] = defaultdict(set)
        self._choosers: WeakValueDictionary[ServicePortName, Chooser] = WeakValueDictionary()
        self._room = asyncio.Semaphore(options.max_connections)
        self._thread = RelayThread(name)

    @property
    def listeners(self) -> Mapping[Place, Listener]:
        """Return the listener at each place. Must not be read during `apply`."""
        return {place: each.listener for place, each in self._listeners.items()}

    @property
    def alive(self) -> bool:
        return not any(each.task.done() for each in self._listeners.values())

    def apply(self, changes: Mapping[Place, Listener | None]) -> set[Place]:
        """Set the listeners at these places, None for no listener: all of them or nothing.

        Returns the places that another process has; no listener of ours is there. Raises
        KernelRefused.
        """
        return self._thread.run(self._apply(changes))

    def reset(self, addresses: Iterable[str]) -> None:
        """Reset the connections to these addresses, which the node must still have."""
        connections = [each for address in addresses for each in self._connections.pop(address, ())]
        self._thread.run(end(connections))

    def close(self) -> None:
        """End all connections and listeners, and the thread."""
        self._thread.close()

    async def _apply(self, changes: Mapping[Place, Listener | None]) -> set[Place]:
        opened, taken = self._open(changes)
        ended = []
        for place, wanted in changes.items():
            former = self._listeners.get(place)
            if former and (wanted is None or former.task.done()):
                former.close()
                ended.append(self._listeners.pop(place).task)
            if wanted and place not in taken:
                chooser = self._chooser(wanted.service)
                if place in opened:
                    self._listeners[place] = self._made(place, opened[place], wanted, chooser)
                else:
                    self._listeners[place].become(wanted, chooser)
        await end(ended)
        return taken

    def _open(
        self, changes: Mapping[Place, Listener | None]
    ) -> tuple[dict[Place, socket], set[Place]]:
        """Do everything that can fail, or nothing. Returns new sockets, and the taken places."""
        opened: dict[Place, socket] = {}
        taken = set()
        heard = []
        try:
            for place, wanted in changes.items():
                present = self._listeners.get(place)
                if wanted and present and not present.task.done():
                    heard.append(present)
                    present.hear(wanted)
                elif wanted:
                    try:
                        opened[place] = open_at(place, wanted)
                    except Taken:
                        taken.add(place)
        except BaseException:
            for sock in opened.values():
                sock.close()
            for present in heard:
                present.hear(present.listener)
            raise
        return opened, taken

    def _made(
        self, place: Place, sock: socket, wanted: Listener, chooser: Chooser
    ) -> TcpListener | UdpListener:
        options = self._options
        if place.protocol == "UDP":
            return UdpListener(sock, wanted, chooser, self._room, options.udp_idle_timeout)
        connections = self._connections[place.address]
        return TcpListener(sock, wanted, chooser, self._room, connections, options.connect_timeout)

    def _chooser(self, service: ServicePortName) -> Chooser:
        """Return the chooser of a service port, which exists as long as listeners share it."""
        return self._choosers.setdefault(service, Chooser(Random()))
