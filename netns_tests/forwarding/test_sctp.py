"""SCTP by real connections: the kernel that has ip_vs has SCTP sockets, too."""

from __future__ import annotations

import json
import socket

import pytest

from kproxy.address import Family
from kproxy.api.types import ServicePort
from kproxy.backend import load
from kproxy.kernel.modules import modprobe
from kproxy.lab import PortSpec, service
from kproxy.testing import LabFactory, ProbedLab

pytestmark = pytest.mark.ipvs
CLUSTER_IPS = {Family.IPV4: "10.96.0.11", Family.IPV6: "fd00:10:96::11"}


@pytest.fixture(scope="module", params=["iptables", "ipvs"])
def lab(kproxy_module_lab: LabFactory, request: pytest.FixtureRequest) -> ProbedLab:
    modprobe("sctp")
    lab = kproxy_module_lab(
        nodes=("node-a", "node-b"),
        pods={"signal": "node-b", "visitor": "node-a"},
        ports=[PortSpec(port=9, protocol="SCTP")],
        mode=request.param,
        options=load(request.param).options_with(iptables_variant="legacy"),
    )
    made = service(
        "signal",
        cluster_ips=list(CLUSTER_IPS.values()),
        ports=[ServicePort(port=80, protocol="SCTP", target_port=9, node_port=30080)],
        type="NodePort",
        selector={"app": "signal"},
    )
    lab.apply([made, *lab.slices(made)])
    return lab


@pytest.mark.parametrize("family", list(Family))
@pytest.mark.parametrize(
    ("client", "asks"), [("visitor", "cluster IP"), ("node-a", "cluster IP"), ("outside", "node-a")]
)
def test_sctp(lab: ProbedLab, client: str, asks: str, family: Family) -> None:
    node = lab.nodes["node-a"].addresses[family]
    address, port = (CLUSTER_IPS[family], 80) if asks == "cluster IP" else (node, 30080)
    with lab.hosts[client].namespace.entered():
        sock = socket.socket(family.socket_family, socket.SOCK_STREAM, socket.IPPROTO_SCTP)
    with sock:
        sock.settimeout(5)
        sock.connect((address, port))
        sock.sendall(b"\n")
        answer = json.loads(sock.recv(1000))
    predicted = lab.predict(client, address, port, "SCTP")
    assert {answer["pod"]: answer["source"]} == predicted.sources


@pytest.mark.parametrize("family", list(Family))
def test_an_init_and_its_way_back(lab: ProbedLab, family: Family) -> None:
    found = lab.trace("visitor", "signal", family=family)
    assert (found.at, found.answered) == ("signal", True)
    assert {(hop.role, hop.packet) for hop in found.hops} == {
        ("request", "INIT"),
        ("reply", "INIT ACK"),
    }
    assert found.hops[-1].after == found.hops[0].before.turned
