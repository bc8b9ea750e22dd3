"""Probes: real packets and real connections, and checks that hold them against the oracle.

`Prober` sends packets that scapy made from inside the clients, and reports what became of each;
`connect_many` makes kernel connections. `checks` compares both with the predictions. `fetch_many`
asks in HTTP, for instance an ingress.
Importing this package imports scapy, which takes a quarter of a second.
"""

from kproxy.probe.checks import (
    Finding,
    Question,
    affinity,
    affinity_expiry,
    distribution,
    examine,
    verdict_for,
)
from kproxy.probe.connection import (
    Connected,
    Connection,
    Failure,
    NotConnected,
    connect,
    connect_many,
)
from kproxy.probe.http import Fetched, HttpRequest, fetch, fetch_many
from kproxy.probe.outcome import Delivered, Dropped, How, Outcome, Refused
from kproxy.probe.prober import Probed, Prober, probe_many

__all__ = [
    "Connected",
    "Connection",
    "Delivered",
    "Dropped",
    "Failure",
    "Fetched",
    "Finding",
    "How",
    "HttpRequest",
    "NotConnected",
    "Outcome",
    "Probed",
    "Prober",
    "Question",
    "Refused",
    "affinity",
    "affinity_expiry",
    "connect",
    "connect_many",
    "distribution",
    "examine",
    "fetch",
    "fetch_many",
    "probe_many",
    "verdict_for",
]
