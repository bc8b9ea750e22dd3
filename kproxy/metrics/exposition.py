"""The text of samples for Prometheus, format 0.0.4.

prometheus_client writes the text and reads the process; it is imported at the first scrape (0.04 s
of CPU, 3 MiB), so whom nobody scrapes does not need it. Neither its default registry nor its own
counters are used: those cost more than a change of one Service should, and have samples of their
own (`_created`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from kproxy.backend import MetricKind
from kproxy.metrics.measurements import Histogram, Sample

if TYPE_CHECKING:
    from prometheus_client.core import HistogramMetricFamily, Metric

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def text_of(samples: Iterable[Sample], *, process: bool = False) -> bytes:
    """Return the text of all samples, metric by metric in alphabetical order.

    `process`: with those of the process and of Python, too.
    """
    from prometheus_client import exposition
    from prometheus_client.registry import CollectorRegistry

    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Given(lambda: _families(samples)))
    if process:
        from prometheus_client import PlatformCollector, ProcessCollector

        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
    return exposition.generate_latest(registry)


class _Given:
    """A collector of metrics that there are already."""

    def __init__(self, families: Callable[[], Iterator[Metric]]) -> None:
        self._families = families

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        return self._families()


def _families(samples: Iterable[Sample]) -> Iterator[Metric]:
    from prometheus_client.core import (
        CounterMetricFamily,
        GaugeMetricFamily,
        HistogramMetricFamily,
    )

    by_metric: dict[str, list[Sample]] = {}
    for sample in samples:
        by_metric.setdefault(sample.metric.name, []).append(sample)
    for name in sorted(by_metric):
        metric = by_metric[name][0].metric
        if metric.kind is MetricKind.HISTOGRAM:
            histogram = HistogramMetricFamily(name, metric.help, labels=metric.labels)
            for sample in by_metric[name]:
                _add_histogram(histogram, sample)
            yield histogram
            continue
        kind = CounterMetricFamily if metric.kind is MetricKind.COUNTER else GaugeMetricFamily
        family = kind(name, metric.help, labels=metric.labels)
        for sample in by_metric[name]:
            if not isinstance(sample.value, Histogram):
                family.add_metric(sample.labels, sample.value)
        yield family


def _add_histogram(family: HistogramMetricFamily, sample: Sample) -> None:
    if isinstance(sample.value, Histogram):
        bounds = [*map(_bound, sample.metric.buckets), "+Inf"]
        buckets = [*zip(bounds, map(float, sample.value.cumulative), strict=True)]
        family.add_metric(sample.labels, buckets, sum_value=sample.value.sum)


def _bound(value: float) -> str:
    """Return a bound as Go prints it: 1 where Python has 1.0. Prometheus compares the text."""
    return f"{value:g}"
