"""Tells what a lab is made of, and then each write to it, to whoever listens."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any

from kproxy.controlplane.plane import Json, Write
from kproxy.controlplane.registry import document_key
from kproxy.lab import Lab
from kproxy.lab.models import MODELS, Transport
from kproxy.lab.names import GATEWAY, ROUTER, interface
from kproxy.store import ObjectKey

KINDS = frozenset({"Node", "Pod", "Service", "EndpointSlice", "Event"})
_MOST_WAITING = 100_000  # writes


class Told:
    """The writes that one listener has not taken yet. `lost`: it was too late and misses some."""

    def __init__(self) -> None:
        self.writes: SimpleQueue[Write] = SimpleQueue()
        self.lost = False


class Telling:
    """Follows a lab's control plane once, for any number of listeners. Thread-safe.

    Writes wait for no listener: one that is too late is told so, and has to begin again.
    """

    def __init__(self, follow: Callable[[Callable[[Write], None]], list[Json]]) -> None:
        """Take what `Lab.follow` is."""
        self._follow = follow
        self._starting = threading.Lock()
        self._lock = threading.Lock()
        self._documents: dict[ObjectKey, Json] | None = None
        self._written: set[ObjectKey] = set()
        self._listeners: list[Told] = []

    @contextmanager
    def listen(self) -> Iterator[tuple[list[Json], Told]]:
        """Yield all documents of `KINDS`, and what is told of every later write, in order.

        Raises BadInput without a control plane.
        """
        self._start()
        told = Told()
        with self._lock:
            there = [*(self._documents or {}).values()]
            self._listeners.append(told)
        try:
            yield there, told
        finally:
            with self._lock:
                self._listeners.remove(told)

    def _start(self) -> None:
        """Follow the control plane. It calls under its lock, so it is asked without ours."""
        with self._starting:
            if self._documents is not None:
                return
            found = {document_key(each): each for each in self._follow(self._note)}
            with self._lock:
                known: dict[ObjectKey, Json] = self._documents or {}
                self._documents = known | {
                    key: document
                    for key, document in found.items()
                    if key[0] in KINDS and key not in self._written
                }
                self._written.clear()

    def _note(self, write: Write) -> None:
        if write.key[0] not in KINDS:
            return
        with self._lock:
            if self._documents is None:
                self._documents = {}
            if write.document is None:
                self._documents.pop(write.key, None)
            else:
                self._documents[write.key] = write.document
            if self._starting.locked():
                self._written.add(write.key)
            for each in self._listeners:
                if each.writes.qsize() < _MOST_WAITING:
                    each.writes.put(write)
                else:
                    each.lost = True


def fixed_hosts(lab: Lab) -> list[dict[str, Any]]:
    """Return the hosts that stay while the lab runs, as JSON: nodes, clients, load balancers, what
    is between them. `to` is the host that its uplink leads to, `there` the link's name on that.
    """
    outside = GATEWAY if GATEWAY in lab.hosts else ROUTER
    found = []
    for name, host in lab.hosts.items():
        if name in lab.pods:
            continue
        kind = _kind(lab, name)
        to = "" if name == ROUTER else outside if kind == "client" else ROUTER
        values: dict[str, Any] = {
            "name": name,
            "kind": kind,
            "addresses": [*host.addresses.values()],
            "to": to,
            "there": interface(name) if to else "",
        }
        if name in lab.nodes:
            values["zone"] = lab.nodes[name].zone
            values["podCIDRs"] = [*lab.nodes[name].subnets.values()]
        if public := lab.public.get(name):
            values["public"] = [*public.values()]
        found.append(values)
    return found


def pods_are_on(lab: Lab) -> str:
    """Return where the link of a pod leads: to its "node", or to the "router"."""
    model = MODELS[lab.spec.network]
    return "router" if model.transport is Transport.UNDERLAY else "node"


def _kind(lab: Lab, name: str) -> str:
    for kind, hosts in (
        ("node", lab.nodes),
        ("client", lab.clients),
        ("balancer", lab.balancers),
    ):
        if name in hosts:
            return kind
    return "router" if name == ROUTER else "gateway"
