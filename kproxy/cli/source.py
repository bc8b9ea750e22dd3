"""Where `kproxy run` has its objects from: manifests, or an API server."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event as Flag
from types import FrameType
from typing import NoReturn, Protocol

from kproxy.backend import Mode
from kproxy.config import ProxyConfig, node_name
from kproxy.proxy.events import Event
from kproxy.sources.api_server import ApiServer
from kproxy.store import Store


class Source(Protocol):
    """A source of objects, after its first objects were read."""

    def watch(self, send: Callable[[Event], None], stopped: Flag) -> None:
        """Send what changes, until `stopped` is set."""


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
) -> ApiServer:
    """Fill a store from an API server, and return the source of all changes.

    Waits for this node's Node, and for as long as the API server is away. Without `wait` raises
    BadInput if there is no such Node. Raises BadInput if there is no access.
    """
    from kproxy.kubernetes.connection import Connection
    from kproxy.kubernetes.resources import ENDPOINT_SLICES, SERVICE_CIDRS, SERVICES

    connection = Connection(config.client_connection.kubeconfig, master=master)
    source = ApiServer(connection)
    wanted = [SERVICES, ENDPOINT_SLICES]
    if mode.config.service_cidrs:
        wanted.append(SERVICE_CIDRS)
    with _ending_at_once():
        source.node(node_name(config), wait=wait)
        for update in source.read(wanted):
            store.apply(update)
    return source


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
