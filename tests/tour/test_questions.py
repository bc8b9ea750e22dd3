"""The questions for each kind of Service."""

from __future__ import annotations

from typing import Any

import pytest

from kproxy.address import Family
from kproxy.api.types import (
    Endpoint,
    EndpointPort,
    EndpointSlice,
    LoadBalancerIngress,
    LoadBalancerStatus,
    Metadata,
    Service,
    ServicePort,
    ServiceSpec,
    ServiceStatus,
)
from kproxy.probe.checks import asked
from kproxy.tour.questions import Places, questions

V4, V6 = Family.IPV4, Family.IPV6
PLACES = Places(
    pod="shell",
    client="outside",
    nodes={
        name: {V4: f"192.168.10.{number}", V6: f"fd00:192::{number}"}
        for name, number in (("node-a", 11), ("node-b", 12), ("node-c", 13))
    },
)
SLICE = EndpointSlice(
    metadata=Metadata(name="web-1"),
    address_type="IPv4",
    ports=(EndpointPort(port=8080),),
    endpoints=(Endpoint(addresses=("10.244.2.11",), node_name="node-b"),),
)


def service(*addresses: str, node_port: int = 0, more: bool = False, **spec: Any) -> Service:
    ports = [ServicePort(port=80, node_port=node_port)]
    ports += [ServicePort(name="dns", port=53, protocol="UDP")] if more else []
    fields = {"cluster_ip": addresses[0], "cluster_ips": addresses, "ports": tuple(ports), **spec}
    return Service(metadata=Metadata(name="web"), spec=ServiceSpec(**fields))


CLUSTER_IP = ["shell 10.96.0.9:80", "node-a 10.96.0.9:80", "outside 10.96.0.9:80"]
ASKED = [
    ("cluster IP", service("10.96.0.9"), CLUSTER_IP),
    (
        "another port is asked once",
        service("10.96.0.9", more=True),
        [*CLUSTER_IP, "shell 10.96.0.9:53/UDP"],
    ),
    (
        "another family, too",
        service("10.96.0.9", "fd00:10:96::9"),
        [*CLUSTER_IP, "shell [fd00:10:96::9]:80"],
    ),
    (
        "policy Local: a node with an endpoint, and one without",
        service("10.96.0.9", internal_traffic_policy="Local"),
        ["shell 10.96.0.9:80", "node-b 10.96.0.9:80", *CLUSTER_IP[1:]],
    ),
    (
        "node port",
        service("10.96.0.9", node_port=30080),
        [
            *CLUSTER_IP,
            "outside 192.168.10.12:30080",
            "outside 192.168.10.11:30080",
            "shell 192.168.10.11:30080",
        ],
    ),
    (
        "external IP, only of its own family",
        service("10.96.0.9", "fd00:10:96::9", external_ips=("203.0.113.10",)),
        [
            *CLUSTER_IP,
            "outside 203.0.113.10:80",
            "shell 203.0.113.10:80",
            "node-a 203.0.113.10:80",
            "shell [fd00:10:96::9]:80",
        ],
    ),
    ("headless: the pods", service("None"), ["shell 10.244.2.11:8080"]),
    ("ExternalName", service("", type="ExternalName", external_name="www.example.com"), []),
]


@pytest.mark.parametrize(
    ("made", "expected"), [row[1:] for row in ASKED], ids=[r[0] for r in ASKED]
)
def test_questions(made: Service, expected: list[str]) -> None:
    found = [each.packet for each in questions(made, [SLICE], PLACES)]
    assert [f"{packet.client} {asked(packet)}" for packet in found] == expected


def test_the_address_of_a_load_balancer() -> None:
    ingress = (LoadBalancerIngress(ip="192.168.30.1"), LoadBalancerIngress(hostname="lb.example"))
    made = Service(
        metadata=Metadata(name="web"),
        spec=service("10.96.0.9").spec,
        status=ServiceStatus(load_balancer=LoadBalancerStatus(ingress=ingress)),
    )
    found = [each for each in questions(made, [SLICE], PLACES) if each.check == "load balancer"]
    assert [each.packet.client for each in found] == ["outside", "shell", "node-a"]
    assert {each.packet.address for each in found} == {"192.168.30.1"}


def test_without_endpoints_any_node_will_do() -> None:
    found = questions(service("10.96.0.9", node_port=30080), [], PLACES)
    addresses = [each.packet.address for each in found if each.check == "node port"]
    assert addresses == ["192.168.10.11", "192.168.10.11"]
