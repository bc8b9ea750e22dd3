"""Figures that a backend counts about itself, for the metrics of a proxy.

A mode that counts nothing needs none of this. `Metric` is the definition of a metric, `Figure` one
sample of it; names, types and labels of kube-proxy's own are those of kube-proxy.
"""

from __future__ import annotations

import enum
from typing import NamedTuple, Protocol, runtime_checkable

from msgspec import Struct


class MetricKind(enum.Enum):
    """The type of a metric, as Prometheus names it."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Metric(Struct, frozen=True, kw_only=True):
    """The definition of a metric. `name` is the whole name; `buckets` are a histogram's bounds."""

    name: str
    kind: MetricKind
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


class Figure(NamedTuple):
    """The value of a counter or gauge; `labels` are values in the order of the metric's labels."""

    metric: Metric
    labels: tuple[str, ...]
    value: float


@runtime_checkable
class Counting(Protocol):
    """The method of a backend that has figures."""

    def figures(self) -> tuple[Figure, ...]:
        """Return what there is to count now, with the family among the labels.

        Called at each scrape, by another thread than `sync` and perhaps during it, in the node's
        namespace. So it must change nothing, open sockets of its own, and answer within
        milliseconds. What both families give with the same labels is taken once. Raises
        KernelRefused, Unsupported, OSError; then these figures are missing from that scrape.
        """
        ...
