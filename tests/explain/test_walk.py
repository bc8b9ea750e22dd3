"""The changes of a packet on each host, from sightings."""

from __future__ import annotations

import pytest

from kproxy.explain.walk import Flow, Visit, visits
from kproxy.probe.packets import Role
from tests.explain.journeys import (
    ANSWER,
    ANSWERS,
    ASKS,
    GIVES,
    POD,
    REQUEST,
    RETURNS,
    SERVICE,
    A,
    B,
    seen,
)


def _told(found: list[Visit]) -> list[Visit]:
    """Return visits without their hop limits, which are all the same here."""
    return [each._replace(hop_limits=frozenset()) for each in found]


def test_a_way_there() -> None:
    """On nodes the bare packet counts; the router sees the encapsulated one."""
    assert _told(visits((*REQUEST, *ANSWER), Role.REQUEST, ASKS)) == [
        Visit("client", "", "eth0", ASKS, ASKS),
        Visit("node-b", "client", "vx0", ASKS, GIVES),
        Visit("router", "node-b", "node-a", GIVES, GIVES),
        Visit("node-a", "vx0", "web", GIVES, GIVES),
        Visit("web", "eth0", "", GIVES, GIVES),
    ]


def test_a_way_back() -> None:
    assert _told(visits((*REQUEST, *ANSWER), Role.ANSWER)) == [
        Visit("web", "", "eth0", ANSWERS, ANSWERS),
        Visit("node-a", "web", "vx0", ANSWERS, ANSWERS),
        Visit("node-b", "vx0", "client", ANSWERS, RETURNS),
        Visit("client", "eth0", "", RETURNS, RETURNS),
    ]


OWN = Flow(B, 20000, SERVICE, 80)
CHANGED = Flow(B, 20000, POD, 8080)
MASQUERADED = Flow(A, 4711, POD, 8080)
CHANGES = [  # before, after -> the destination has changed, the source has changed
    (OWN, OWN, False, False),
    (OWN, CHANGED, True, False),
    (OWN, OWN._replace(destination_port=30080), True, False),
    (OWN, OWN._replace(source_port=4711), False, False),  # masquerading may change it as well
    (OWN, MASQUERADED, True, True),
]


@pytest.mark.parametrize(("before", "after", "destination", "source"), CHANGES)
def test_changes(before: Flow, after: Flow, destination: bool, source: bool) -> None:
    visit = Visit("node-b", "", "eth0", before, after)
    assert (visit.destination_changed, visit.source_changed) == (destination, source)


MADE = [  # the first sighting -> the packet as it was made
    ("node-b:eth0>", OWN),  # its own rules have changed it before it was captured
    ("node-b:client", CHANGED),  # it came from elsewhere
]


@pytest.mark.parametrize(("first", "before"), MADE)
def test_who_made_a_packet_knows_what_it_was(first: str, before: Flow) -> None:
    (visit,) = visits([seen(first, CHANGED)], Role.REQUEST, OWN)
    assert visit.before == before


def test_a_host_that_is_crossed_twice_is_visited_twice() -> None:
    there = [seen("node-b:eth0>", ASKS), seen("router:node-b", ASKS), seen("router:lb>", ASKS)]
    by_the_balancer = [seen("lb:eth0", ASKS), seen("lb:eth0>", GIVES)]
    on = [seen("router:lb", GIVES), seen("router:node-a>", GIVES)]
    walked = visits([*there, *by_the_balancer, *on], Role.REQUEST, ASKS)
    assert [visit.host for visit in walked] == ["node-b", "router", "lb", "router"]


BRIDGED = [  # on a node with a bridge -> entry, exit
    (("node-a:web", "node-a:cni0"), "cni0", ""),
    (("node-a:web", "node-a:cni0", "node-a:eth0>"), "cni0", "eth0"),
    (("node-a:eth0", "node-a:cni0>", "node-a:web>"), "eth0", "web"),
    (("node-a:web", "node-a:side>"), "web", "side"),  # it stays on the bridge
    (("node-a:cni0>", "node-a:web>"), "", "web"),
]


@pytest.mark.parametrize(("places", "entry", "exit_"), BRIDGED)
def test_links_of_a_bridge(places: tuple[str, ...], entry: str, exit_: str) -> None:
    (visit,) = visits([seen(place, ASKS) for place in places], Role.REQUEST)
    assert (visit.entry, visit.exit) == (entry, exit_)


def test_a_bridge_may_translate_before_routing() -> None:
    """Bridged packets are seen where netfilter handles them."""
    (visit,) = visits([seen("node-b:client", ASKS), seen("node-b:cni0", GIVES)], Role.REQUEST)
    assert (visit.before, visit.after) == (ASKS, GIVES)


def test_nothing_was_seen() -> None:
    assert visits(REQUEST, Role.ANSWER) == []
