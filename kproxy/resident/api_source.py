"""Proxies that have their objects from the lab's own API, as `kproxy run` has them on a cluster.

Each node has a thread and connections of its own, made in the node's namespace: its requests go
through the lab's network to the router, where the API listens.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from queue import Empty, SimpleQueue

from kproxy.api.types import KubernetesObject
from kproxy.backend import load
from kproxy.errors import KproxyError, TimedOut
from kproxy.kubernetes.connection import Connection
from kproxy.kubernetes.credentials import Settings
from kproxy.kubernetes.resources import ENDPOINT_SLICES, SERVICE_CIDRS, SERVICES, Resource
from kproxy.lab import Lab, LabNode
from kproxy.proxy.events import Changed, Event, SourceLost
from kproxy.resident.kubeconfig import read_access, tls_context
from kproxy.sources.api_server import ApiServer
from kproxy.store import ObjectKey, Update, object_key

View = Mapping[ObjectKey, KubernetesObject]
_READY_S = 30.0
_IN_FORCE_S = 60.0
_LOOK_AGAIN_S = 1.0  # without news of the node: what is awaited may be another thing by then
_AGAIN_S = 1.0  # after a sync that failed

log = logging.getLogger("kproxy")


class ApiSources:
    """The sources of all nodes of a lab whose proxies follow nothing else."""

    def __init__(self, lab: Lab, kubeconfig: Path) -> None:
        """Start them, and return when every node has synced. `kubeconfig`: for the lab's hosts.

        Raises TimedOut, and what the sources or syncs raise until then.
        """
        settings = _settings(kubeconfig)
        self._nodes = [_NodeSource(lab, node, settings) for node in lab.nodes.values()]
        with ExitStack() as undo:
            undo.callback(self.close)
            for node in self._nodes:
                node.start()
            for node in self._nodes:
                node.await_first_sync()
            undo.pop_all()

    def await_on_all(self, has_come: Callable[[str, View], bool]) -> None:
        """Return when `has_come`, asked with the name of a node and the objects that it has in
        force, has been true of each node.

        Raises TimedOut, and what a sync of a node raises meanwhile.
        """
        for node in self._nodes:
            node.await_until(has_come)

    def close(self) -> None:
        """End all threads. Harmless when repeated."""
        for node in self._nodes:
            node.stop()
        for node in self._nodes:
            node.join()


class _NodeSource(threading.Thread):
    """The source of one node, and the syncs that it causes."""

    def __init__(self, lab: Lab, node: LabNode, settings: Settings) -> None:
        super().__init__(name=f"kproxy-source-{node.name}", daemon=True)
        self._lab, self._node, self._settings = lab, node, settings
        self._events: SimpleQueue[Event | None] = SimpleQueue()
        self._stopped = threading.Event()
        self._first = threading.Event()
        self._error: KproxyError | None = None
        self._due = Update()  # what has come, and is not in force
        self._news = threading.Condition()  # protects the next two
        self._view: dict[ObjectKey, KubernetesObject] = {}
        self._failure: KproxyError | None = None  # of the last sync

    def stop(self) -> None:
        self._stopped.set()
        self._events.put(None)

    def await_first_sync(self) -> None:
        """Return when the node has synced once. Raises what has gone wrong until then."""
        if not self._first.wait(_READY_S):
            raise TimedOut(f"{self._node.name}: the API has not answered within {_READY_S:g} s")
        if self._error:
            raise self._error

    def await_until(self, has_come: Callable[[str, View], bool]) -> None:
        end = time.monotonic() + _IN_FORCE_S
        with self._news:
            before = self._failure
            while not has_come(self._node.name, self._view):
                if self._failure and self._failure is not before:
                    raise self._failure
                if time.monotonic() >= end:
                    raise TimedOut(
                        f"{self._node.name}: the API's objects are not in force after "
                        f"{_IN_FORCE_S:g} s"
                    )
                self._news.wait(_LOOK_AGAIN_S)

    def run(self) -> None:
        with ExitStack() as undo:
            try:
                # Threads that are started in the namespace stay there, and so do their sockets.
                with self._node.namespace.entered():
                    connection = Connection("", settings=self._settings)
                    undo.callback(connection.close)
                    source = ApiServer(connection)
                    undo.callback(source.close)
                    source.node(self._node.name)
                    updates = source.read(collections(self._lab))
                self._sync(merged(updates))
            except KproxyError as error:
                self._error = error
                return
            finally:
                self._first.set()
            watch = threading.Thread(
                target=source.watch, args=(self._events.put, self._stopped), daemon=True
            )
            watch.start()
            self._follow()
            watch.join()

    def _follow(self) -> None:
        """Sync whatever comes, all that has come by then at once, until told to stop."""
        again = False
        while not self._stopped.is_set():
            updates = []
            for event in self._taken(_AGAIN_S if again else None):
                match event:
                    case Changed():
                        updates.append(event.update)
                    case SourceLost():
                        log.error("%s: the source is lost: %s", self._node.name, event.error)
                        self._note_failure(KproxyError(f"the source is lost: {event.error}"))
            if self._stopped.is_set():
                return
            try:
                self._sync(merged(updates))
                again = False
            except KproxyError as error:
                log.error("%s: %s", self._node.name, " | ".join(str(error).splitlines()))
                again = True

    def _sync(self, update: Update) -> None:
        """Bring an update into force; a failure has it in the proxy's store, and is due again."""
        self._due = merged((self._due, update))
        try:
            self._lab.sync_proxy(self._node.name, update)
        except KproxyError as error:
            self._note_failure(error)
            raise
        with self._news:
            for key in self._due.deletes:
                self._view.pop(key, None)
            self._view.update((object_key(each), each) for each in self._due.upserts)
            self._due, self._failure = Update(), None
            self._news.notify_all()

    def _note_failure(self, error: KproxyError) -> None:
        with self._news:
            self._failure = error
            self._news.notify_all()

    def _taken(self, timeout_s: float | None) -> list[Event | None]:
        """Return all events that wait, or the next one; none after the timeout."""
        try:
            found = [self._events.get(timeout=timeout_s)]
        except Empty:
            return []
        while not self._events.empty():
            found.append(self._events.get())
        return found


def collections(lab: Lab) -> list[Resource]:
    """Return what the proxy of each node reads, besides its Node."""
    wanted = [SERVICES, ENDPOINT_SLICES]
    if lab.mode and load(lab.mode).config.service_cidrs:
        wanted.append(SERVICE_CIDRS)
    return wanted


def _settings(kubeconfig: Path) -> Settings:
    """Return how the API is reached, without the client library that reads anybody's kubeconfig:
    for that, each node would start a process of 0.4 s.
    """
    access = read_access(kubeconfig)
    return Settings(
        origin=str(kubeconfig),
        url=access.url,
        authorization=f"Bearer {access.token}",
        tls=tls_context(access),
    )


def merged(updates: Iterable[Update]) -> Update:
    """Return one update that has the effect of all of them, one after the other."""
    last: dict[ObjectKey, KubernetesObject | None] = {}
    for update in updates:
        last |= dict.fromkeys(update.deletes)
        last |= {object_key(each): each for each in update.upserts}
    return Update(
        upserts=tuple(each for each in last.values() if each is not None),
        deletes=tuple(key for key, each in last.items() if each is None),
    )
