"""kube_proxy_metrics.txt as values, and the text of a scrape in the same form, to be compared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from prometheus_client.parser import text_string_to_metric_families

_TABLE = Path(__file__).with_suffix(".txt")
_PREFIX = "kubeproxy_"
_BUCKETS = {
    "": (),
    "latency": tuple(str(2**power / 1000) for power in range(15)),
    "programming": (
        "0.25",
        "0.5",
        *map(str, range(1, 60)),
        *map(str, range(60, 120, 5)),
        *map(str, range(120, 301, 30)),
    ),
}


class Shape(NamedTuple):
    """The form of a metric. `buckets`: the bounds as they are written, without +Inf."""

    kind: str
    labels: frozenset[str]
    buckets: tuple[str, ...]


def expected(*where: str) -> dict[str, Shape]:
    """Return kube-proxy's metrics that there are at any of these places, by name."""
    return {name: shape for name, places, shape in _rows() if {*where} & {*places}}


def expected_anywhere() -> dict[str, Shape]:
    return {name: shape for name, _, shape in _rows()}


def _rows() -> Iterator[tuple[str, list[str], Shape]]:
    for line in _TABLE.read_text().splitlines():
        if not line.startswith("#"):
            name, kind, labels, where, buckets = (part.strip() for part in f"{line} ".split("|"))
            bounds = tuple(each.removesuffix(".0") for each in _BUCKETS[buckets])
            yield f"{_PREFIX}{name}", where.split(), Shape(kind, frozenset(labels.split()), bounds)


def scraped(text: str) -> dict[str, Shape]:
    """Return the metrics in a text, by name; each must have the same labels in all samples."""
    found = {}
    for family in text_string_to_metric_families(text):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels = {frozenset(sample.labels) - {"le"} for sample in family.samples}
        assert len(labels) == 1, f"{name} has samples with different labels"
        bounds = dict.fromkeys(
            sample.labels["le"] for sample in family.samples if sample.name.endswith("_bucket")
        )
        assert not bounds or [*bounds][-1] == "+Inf"
        found[name] = Shape(family.type, labels.pop(), tuple(bounds)[:-1])
    return found


def of_kube_proxy(shapes: Mapping[str, Shape]) -> dict[str, Shape]:
    return {name: shape for name, shape in shapes.items() if name.startswith(_PREFIX)}


def values(text: str) -> dict[str, float]:
    """Return the samples of a scrape, such as `name{a="b",c="d"}` -> 1.0, labels in order."""
    found = {}
    for family in text_string_to_metric_families(text):
        for name, labels, value, *_ in family.samples:
            inside = ",".join(f'{key}="{labels[key]}"' for key in sorted(labels))
            found[f"{name}{{{inside}}}" if inside else name] = value
    return found
