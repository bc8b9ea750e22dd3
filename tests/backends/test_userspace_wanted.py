"""The listeners and addresses that a node needs, computed from plans."""

from __future__ import annotations

from typing import Any

import pytest
from kproxy_userspace import MODE, UserspaceOptions
from kproxy_userspace.wanted import Changes, Place, Wanted

from kproxy.address import Family
from kproxy.backend import NodeSettings, Seconds, ServicePlan, decode_options
from tests.forwarding.plans import Web, service_plan, settings

OWN = ("127.0.0.1", "192.168.0.11", "10.244.1.1", "198.51.100.7")
PRIMARY = settings("node-a", node_port_addresses=("192.168.0.11/32",))
EVERYWHERE = settings("node-a")


def wanted(*services: ServicePlan, node: NodeSettings = PRIMARY) -> Wanted:
    found = Wanted(OWN, node)
    for service in services:
        found.change(service.name, None, service)
    return found


def places(changes: Changes) -> set[str]:
    return {str(place) for place, listener in changes.listeners.items() if listener}


CLUSTER, VIP, EXTERNAL = "10.96.0.10:80/TCP", "198.51.100.9:80/TCP", "198.51.100.7:80/TCP"
NODE_PORT = "192.168.0.11:30080/TCP"
LOCAL: dict[str, Any] = {"external": "Local", "internal": "Local"}
LISTENS = [  # a service port -> its listeners, and those of them that accept no client
    (Web(), {CLUSTER, VIP, EXTERNAL, NODE_PORT}, set()),
    (Web(on=()), set(), set()),  # the kernel refuses
    (Web(external="Local"), {CLUSTER, VIP, EXTERNAL, NODE_PORT}, {VIP, EXTERNAL, NODE_PORT}),
    (Web(internal="Local"), {CLUSTER, VIP, EXTERNAL, NODE_PORT}, {CLUSTER}),
    (Web(on=("pod-a",), **LOCAL), {CLUSTER, VIP, EXTERNAL, NODE_PORT}, set()),
    (Web(protocol="SCTP"), set(), set()),
]


@pytest.mark.parametrize(("web", "there", "deaf"), LISTENS)
def test_listeners(web: Web, there: set[str], deaf: set[str]) -> None:
    changes = wanted(service_plan(web, PRIMARY)).take_changes()
    assert places(changes) == there
    assert deaf == {
        str(place) for place, each in changes.listeners.items() if each and not each.endpoints
    }
    # Addresses are added with or without a listener, except those that the node has anyway.
    assert (changes.added, changes.removed) == ({"10.96.0.10", "198.51.100.9"}, set())


def test_node_ports_answer_at_all_addresses_but_those_of_loopback() -> None:
    changes = wanted(service_plan(Web(), EVERYWHERE), node=EVERYWHERE).take_changes()
    assert {each for each in places(changes) if "30080" in each} == {
        f"{address}:30080/TCP" for address in OWN if address != "127.0.0.1"
    }


def test_what_changes_and_what_does_not() -> None:
    former = service_plan(Web(), PRIMARY)
    state = wanted(former)
    state.take_changes()
    fresh = service_plan(Web(vips=("198.51.100.8",)), PRIMARY)
    state.change(former.name, former, fresh)
    changes = state.take_changes()
    assert places(changes) == {"198.51.100.8:80/TCP"}
    assert [str(each) for each, to in changes.listeners.items() if to is None] == [VIP]
    assert (changes.added, changes.removed) == ({"198.51.100.8"}, {"198.51.100.9"})
    assert state.take_changes() == Changes({}, set(), set())


def test_the_first_by_name_has_a_place_that_two_claim() -> None:
    first = service_plan(Web(name="api", cluster_ip="10.96.0.11", node_port=30081), PRIMARY)
    second = service_plan(Web(), PRIMARY)
    state = wanted(second, first)
    place = Place("TCP", "198.51.100.9", 80)

    def owner() -> str:
        listener = state.take_changes(again=[place]).listeners[place]
        return listener.service.name if listener else ""

    assert owner() == "api"
    without = service_plan(Web(name="api", cluster_ip="10.96.0.11", on=()), PRIMARY)
    state.change(first.name, first, without)
    assert owner() == "web"  # a port that refuses has no claim
    state.change(second.name, second, None)
    assert owner() == ""
    # The address is needed as long as any service port names it.
    assert not state.suits({*OWN}, {"10.96.0.11"})
    assert state.suits({*OWN}, {"10.96.0.11", "198.51.100.9"})
    state.change(without.name, without, None)
    assert state.suits({*OWN}, set())


def test_the_difference_to_what_is_there() -> None:
    state = wanted(service_plan(Web(), PRIMARY))
    stale = Place("TCP", "10.96.0.99", 80)
    changes = state.take_difference([stale], {"10.96.0.10", "10.96.0.99"})
    assert changes.listeners[stale] is None
    assert places(changes) == {CLUSTER, VIP, EXTERNAL, NODE_PORT}
    assert (changes.added, changes.removed) == ({"198.51.100.9"}, {"10.96.0.99"})


SUITS = [  # the node's own addresses, those added for Services -> no change is needed
    (OWN, {"10.96.0.10", "198.51.100.9"}, True),
    (OWN, {"10.96.0.10", "198.51.100.9", "10.96.0.99"}, True),
    (OWN, {"10.96.0.10"}, False),
    ((*OWN, "198.51.100.9"), {"10.96.0.10"}, True),
    ((*OWN, "10.9.9.9"), {"10.96.0.10", "198.51.100.9"}, True),
    (OWN[:-1], {"10.96.0.10", "198.51.100.9"}, False),  # an external IP that was the node's
    (OWN[2:], {"10.96.0.10", "198.51.100.9"}, False),  # node ports answered there
]


@pytest.mark.parametrize(("own", "ours", "suits"), SUITS)
def test_what_is_no_damage(own: tuple[str, ...], ours: set[str], suits: bool) -> None:
    assert wanted(service_plan(Web(), PRIMARY)).suits({*own}, ours) == suits


GIVEN: list[tuple[dict[str, object], UserspaceOptions | str]] = [
    ({}, UserspaceOptions()),
    (
        {"udpIdleTimeout": "1m30s", "connectTimeout": "500ms", "maxConnections": "7"},
        UserspaceOptions(
            udp_idle_timeout=Seconds(90), connect_timeout=Seconds(0.5), max_connections=7
        ),
    ),
    ({"maxConnections": 0}, "max_connections must be more than 0"),
    ({"udpIdleTimeout": "-1s"}, "udp_idle_timeout must be more than 0"),
    ({"udpIdleTime": 1}, "did you mean udpIdleTimeout?"),
    ({"maxConnections": "many"}, "expected int"),
]


@pytest.mark.parametrize(("values", "expected"), GIVEN)
def test_options(values: dict[str, object], expected: UserspaceOptions | str) -> None:
    options, problems = decode_options(MODE, values, "--backend-option")
    if isinstance(expected, str):
        assert expected in str(problems[0])
    else:
        assert (options, problems) == (expected, [])


def test_the_mode_says_what_it_is() -> None:
    assert (MODE.name, MODE.forwards_itself, MODE.traced) == ("userspace", True, False)
    support = MODE.backend(Family.IPV4, UserspaceOptions()).support()
    assert support.ok
    assert "client addresses are not kept" in support.missing
