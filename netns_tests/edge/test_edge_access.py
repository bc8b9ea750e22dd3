"""Clients reach a Service by its load balancer; the pod sees their address, in each network.

Source addresses are kept. So a node that has the pod never reaches it by the private address: the
packet that comes back to it has its own address as its source, and that is a martian.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest

from kproxy.address import Family, family_of
from kproxy.forwarding.network import Packet
from kproxy.lab import Lab
from netns_tests.edge.edge_lab import V4, V6, apply, pod, running, sources, spec, web

NETWORKS = ("vpc", "tunnel")
PODS = {
    "node-a": (pod("web", "web"), pod("side"), pod("host", "host", host_network=True)),
    "node-b": (pod("shell"),),
    "node-c": (),
}
SILENT, REFUSED = "timed out", "refused"

# client, private or public -> whose address the pod sees, for each network
LOCAL = [
    ("node-a", "private", SILENT, SILENT),
    ("node-b", "private", "node-b", "node-b"),
    ("side", "private", SILENT, SILENT),
    ("shell", "private", "shell", "node-b"),
    ("node-a", "public", "EIP node-a", "EIP node-a"),
    ("node-b", "public", "EIP node-b", "EIP node-b"),
    ("side", "public", "EIP node-a", "EIP node-a"),
    ("shell", "public", "EIP node-b", "EIP node-b"),
    ("outside", "public", "outside", "outside"),
    ("outside", "private", SILENT, SILENT),
]


@pytest.fixture(scope="module", params=NETWORKS)
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    with running(spec(request.param, PODS)) as up:
        yield up


def test_local(lab: Lab) -> None:
    apply(lab, web())
    asked = [
        (Packet(client=client, address=address, port=80, protocol=protocol), _source(lab, row))
        for row in LOCAL
        for client, way in [row[:2]]
        for address in _addresses(lab, way)
        for protocol in ("TCP", "UDP")
    ]
    expected = [names[family_of(packet.address)] for packet, names in asked]
    assert sources(lab, [packet for packet, _ in asked]) == expected


def _addresses(lab: Lab, way: str) -> list[str]:
    balancer = lab.balancers["lb"]
    return list((balancer.addresses if way == "private" else balancer.public).values())


def _source(lab: Lab, row: tuple[str, str, str, str]) -> Mapping[Family, str]:
    """Return the source addresses that a row expects, by family."""
    name = row[2 + NETWORKS.index(lab.spec.network)]
    if name.startswith("EIP "):
        return lab.nodes[name.removeprefix("EIP ")].public
    return lab.hosts[name].addresses if name in lab.hosts else {V4: name, V6: name}


@pytest.mark.parametrize("app", ["web", "host"])
def test_cluster_reaches_all(lab: Lab, app: str) -> None:
    """Nodes translate the address themselves, and every node is a backend for the others."""
    apply(lab, web("Cluster", app=app))
    address = lab.balancers["lb"].public[V4]
    for client in ("outside", "node-a", "node-b", "side", "shell"):
        packets = [Packet(client=client, address=address, port=80) for _ in range(6)]
        assert not {SILENT, REFUSED} & set(sources(lab, packets)), client


def test_pods_of_the_host_network(lab: Lab) -> None:
    apply(lab, web(app="host"))
    for family in (V4, V6):
        packet = Packet(client="outside", address=lab.balancers["lb"].public[family], port=80)
        assert sources(lab, [packet]) == [lab.clients["outside"].addresses[family]]
