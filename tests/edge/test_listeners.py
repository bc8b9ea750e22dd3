"""Listeners and their backends, addresses in the status, and Services that are refused."""

from __future__ import annotations

from typing import Any

import pytest

from kproxy.address import Family
from kproxy.api.types import EndpointPort, LoadBalancerIngress, ServicePort
from kproxy.edge.listeners import (
    Asks,
    Edge,
    concerns,
    listeners_of,
    problems_of,
    with_status,
)
from tests.edge.objects import DNAT, ELB, LB, NODES, PORTS, V4, V6, edge, service, slice_of

CLASS, ID = "kubernetes.io/elb.class", "kubernetes.io/elb.id"
PASS_THROUGH = "kubernetes.io/elb.pass-through"
PODS = {"10.244.1.11": "node-a", "10.244.1.12": "node-a", "10.244.2.11": "node-b"}
LOCAL: dict[str, Any] = {"external_traffic_policy": "Local", "health_check_node_port": 32000}
UDP: dict[str, Any] = {
    "ports": (ServicePort(name="http", protocol="UDP", port=80, node_port=30080),)
}
UDP_SLICE = EndpointPort(name="http", protocol="UDP", port=8080)

BACKENDS = [  # special fields, edge, annotations -> backends, their weights, their checks
    (
        {},
        edge(),
        {},
        [(f"192.168.10.{n}:30080", 1, (f"192.168.10.{n}", 30080, Asks.TCP)) for n in (11, 12, 13)],
    ),
    (
        LOCAL,
        edge(),
        {},
        [
            ("192.168.10.11:30080", 2, ("192.168.10.11", 32000, Asks.HTTP)),
            ("192.168.10.12:30080", 1, ("192.168.10.12", 32000, Asks.HTTP)),
        ],
    ),
    (
        {"external_traffic_policy": "Local"},
        edge(),
        {},
        [
            ("192.168.10.11:30080", 2, ("192.168.10.11", 30080, Asks.TCP)),
            ("192.168.10.12:30080", 1, ("192.168.10.12", 30080, Asks.TCP)),
        ],
    ),
    (
        LOCAL,
        edge(),
        {"kubernetes.io/elb.health-check-flag": "off"},
        [("192.168.10.11:30080", 2, None), ("192.168.10.12:30080", 1, None)],
    ),
    (
        UDP,
        edge(),
        {},
        [(f"192.168.10.{n}:30080", 1, None) for n in (11, 12, 13)],
    ),
    (
        UDP | LOCAL,
        edge(),
        {},
        [
            ("192.168.10.11:30080", 2, ("192.168.10.11", 32000, Asks.HTTP)),
            ("192.168.10.12:30080", 1, ("192.168.10.12", 32000, Asks.HTTP)),
        ],
    ),
    (
        LOCAL,
        edge(),
        {CLASS: "dnat"},
        [("192.168.10.11:30080", 2, None), ("192.168.10.12:30080", 1, None)],
    ),
    (  # a shared one does not reach pods, a dedicated one does, whatever the policy
        LOCAL,
        edge(reaches_pods=True),
        {},
        [
            ("192.168.10.11:30080", 2, ("192.168.10.11", 32000, Asks.HTTP)),
            ("192.168.10.12:30080", 1, ("192.168.10.12", 32000, Asks.HTTP)),
        ],
    ),
    *(
        (
            policy,
            edge(reaches_pods=True),
            {CLASS: "performance"},
            [(f"{pod}:8080", 1, (pod, 8080, Asks.TCP)) for pod in PODS],
        )
        for policy in ({}, LOCAL)
    ),
]


@pytest.mark.parametrize(("special", "around", "annotations", "expected"), BACKENDS)
def test_backends(
    special: dict[str, Any], around: Edge, annotations: dict[str, str], expected: list[object]
) -> None:
    web = service(annotations=annotations, **special)
    port = UDP_SLICE if "ports" in special else None
    slices = [slice_of({**PODS, "10.244.3.11": "node-c"}, unready=("10.244.3.11",), port=port)]
    (listener,) = listeners_of(web, slices, around)
    assert [
        (str(each), each.weight, each.target and _asked(each.target)) for each in listener.backends
    ] == expected


def _asked(target: Any) -> tuple[str, int, Asks]:
    return target.address, target.port, target.asks


def test_a_listener_for_each_family_and_port() -> None:
    ports = (*PORTS, ServicePort(name="dns", protocol="UDP", port=53, node_port=30053))
    found = listeners_of(service(families=(V4, V6), ports=ports), [], edge())
    assert [
        (str(each), each.address, each.key.protocol, each.key.port, str(each.backends[0]))
        for each in found
    ] == [
        ("default/web:http", LB.address[V4], "TCP", 80, "192.168.10.11:30080"),
        ("default/web:dns", LB.address[V4], "UDP", 53, "192.168.10.11:30053"),
        ("default/web:http", LB.address[V6], "TCP", 80, "[fd00:192::11]:30080"),
        ("default/web:dns", LB.address[V6], "UDP", 53, "[fd00:192::11]:30053"),
    ]


def test_pods_of_the_host_network_are_where_their_node_is() -> None:
    pods = {NODES["node-b"][V4]: "node-b"}
    (listener,) = listeners_of(service(**LOCAL), [slice_of(pods)], edge())
    assert [str(each) for each in listener.backends] == ["192.168.10.12:30080"]


CHOICES = [  # annotations, edge -> place
    ({}, edge(), "lb"),
    ({}, edge(ELB, LB), "elb"),
    ({}, edge(DNAT), None),  # a Service gets the gateway only if it asks for it
    ({CLASS: "union"}, edge(ELB, LB), "lb"),
    ({CLASS: "performance"}, edge(), "elb"),
    ({CLASS: "dnat"}, edge(), "dnat"),
    ({ID: "lb-2"}, edge(), "lb-2"),
    ({ID: "elb", CLASS: "performance"}, edge(), "elb"),
]


@pytest.mark.parametrize(("annotations", "around", "expected"), CHOICES)
def test_who_takes_it(annotations: dict[str, str], around: Edge, expected: str | None) -> None:
    web = service(annotations=annotations)
    assert problems_of([web], around) == []
    found = {each.key.place for each in listeners_of(web, [], around)}
    assert found == ({expected} if expected else set())


MODES = [  # pass-through, policy, profile passes Local through -> ipMode
    (None, "Cluster", False, "VIP"),
    (None, "Local", False, "VIP"),
    (None, "Cluster", True, "VIP"),
    (None, "Local", True, "Proxy"),
    ("onlyLocal", "Cluster", False, "VIP"),
    ("onlyLocal", "Local", False, "Proxy"),
    ("true", "Cluster", False, "Proxy"),
    ("true", "Local", True, "Proxy"),
]


@pytest.mark.parametrize(("wish", "policy", "profile", "expected"), MODES)
def test_whether_nodes_catch_it(
    wish: str | None, policy: str, profile: bool, expected: str
) -> None:
    annotations = {PASS_THROUGH: wish} if wish else {}
    web = service(annotations=annotations, external_traffic_policy=policy)
    status = with_status(web, edge(passes_through_local=profile)).status
    assert {each.ip_mode for each in status.load_balancer.ingress} == {expected}


ADDRESSES: list[tuple[dict[str, str], tuple[Family, ...], list[str]]] = [
    ({}, (V4,), [LB.address[V4], LB.public[V4]]),
    ({}, (V6, V4), [LB.address[V6], LB.public[V6], LB.address[V4], LB.public[V4]]),
    ({CLASS: "dnat"}, (V4, V6), [DNAT.public[V4], DNAT.public[V6]]),
]


@pytest.mark.parametrize(("annotations", "families", "expected"), ADDRESSES)
def test_addresses_in_the_status(
    annotations: dict[str, str], families: tuple[Family, ...], expected: list[str]
) -> None:
    given = with_status(service(annotations=annotations, families=families), edge())
    assert [each.ip for each in given.status.load_balancer.ingress] == expected
    assert concerns(given, edge())  # also with the status that the edge itself has written


FOREIGN = [  # type, ingress -> concerns
    ("LoadBalancer", (), True),
    ("LoadBalancer", (LoadBalancerIngress(ip=LB.public[V4]),), True),
    ("LoadBalancer", (LoadBalancerIngress(ip="198.51.100.1"),), False),
    ("LoadBalancer", (LoadBalancerIngress(hostname="lb.example.com"),), False),
    ("NodePort", (), False),
]


@pytest.mark.parametrize(("kind", "ingress", "expected"), FOREIGN)
def test_services_of_another_controller_do_not_concern_the_edge(
    kind: str, ingress: tuple[LoadBalancerIngress, ...], expected: bool
) -> None:
    assert concerns(service(type=kind, ingress=ingress), edge()) is expected


PROBLEMS = [  # special fields, annotations, edge -> message
    ({}, {ID: "x"}, edge(), f"metadata.annotations[{ID}]: there is no load balancer 'x'"),
    (
        {},
        {ID: "lb", CLASS: "performance"},
        edge(),
        f"metadata.annotations[{ID}]: there is no load balancer 'lb' of class performance",
    ),
    (
        {},
        {CLASS: "performance"},
        edge(LB),
        f"metadata.annotations[{CLASS}]: there is none of class performance",
    ),
    ({}, {CLASS: "x"}, edge(), f"metadata.annotations[{CLASS}]: 'x' is none of: union, "),
    (
        {"ports": (ServicePort(port=80),)},
        {},
        edge(),
        "spec.ports[0].nodePort: lb forwards to node ports, and this is none",
    ),
    (
        {"ports": (ServicePort(port=80, protocol="SCTP", node_port=30080),)},
        {},
        edge(),
        "spec.ports[0].protocol: load balancers know no SCTP",
    ),
]


@pytest.mark.parametrize(("special", "annotations", "around", "expected"), PROBLEMS)
def test_what_cannot_be_served(
    special: dict[str, Any], annotations: dict[str, str], around: Edge, expected: str
) -> None:
    (text,) = problems_of([service(annotations=annotations, **special)], around)
    assert text.startswith(f"Service default/web: {expected}")


def test_pods_need_no_node_port() -> None:
    web = service(annotations={CLASS: "performance"}, ports=(ServicePort(port=80),))
    assert problems_of([web], edge(reaches_pods=True)) == []


def test_one_service_for_each_address_and_port() -> None:
    shop = service("shop", families=(V6, V4), annotations={ID: "lb"})
    (text,) = problems_of([service(), shop], edge())
    assert text == (
        "Service default/shop: spec.ports[0].port: 192.168.20.11:80 (TCP) of lb is taken by "
        "Service default/web"
    )
    assert problems_of([service(), service("shop", annotations={ID: "lb-2"})], edge()) == []
    assert problems_of([service(), service("shop", **UDP)], edge()) == []
