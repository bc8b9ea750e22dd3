"""Node ports on loopback addresses in nftables mode: the objects and the listeners."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from kproxy_nftables import flat_layout, kube_proxy_layout, localhost
from kproxy_nftables.localhost_listeners import Listener, Wanted, listeners_of, serving
from kproxy_nftables.transaction import Fixed
from msgspec import structs

from kproxy.address import Family
from kproxy.forwarding.plan import Endpoint, LoopbackNodePorts, NodeSettings, ServicePlan
from tests.forwarding.plans import WEB_6, Web, plan, service_plan, settings

IGNORED, REJECTED, SERVED = LoopbackNodePorts
LAYOUTS = {"kube-proxy": kube_proxy_layout, "flat": flat_layout}
PORT = 30080


def node(fate: LoopbackNodePorts, family: Family = Family.IPV4) -> NodeSettings:
    return structs.replace(settings("node-a", family=family), loopback_node_ports=fate)


def planned(web: Web, fate: LoopbackNodePorts = SERVED) -> ServicePlan:
    return service_plan(web, node(fate))


REJECTING = [  # the fate of packets -> the protocols that have a chain and a counter
    (IGNORED, ()),
    (REJECTED, ("tcp", "udp", "sctp")),
    (SERVED, ("udp", "sctp")),
]


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("family", Family)
@pytest.mark.parametrize(("fate", "protocols"), REJECTING)
def test_objects(
    fate: LoopbackNodePorts, protocols: tuple[str, ...], family: Family, flat: bool
) -> None:
    fixed = Fixed(node(fate, family), flat=flat)
    plain = Fixed(settings("node-a", family=family), flat=flat)
    added = {f"localhost-nodeport-reject-{each}" for each in protocols}
    assert fixed.chains.keys() - plain.chains.keys() == added
    assert fixed.counters == tuple(f"localhost-nodeport-rejected-{each}" for each in protocols)
    assert {set_.name for set_ in fixed.sets} - {set_.name for set_ in plain.sets} == (
        {"localhost-nodeport-reject-ports"} if protocols else set()
    )
    check = fixed.chains["nodeport-endpoints-check"]
    assert check[0] == plain.chains["nodeport-endpoints-check"][0]
    assert len(check) == (2 if protocols else 1)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("on", [(), ("pod-a",), ("pod-b",)])
@pytest.mark.parametrize("policy", ["Cluster", "Local"])
@pytest.mark.parametrize("protocol", ["TCP", "UDP", "SCTP"])
@pytest.mark.parametrize(("fate", "protocols"), REJECTING)
def test_a_port_is_rejected_whatever_is_behind_it(
    fate: LoopbackNodePorts,
    protocols: tuple[str, ...],
    protocol: str,
    policy: str,
    on: tuple[str, ...],
    layout: str,
) -> None:
    web = Web(on=on, external=policy, protocol=protocol, source_ranges=("192.0.2.0/24",))
    wanted = LAYOUTS[layout].wanted(planned(web, fate), node(fate))
    found = [key for key in wanted.elements if key.set == localhost.REJECT_PORTS]
    assert len(found) == (protocol.lower() in protocols)


def listener(web: Web) -> Listener | None:
    return listeners_of(planned(web)).get(PORT)


LISTENERS = [  # Service -> the endpoints of its listener
    (Web(on=("pod-a", "pod-b")), "10.244.1.5:8080 10.244.2.5:8080"),
    (Web(on=("pod-a", "pod-b"), external="Local"), "10.244.1.5:8080"),
    # Processes of the node use all endpoints elsewhere, but not here.
    (Web(on=("pod-b",), external="Local"), ""),
    (Web(on=("pod-a", "pod-b"), internal="Local"), "10.244.1.5:8080 10.244.2.5:8080"),
    (Web(on=("pod-b",), source_ranges=("192.0.2.0/24",)), "10.244.2.5:8080"),
    (Web(on=()), ""),
    (Web(on=("pod-a",), protocol="UDP"), ""),
    (Web(on=("pod-a",), protocol="SCTP"), ""),
]


@pytest.mark.parametrize(("web", "endpoints"), LISTENERS)
def test_listeners(web: Web, endpoints: str) -> None:
    found = listener(web)
    assert (found is not None) == bool(endpoints)
    assert " ".join(map(str, found.endpoints if found else ())) == endpoints


def test_a_listener_has_the_window_of_session_affinity() -> None:
    found = listener(Web(affinity_timeout_s=10))
    assert found
    assert found.affinity_timeout_s == 10


def listening(wanted: Wanted, *webs: Web | None, former: Mapping[str, Web] | None = None) -> None:
    """Change the Service of each Web's name; `former`: what they were."""
    for web in filter(None, webs):
        was = (former or {}).get(web.name)
        wanted.change(planned(web).name, planned(was) if was else None, planned(web))


A, B = Web(name="a", on=("pod-a",)), Web(name="b", on=("pod-b",))


def test_of_two_services_with_one_port_the_first_that_has_endpoints_is_served() -> None:
    wanted = Wanted()
    listening(wanted, B, A)
    assert wanted.take_changes(()) == {PORT: listener(A)}
    empty = structs.replace(A, on=())
    listening(wanted, empty, former={"a": A})
    assert wanted.take_changes(()) == {PORT: listener(B)}
    wanted.change(planned(B).name, planned(B), None)
    assert wanted.take_changes(()) == {PORT: None}
    listening(wanted, A, former={"a": empty})
    assert wanted.take_changes(()) == {PORT: listener(A)}


def test_changes_are_told_once_and_failures_again() -> None:
    wanted = Wanted()
    listening(wanted, A)
    assert wanted.take_changes(()) == {PORT: listener(A)}
    assert wanted.take_changes(()) == {}
    assert wanted.take_changes([PORT]) == {PORT: listener(A)}
    wanted.change(planned(A).name, planned(A), None)
    assert wanted.take_changes([PORT]) == {PORT: None}


def test_the_difference_from_what_there_is() -> None:
    """Listeners that are right are left alone."""
    other = structs.replace(B, node_port=30081)
    there, more = listener(A), listeners_of(planned(other))[30081]
    assert there
    wanted = Wanted()
    listening(wanted, A, other)
    assert wanted.take_difference({}) == {PORT: there, 30081: more}
    assert wanted.take_difference({PORT: there}) == {30081: more}
    assert wanted.take_difference({PORT: there, 30081: more}) == {}
    old = Listener((Endpoint("10.244.9.9", 80),))
    stale = {PORT: old, 30081: more, 30082: old}
    assert wanted.take_difference(stale) == {PORT: there, 30082: None}
    assert wanted.take_changes(()) == {}


SERVING = [  # the fate of packets, address, port, protocol -> whether the proxy takes them
    (SERVED, "127.0.0.1", PORT, "TCP", True),
    (SERVED, "127.0.0.2", PORT, "TCP", False),
    (SERVED, "127.0.0.1", PORT + 1, "TCP", False),
    (SERVED, "127.0.0.1", PORT, "UDP", False),
    (SERVED, "192.168.0.11", PORT, "TCP", False),
    (REJECTED, "127.0.0.1", PORT, "TCP", False),
    (IGNORED, "127.0.0.1", PORT, "TCP", False),
]


@pytest.mark.parametrize(("fate", "address", "port", "protocol", "served"), SERVING)
def test_only_one_address_is_served(
    fate: LoopbackNodePorts, address: str, port: int, protocol: str, served: bool
) -> None:
    plans = plan([A, B, structs.replace(A, name="c", protocol="UDP")], node(fate))
    found = serving(plans, address, port, protocol)
    assert (found.name.name if found else "") == ("a" if served else "")


def test_the_address_of_ipv6() -> None:
    plans = plan([WEB_6], node(SERVED, Family.IPV6))
    assert serving(plans, "::1", PORT, "TCP")
    assert not serving(plans, "127.0.0.1", PORT, "TCP")
