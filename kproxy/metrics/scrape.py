"""All that /metrics has to say: what is measured, what backends count, and what runs here."""

from __future__ import annotations

import logging
import platform
from collections.abc import Callable, Collection, Iterator
from functools import cached_property
from typing import Protocol

from kproxy.backend import Backend, Counting
from kproxy.config import ProxyConfig
from kproxy.config.gates import GATES, enabled
from kproxy.errors import KproxyError
from kproxy.kernel.netns import Namespace
from kproxy.metrics import definitions as define
from kproxy.metrics.measurements import Measurements, Sample

log = logging.getLogger("kproxy")


class LoopCounters(Protocol):
    """The counters of a control loop (`kproxy.proxy.control_loop.Counters`)."""

    failed_syncs: int
    repairs: int
    rejected: int


class Scrape:
    """The samples of one node's proxy. `samples` is called by one thread, which may be any.

    `api_server_away_s` returns for how long the API server has not been heard of; None where the
    objects come from elsewhere.
    """

    def __init__(
        self,
        measurements: Measurements,
        backends: Collection[Backend],
        namespace: Namespace,
        config: ProxyConfig,
        counters: LoopCounters,
        api_server_away_s: Callable[[], float] | None = None,
    ) -> None:
        self._measurements = measurements
        self._backends = [each for each in backends if isinstance(each, Counting)]
        self._namespace = namespace
        self._config = config
        self._counters = counters
        self._api_server_away_s = api_server_away_s
        self._problems: set[str] = set()  # each is logged once

    def samples(self) -> Iterator[Sample]:
        found = [
            *self._measurements.samples(),
            *self._of_backends(),
            *self._of_the_loop(),
            *self._constant,
        ]
        yield from found
        registered = len({sample.metric.name for sample in found})
        yield Sample(define.REGISTERED, ("", "ALPHA"), registered)

    def _of_backends(self) -> list[Sample]:
        """Return what backends count; where both families say the same, it is taken once."""
        found: dict[tuple[str, tuple[str, ...]], Sample] = {}
        for backend in self._backends:
            try:
                with self._namespace.entered():
                    figures = backend.figures()
            except (KproxyError, OSError) as error:
                self._complain(" | ".join(str(error).splitlines()))
                continue
            for figure in figures:
                found.setdefault((figure.metric.name, figure.labels), Sample(*figure))
        return [*found.values()]

    def _complain(self, problem: str) -> None:
        if problem not in self._problems:
            self._problems.add(problem)
            log.error("/metrics lacks what a backend counts: %s", problem)

    def _of_the_loop(self) -> Iterator[Sample]:
        yield Sample(define.FAILED_SYNCS, (), self._counters.failed_syncs)
        yield Sample(define.REPAIRS, (), self._counters.repairs)
        yield Sample(define.REJECTED, (), self._counters.rejected)
        if self._api_server_away_s:
            yield Sample(define.API_SERVER_AWAY, (), self._api_server_away_s())

    @cached_property
    def _constant(self) -> tuple[Sample, ...]:
        from importlib.metadata import version

        config, emulate = self._config, self._config.emulate
        major, _, minor = emulate.value.partition(".")
        release, dash, stage = minor.partition("-")
        labels = {
            "git_version": f"v{major}.{release}.0{dash}{stage}+kproxy-{version('kproxy')}",
            "major": major,
            "minor": release,
            "platform": f"linux/{platform.machine()}",
        }
        build = tuple(labels.get(name, "") for name in define.BUILD_INFO.labels)
        own = (emulate.value, config.mode, version("kproxy"))
        gates = (
            Sample(
                define.FEATURE_ENABLED,
                (name, gate.stage_in(emulate)),
                float(enabled(config.feature_gates, name, emulate)),
            )
            for name, gate in GATES.items()
            if gate.known_in(emulate)
        )
        return (
            Sample(define.BUILD_INFO, build, 1),
            Sample(define.KPROXY_BUILD_INFO, own, 1),
            *gates,
        )
