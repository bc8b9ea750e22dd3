"""Where `kproxy run` has its objects from: manifests, or an API server."""

from __future__ import annotations

import logging
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from queue import SimpleQueue
from threading import Event as Flag
from types import FrameType
from typing import TYPE_CHECKING, NoReturn, Protocol

from msgspec import Struct

from kproxy.api.typed_kinds import api_version
from kproxy.backend import Mode
from kproxy.config import ProxyConfig, node_name
from kproxy.garbage import collect_rarely, uncollected
from kproxy.kubernetes import events
from kproxy.kubernetes.stream import Rejection
from kproxy.proxy.events import Changed, Complete, Event, Rejected, SourceLost
from kproxy.store import Store

if TYPE_CHECKING:
    from kproxy.kubernetes.connection import Connection
    from kproxy.kubernetes.recorder import Recorder
    from kproxy.sources.api_server import ApiServer

log = logging.getLogger("kproxy")


class Source(Protocol):
    """A source of objects."""

    def watch(self, send: Callable[[Event], None], stopped: Flag) -> None:
        """Send what changes, until `stopped` is set."""


def _nobody(_event: events.Event) -> None:
    return


class Opened(Struct, frozen=True):
    """A source, and how to reach the API server behind it, if there is one.

    `wake`: to be called after the source was told to stop. `record` sends an Event; `away_s` tells
    for how many seconds the API server has been away.
    """

    source: Source
    wake: Callable[[], None] = lambda: None
    record: Callable[[events.Event], None] = _nobody
    away_s: Callable[[], float] | None = None
    connection: Connection | None = None
    recorder: Recorder | None = None

    def count_requests(self, count: Callable[[str, str, str, float], object]) -> None:
        """Call `count` for each request to the API server from now on."""
        if self.connection:
            self.connection.on_answer = count

    def report_listener(self, node: str, reason: str, note: str) -> None:
        """Send the Event of a server that cannot listen, by its reason."""
        for event in (events.health_server_failed, events.metrics_server_failed):
            if (made := event(node, note)).reason == reason:
                self.record(made)

    def close(self) -> None:
        """Send the Events that wait, and close the connections."""
        if self.recorder:
            self.recorder.close()
        if self.connection:
            self.connection.close()


class Watcher:
    """A thread that watches a source. A context manager: the thread ends with its block.

    The thread stays in the network namespace in which it is made, where the API server is.
    """

    def __init__(self, opened: Opened) -> None:
        self._opened = opened
        self._receiver: SimpleQueue[Callable[[Event], None] | None] = SimpleQueue()
        self._stopped = Flag()
        self._thread = threading.Thread(target=self._run, name="kproxy-source", daemon=True)

    def __enter__(self) -> Watcher:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def begin(self, send: Callable[[Event], None]) -> None:
        """Send events from now on; the last one is `SourceLost` if the source fails."""
        self._receiver.put(send)

    def stop(self) -> None:
        """End the thread. Harmless when repeated."""
        self._receiver.put(None)
        self._stopped.set()
        self._opened.wake()
        self._thread.join()

    def _run(self) -> None:
        send = self._receiver.get()
        if send is None:
            return
        try:
            self._opened.source.watch(send, self._stopped)
        except BaseException as error:  # no caller of this thread would see it
            send(SourceLost(error))


def source_problems(config: ProxyConfig, manifests: tuple[str, ...], master: str) -> list[str]:
    """Return what is wrong with the choice of a source."""
    if not manifests:
        return []
    kubeconfig = config.client_connection.kubeconfig
    given = [f"kubeconfig {kubeconfig}"] if kubeconfig else []
    given += ["--master"] if master else []
    return [
        f"--manifests: {each} names another source of Services; give only one of them"
        for each in given
    ]


def open_api_server(config: ProxyConfig, mode: Mode, *, master: str, wait: bool) -> Opened:
    """Return an API server as the source of all objects, beginning with this node's Node.

    Nothing is asked of it yet. It will wait for as long as the API server is away, and for this
    node's Node; without `wait`, `watch` raises BadInput if there is none. Raises BadInput if there
    is no access. SIGTERM and SIGINT end the process meanwhile.
    """
    from kproxy.kubernetes.connection import Connection
    from kproxy.kubernetes.recorder import SEND_S, Recorder
    from kproxy.sources.api_server import ApiServer

    name = node_name(config)
    with _ending_at_once():  # a credential plug-in may take a minute
        connection = Connection(config.client_connection.kubeconfig, master=master)
    recorder = Recorder(partial(connection.post, timeout_s=SEND_S), socket.gethostname())

    def reject(rejection: Rejection) -> None:
        told = "; ".join(rejection.problems)
        recorder.record(events.invalid_object(_regarding(rejection), name, told))

    source = ApiServer(connection, on_rejected=reject)
    return Opened(
        _Collections(source, name, mode, recorder, wait=wait),
        source.wake,
        recorder.record,
        lambda: source.away_s,
        connection,
        recorder,
    )


class _Collections:
    """The collections of an API server that a proxy in this mode needs, as one source."""

    def __init__(
        self, source: ApiServer, node: str, mode: Mode, recorder: Recorder, *, wait: bool
    ) -> None:
        from kproxy.kubernetes.resources import ENDPOINT_SLICES, SERVICE_CIDRS, SERVICES

        self._source = source
        self._node = node
        self._recorder = recorder
        self._wait = wait
        self._wanted = [SERVICES, ENDPOINT_SLICES]
        if mode.config.service_cidrs:
            self._wanted.append(SERVICE_CIDRS)

    def watch(self, send: Callable[[Event], None], stopped: Flag) -> None:
        def starting() -> None:
            self._recorder.record(events.starting(self._node))

        collect_rarely()
        self._source.follow(
            self._node, self._wanted, send, stopped, wait=self._wait, on_node=starting
        )


def read_now(opened: Opened, store: Store) -> None:
    """Fill a store with what an API server has now; it is not watched. Raises as `watch` does.

    SIGTERM and SIGINT end the process meanwhile.
    """
    stopped = Flag()

    def take(event: Event) -> None:
        match event:
            case Changed(update) if not stopped.is_set():
                store.apply(update)
            case Rejected(problems):
                log.error("left out, as it cannot be accepted: %s", "; ".join(problems))
            case Complete():
                stopped.set()

    with _ending_at_once(), uncollected():
        opened.source.watch(take, stopped)


def _regarding(rejection: Rejection) -> events.Regarding:
    return events.Regarding(
        kind=rejection.kind,
        name=rejection.metadata.name,
        namespace=rejection.metadata.namespace,
        uid=rejection.metadata.uid,
        api_version=api_version(rejection.kind),
        resource_version=rejection.metadata.resource_version,
    )


@contextmanager
def _ending_at_once() -> Iterator[None]:
    """End the process by SIGTERM or SIGINT in the block: nothing is begun yet.

    As the first process of a container it would otherwise ignore the first one.
    """

    def end(_number: int, _frame: FrameType | None) -> NoReturn:
        sys.exit(0)

    former = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
