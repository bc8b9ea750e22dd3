"""Probes: real packets and real connections, and checks that compare them with the oracle.

`Prober` sends packets made by scapy from inside the clients, and reports the outcome of each;
`connect_many` makes kernel connections. `checks` compares both with the predictions; all three are
values of `kproxy.outcome`. `fetch_many` sends HTTP requests, for instance to an ingress.
`datagrams` defines the payload of UDP probes, for the servers that answer them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kproxy.probe.checks import (
        Finding,
        Question,
        affinity,
        affinity_expiry,
        distribution,
        examine,
        prediction_for,
    )
    from kproxy.probe.connection import (
        connect,
        connect_many,
    )
    from kproxy.probe.http import Fetched, HttpRequest, fetch, fetch_many
    from kproxy.probe.prober import Probed, Prober, probe_many

__all__ = [
    "Fetched",
    "Finding",
    "HttpRequest",
    "Probed",
    "Prober",
    "Question",
    "affinity",
    "affinity_expiry",
    "connect",
    "connect_many",
    "distribution",
    "examine",
    "fetch",
    "fetch_many",
    "prediction_for",
    "probe_many",
]

_MODULES = {
    "Finding": "kproxy.probe.checks",
    "Question": "kproxy.probe.checks",
    "affinity": "kproxy.probe.checks",
    "affinity_expiry": "kproxy.probe.checks",
    "distribution": "kproxy.probe.checks",
    "examine": "kproxy.probe.checks",
    "prediction_for": "kproxy.probe.checks",
    "connect": "kproxy.probe.connection",
    "connect_many": "kproxy.probe.connection",
    "Fetched": "kproxy.probe.http",
    "HttpRequest": "kproxy.probe.http",
    "fetch": "kproxy.probe.http",
    "fetch_many": "kproxy.probe.http",
    "Probed": "kproxy.probe.prober",
    "Prober": "kproxy.probe.prober",
    "probe_many": "kproxy.probe.prober",
}


def __getattr__(name: str) -> Any:
    # Loaded at first use: scapy takes a quarter of a second, and pods need only `datagrams`.
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)
