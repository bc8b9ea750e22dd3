"""The parts of a `kproxy run` that runs until it is told to stop.

The servers listen and the control loop runs before anything is known: so a proxy that waits for an
API server answers, feeds a watchdog, notices its configuration, and can be stopped, as any other.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from types import FrameType
from typing import TYPE_CHECKING

from kproxy.address import Family
from kproxy.backend import Mode, Support
from kproxy.cli.source import Opened, Watcher
from kproxy.config import ProxyConfig, node_name
from kproxy.config.warnings import start_warnings
from kproxy.garbage import give_back_memory, keep_for_good
from kproxy.kubernetes import events
from kproxy.proxy import NodeProxy
from kproxy.proxy.control_loop import ControlLoop
from kproxy.proxy.events import Stop
from kproxy.proxy.frequency import FULL_INTERVAL_S, BoundedFrequency
from kproxy.proxy.leftovers import Leftovers
from kproxy.proxy.node_watch import NodeWatch
from kproxy.proxy.setup import require_families
from kproxy.serve import HttpServer, ServiceHealth
from kproxy.store import ServiceKey, Store

if TYPE_CHECKING:
    from kproxy.metrics.measurements import Measurements

log = logging.getLogger("kproxy")


class OwnNode:
    """Judges the Node of a proxy: at first whether it can be served here, then what has changed.

    `missing`: the families that do not work here, and why.
    """

    def __init__(
        self, config: ProxyConfig, mode: Mode, store: Store, missing: Mapping[Family, Support]
    ) -> None:
        self._config = config
        self._mode = mode
        self._store = store
        self._missing = missing
        self._watch: NodeWatch | None = None  # once there was a first check

    def check(self) -> None:
        """Look at the Node as the store has it now. Raises what ends a proxy."""
        config = self._config
        node = self._store.node(node_name(config))
        if self._watch:
            self._watch.check(node)
            return
        require_families(self._mode, config, node, self._missing)
        families = [family for family in Family if family not in self._missing]
        for warning in start_warnings(config, node, families, self._mode.config):
            log.warning("%s", warning)
        self._watch = NodeWatch(
            node, config.emulate, pod_cidrs_count=config.detect_local_mode == "NodeCIDR"
        )


def frequency(config: ProxyConfig, mode: Mode) -> BoundedFrequency:
    """Return how often a mode syncs with this configuration."""
    timing = mode.config.timing_of(config)
    often = mode.config.full_sync_each_period
    return BoundedFrequency(
        min_interval_s=timing.min_sync_period,
        retry_limit_s=timing.sync_period,
        full_interval_s=timing.sync_period if often else FULL_INTERVAL_S,
    )


def settle(leftovers: Leftovers) -> float:
    """Do what is due after the first sync, and return as `Leftovers.remove` does."""
    keep_for_good()
    give_back_memory()
    return leftovers.remove()


def serve(
    loop: ControlLoop,
    proxy: NodeProxy,
    node: str,
    opened: Opened,
    watcher: Watcher,
    servers: Callable[[HttpServer], AbstractContextManager[Measurements]],
) -> None:
    """Run the loop, with servers and a source, until SIGTERM or SIGINT."""

    def not_listening(service: ServiceKey, port: int, error: str) -> None:
        opened.record(events.service_health_server_failed(node, *service, port, error))

    with _stopped_by_signals(loop), closing(HttpServer()) as server, servers(server) as measured:
        opened.count_requests(measured.api_request)
        health = ServiceHealth(server, lambda: proxy.health.healthy, not_listening)
        proxy.on_synced = health.update
        watcher.begin(loop.send)
        try:
            loop.run()
        finally:
            watcher.stop()


@contextmanager
def _stopped_by_signals(loop: ControlLoop) -> Iterator[None]:
    """End the loop, after a running sync, at a first SIGTERM or SIGINT; the process at a second."""
    former = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def stop(_number: int, _frame: FrameType | None) -> None:
        for number, handler in former.items():
            signal.signal(number, handler)
        loop.send(Stop())

    for number in former:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
