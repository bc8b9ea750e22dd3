"""Connections through proxies that accept them and make others: each is followed to its end."""

from __future__ import annotations

import json
import socket
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import pytest

from kproxy.address import Family
from kproxy.api.types import ServicePort
from kproxy.config import ProxyConfig
from kproxy.errors import BadInput
from kproxy.explain import Itinerary, trace, tracing
from kproxy.explain.itinerary import Hop
from kproxy.explain.relaying import Made, connect
from kproxy.explain.targets import Wanted
from kproxy.explain.tracing import Tracer
from kproxy.kernel.process import run
from kproxy.lab import Lab, load_spec, service, slices_for
from kproxy.testing import LabFactory, ProbedLab
from netns_tests.edge.edge_lab import pod, running, spec
from netns_tests.modes import USERSPACE
from netns_tests.trace.balanced import through_the_load_balancer
from tests.explain.trace_schema import schema_problems

EXAMPLES = Path(__file__).parents[2] / "examples"
V4, V6 = Family.IPV4, Family.IPV6
CLUSTER_IPS = {V4: "10.96.0.11", V6: "fd00:10:96::11"}
CLOSED, STRICT, SILENT, BLOCKED = 81, 82, 83, 84
PORTS = [
    ServicePort(name="http", port=80, target_port=8080, node_port=30080),
    ServicePort(name="closed", port=CLOSED, target_port=CLOSED),
    ServicePort(name="strict", port=STRICT, target_port=STRICT),
    ServicePort(name="silent", port=SILENT, target_port=SILENT),
    ServicePort(name="blocked", port=BLOCKED, target_port=BLOCKED),
]
LOCALHOST = ProxyConfig(
    feature_gates={"KubeProxyNFTablesLocalhostNodePorts": True},
    node_port_addresses=("primary", "localhost"),
)
DROP = (
    "add table inet strict; add chain inet strict first { type filter hook forward priority -5; };"
    f"add rule inet strict first tcp dport {STRICT} drop"
)
BLOCK = (
    "add table inet strict; add chain inet strict first { type filter hook output priority -5; };"
    f"add rule inet strict first ip daddr 10.244.0.0/16 tcp dport {BLOCKED} drop"
)


def built(factory: LabFactory, mode: str, config: ProxyConfig | None = None) -> ProbedLab:
    """Build a lab whose Service `web` has two pods on node-b."""
    pods = {"web-1": "node-b", "web-2": "node-b", "visitor": "node-a"}
    lab = factory(nodes=("node-a", "node-b"), pods=pods, mode=mode, config=config)
    made = service(
        "web",
        cluster_ips=list(CLUSTER_IPS.values()),
        ports=PORTS,
        type="NodePort",
    )
    lab.apply([made, *slices_for(made, [lab.pods["web-1"], lab.pods["web-2"]])])
    return lab


@pytest.fixture(scope="module")
def lab(kproxy_module_lab: LabFactory) -> Iterator[ProbedLab]:
    """Return a lab in which one port of the pods is closed, packets to another are dropped on their
    node, and to a third where the proxy sends them; what listens at the fourth says nothing.
    """
    found = built(kproxy_module_lab, "userspace")
    with found.nodes["node-a"].namespace.entered():
        run(["nft", BLOCK])
    with found.nodes["node-b"].namespace.entered():
        run(["nft", DROP])
    servers = []
    for name in ("web-1", "web-2"):
        with found.pods[name].namespace.entered():
            address = ("::", SILENT)
            servers.append(
                socket.create_server(address, family=V6.socket_family, dualstack_ipv6=True)
            )
    yield found
    for each in servers:
        each.close()


def parts(found: Itinerary) -> list[tuple[str, list[Hop]]]:
    return [(role, [*hops]) for role, hops in groupby(found.hops, lambda hop: hop.role)]


def check_ends(found: Itinerary) -> None:
    """Each hop must begin with what the last one has ended with, and answers turn it round."""
    there = None
    for role, hops in parts(found):
        for here, following in pairwise(hops):
            assert here.after == following.before, (here, following)
        if role.endswith("request"):
            there = hops[0].before
        else:
            assert there
            assert hops[-1].after == there.turned


@pytest.mark.parametrize("family", [V4, V6])
def test_a_proxy_connects_to_an_endpoint(lab: ProbedLab, family: Family) -> None:
    found = lab.trace("visitor", "web:http", family=family)
    assert schema_problems(json.loads(json.dumps(found.values))) == []
    assert (found.outcome, found.answered, found.unseen) == ("delivered", True, ())
    ways = [(role, [hop.host for hop in hops]) for role, hops in parts(found)]
    assert ways == [
        ("request", ["visitor", "node-a"]),
        ("reply", ["node-a", "visitor"]),
        ("onward request", ["node-a", "router", "node-b", found.at]),
        ("onward reply", [found.at, "node-b", "router", "node-a"]),
    ]
    check_ends(found)
    (endpoint,) = found.endpoints
    assert endpoint.address == lab.pods[found.at].addresses[family]
    assert (endpoint.port, endpoint.host, endpoint.chosen_by) == (8080, found.at, "node-a")
    assert "a proxy on node-a accepts it, and makes a connection of its own" in found.sentence
    (_, onward) = parts(found)[2]
    assert onward[0].before.source == lab.nodes["node-a"].addresses[family]
    assert all(hop.route for hop in found.hops)


def test_each_of_many_has_its_own(lab: ProbedLab) -> None:
    wanted = Wanted(source="outside", target="192.168.10.11:30080")
    with Tracer(lab) as tracer:
        traced = [each.itinerary for each in tracer.trace(wanted, 24)]
    served = Counter(each.endpoints[-1].host for each in traced)
    assert served == Counter(each.at for each in traced)
    assert set(served) == {"web-1", "web-2"}  # by chance only one in eight millions
    assert all(each.answered for each in traced)
    assert len({each.hops[0].before for each in traced}) == 24


@pytest.mark.parametrize("family", [V4, V6])
def test_an_endpoint_that_refuses(lab: ProbedLab, family: Family) -> None:
    found = lab.trace("visitor", "web", port="closed", family=family)
    assert (found.outcome, found.answered) == ("refused", False)
    assert found.at == found.endpoints[-1].host
    roles = [role for role, _ in parts(found)]
    assert roles == ["request", "reply", "onward request", "onward error"]
    assert found.hops[-1].packet == "RST"
    assert found.sentence.endswith(f"; {found.at} refuses it with RST")


def test_a_drop_on_the_way_to_the_endpoint(lab: ProbedLab) -> None:
    found = lab.trace("visitor", "web", port="strict")
    assert (found.outcome, found.answered, found.at) == ("dropped", False, "node-b")
    assert found.hops[-1].role == "onward request"
    assert [role for role, _ in parts(found)] == ["request", "reply", "onward request"]


def test_a_drop_where_the_proxy_is(lab: ProbedLab) -> None:
    """No tap sees what does not leave: rules have met it."""
    found = lab.trace("visitor", "web", port="blocked")
    assert (found.outcome, found.answered, found.at) == ("dropped", False, "node-a")
    last = found.hops[-1]
    assert (last.role, last.host, last.entry, last.exit) == ("onward request", "node-a", "", "")
    assert [(step.chain, step.effect) for step in last.steps if step.effect] == [("first", "drop")]
    assert "node-a drops it: strict first" in found.sentence


def test_a_server_that_does_not_tell_whose_connection_it_is(lab: ProbedLab) -> None:
    found = lab.trace("visitor", "web", port="silent")
    assert (found.outcome, found.answered) == ("delivered", True)
    assert found.at == found.endpoints[-1].host
    (unseen,) = found.unseen
    assert unseen.startswith("whose connection it is: node-a began no other one")


def test_somebody_else_asks_the_proxy_meanwhile(
    lab: ProbedLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then it may be either's connection that the proxy makes, so the question is asked again."""
    attempts: list[Made] = []

    def disturbed(*arguments: Any) -> Made:
        if attempts:
            attempts.append(connect(*arguments))
            return attempts[-1]
        with ThreadPoolExecutor() as pool:
            made = pool.submit(connect, *arguments)
            with lab.nodes["node-a"].namespace.entered():
                for _ in range(20):
                    socket.create_connection((CLUSTER_IPS[V4], SILENT)).close()
            attempts.append(made.result())
        return attempts[-1]

    monkeypatch.setattr(tracing, "connect", disturbed)
    found = lab.trace("visitor", "web", port="silent")
    assert len(attempts) == 2
    assert [role for role, _ in parts(found)][2:] == ["onward request", "onward reply"]


def test_a_port_of_the_node_itself_is_no_relay(lab: ProbedLab) -> None:
    address = lab.nodes["node-a"].addresses[V4]
    with lab.nodes["node-a"].namespace.entered():
        server = socket.create_server((address, 7))
    with server:
        found = lab.trace("visitor", f"{address}:7")
    assert (found.at, found.answered, len(found.hops)) == ("node-a", True, 4)
    assert found.sentence == "node-a is reached without any translation"


def test_a_datagram_reaches_an_endpoint(kproxy_lab: LabFactory) -> None:
    """The datagram of the proxy has the same content, so it is a translation on its hop."""
    lab = kproxy_lab(pods={"web": "node-a", "visitor": "node-a"}, mode="userspace")
    port = ServicePort(port=53, protocol="UDP", target_port=8080)
    made = service("dns", cluster_ips=["10.96.0.12"], ports=[port], selector={"app": "web"})
    lab.apply([made, *lab.slices(made)])
    found = lab.trace("visitor", "dns")
    assert (found.at, found.answered) == ("web", True)
    assert [each.host for each in found.endpoints] == ["web"]
    assert "node-a sends it to 10.244.1.11:8080 (its proxy, by a datagram" in found.sentence
    check_ends(found)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_a_node_port_on_localhost(kproxy_lab: LabFactory, address: str) -> None:
    lab = built(kproxy_lab, "nftables", LOCALHOST)
    found = trace(lab, "node-a", address, port=30080)
    assert (found.answered, found.at) == (True, found.endpoints[-1].host)
    check_ends(found)
    onward = next(hop for hop in found.hops if hop.role == "onward request")
    assert (onward.host, onward.exit) == ("node-a", "eth0")
    assert onward.steps  # its rules
    assert onward.conntrack
    assert onward.conntrack.original == onward.before


@pytest.mark.parametrize("mode", ["iptables", "userspace"])
def test_an_ingress_passes_a_request_on(mode: str) -> None:
    with Lab(load_spec(EXAMPLES / "lab/ingress.yaml"), mode) as lab:
        lab.apply(EXAMPLES)
        found = trace(lab, "outside", "pod/front:80", http="shop.example.com/cart/1")
        assert (found.at, found.answered, found.unseen) == (found.endpoints[-1].host, True, ())
        check_ends(found)
        cart = found.endpoints[0]
        assert (cart.address, cart.port, cart.chosen_by) == ("10.96.0.50", 80, "front")
        assert found.endpoints[1].chosen_by == "node-a"
        assert "the ingress on front accepts it, and for http://shop.example.com/cart/1" in (
            found.sentence
        )
        begun = [hops[0].host for role, hops in parts(found) if role.endswith("request")]
        relays = {"iptables": ["front"], "userspace": ["front", "node-a"]}[mode]
        assert begun == ["outside", *relays]
        itself = trace(lab, "outside", "pod/front:80", http="closed.example.com")
        assert (itself.at, itself.answered, itself.endpoints) == ("front", True, ())
        assert itself.sentence.endswith("http://closed.example.com/ by itself, with status 503")
        with pytest.raises(BadInput):
            trace(lab, "outside", "10.96.0.10:7007", protocol="udp", http="shop.example.com")
        with pytest.raises(BadInput):
            trace(lab, "outside", "pod/front:80", http="no\nhost")


def test_through_a_load_balancer() -> None:
    """The way shown is that of the connection: both of its parts pass the same node."""
    pods = {"node-a": (pod("web-a", "web"),), "node-b": (pod("shell"),)}
    with running(spec("tunnel", pods), USERSPACE) as lab:
        for found in through_the_load_balancer(lab):
            check_ends(found)
