"""Why a packet ended where it did, by observation and not by expectation.

    taps of the prober (hosts, links and addresses of each sighting)       ┐
    traces of netfilter in every host (rules that matched, their verdicts) ├─> reason
    facts of the host (routes, reverse path, own addresses)                ┘

traces     netfilter's traces in the hosts of a lab, sorted by probe
facts      queries to a host after the packet has ended there
walk       the translations and links of a probe on each host
rule_names the name of a rule in a sentence
reason     one sentence
explainer  all of it for many requests at once, with the connections that they are about
sources    names for the addresses that servers see

`trace` follows one probe, and returns all that was seen of it:

itinerary  its values, which are also the JSON of `kproxy trace`
targets    the packet that names of hosts and Services mean
effects    what a rule did to a packet
hops       the packet on each host: sightings, rules and conntrack put together
tracing    sends the probe, and another one to a proxy or an ingress that accepts it
relaying   a real connection, where a proxy or an ingress has accepted the probe
onward     the connections that these make of their own, among all that was seen
through    the itinerary of all of them
ways       puts itineraries together, and asks the hosts for routes and conntrack
picture    draws an itinerary
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kproxy.explain.itinerary import Itinerary
    from kproxy.explain.tracing import Tracer, trace

__all__ = ["Itinerary", "Tracer", "trace"]


_MODULES = {"Itinerary": "itinerary", "Tracer": "tracing", "trace": "tracing"}


def __getattr__(name: str) -> Any:
    # Loaded at first use: whoever prints an itinerary needs neither a lab nor taps.
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"kproxy.explain.{_MODULES[name]}"), name)
