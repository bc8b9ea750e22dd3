"""Where `kproxy run` has its objects from: manifests, or an API server."""

from __future__ import annotations

import signal
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from threading import Event as Flag
from types import FrameType
from typing import TYPE_CHECKING, NoReturn, Protocol

from msgspec import Struct

from kproxy.api.manifests import api_version
from kproxy.backend import Mode
from kproxy.config import ProxyConfig, node_name
from kproxy.garbage import uncollected
from kproxy.kubernetes import events
from kproxy.kubernetes.stream import Rejection
from kproxy.proxy.events import Event
from kproxy.store import Store

if TYPE_CHECKING:
    from kproxy.kubernetes.connection import Connection
    from kproxy.kubernetes.recorder import Recorder


class Source(Protocol):
    """A source of objects, whose first objects were read."""

    def watch(self, send: Callable[[Event], None], stopped: Flag) -> None:
        """Send what changes, until `stopped` is set."""


def _nobody(_event: events.Event) -> None:
    return


class Opened(Struct, frozen=True):
    """A source, and how to reach the API server behind it, if there is one.

    `record` sends an Event; `away_s` tells for how many seconds the API server has been away.
    `answers` are those of the first requests: status, method, host and seconds.
    """

    source: Source
    record: Callable[[events.Event], None] = _nobody
    away_s: Callable[[], float] | None = None
    connection: Connection | None = None
    recorder: Recorder | None = None
    answers: Sequence[tuple[str, str, str, float]] = ()

    def count_requests(self, count: Callable[[str, str, str, float], object]) -> None:
        """Call `count` for each request to the API server from now on, and for those so far."""
        for answer in self.answers:
            count(*answer)
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


def read_api_server(
    config: ProxyConfig, mode: Mode, store: Store, *, master: str, wait: bool
) -> Opened:
    """Fill a store from an API server, and return it as the source of all changes.

    Waits for this node's Node, and for as long as the API server is away. Without `wait` raises
    BadInput if there is no such Node. Raises BadInput if there is no access.
    """
    from kproxy.kubernetes.connection import Connection
    from kproxy.kubernetes.recorder import SEND_S, Recorder
    from kproxy.kubernetes.resources import ENDPOINT_SLICES, SERVICE_CIDRS, SERVICES
    from kproxy.sources.api_server import ApiServer

    name = node_name(config)
    connection = Connection(config.client_connection.kubeconfig, master=master)
    recorder = Recorder(partial(connection.post, timeout_s=SEND_S), socket.gethostname())

    def reject(rejection: Rejection) -> None:
        told = "; ".join(rejection.problems)
        recorder.record(events.invalid_object(_regarding(rejection), name, told))

    answers: list[tuple[str, str, str, float]] = []
    connection.on_answer = lambda *answer: answers.append(answer)
    source = ApiServer(connection, on_rejected=reject)
    wanted = [SERVICES, ENDPOINT_SLICES]
    if mode.config.service_cidrs:
        wanted.append(SERVICE_CIDRS)
    with _ending_at_once(), uncollected():
        source.node(name, wait=wait)
        for update in source.read(wanted):
            store.apply(update)
    recorder.record(events.starting(name))
    return Opened(source, recorder.record, lambda: source.away_s, connection, recorder, answers)


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
