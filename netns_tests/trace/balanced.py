"""Traces of a client outside that asks the public addresses of a load balancer."""

from __future__ import annotations

from collections.abc import Iterator

from kproxy.address import Family
from kproxy.explain import Itinerary, trace
from kproxy.lab import Lab
from netns_tests.edge.edge_lab import apply, listener, web
from netns_tests.run.running import until


def through_the_load_balancer(lab: Lab) -> Iterator[Itinerary]:
    """Yield one of each family, which has been answered by way of a gateway and a node."""
    apply(lab, web("Cluster"))
    until("both backends are healthy", lambda: len(listener(lab).healthy) == 2)
    for family in Family:
        address = lab.balancers["lb"].public[family]
        found = trace(lab, "outside", address, port=80, family=family)
        assert (found.at, found.answered) == ("web-a", True)
        chosen = [(each.chosen_by, each.host) for each in found.endpoints]
        (_, node) = chosen[1]
        assert chosen == [("gateway", "lb"), ("lb", node), (node, "web-a")]
        yield found
