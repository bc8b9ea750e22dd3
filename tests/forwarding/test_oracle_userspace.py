"""The oracle's predictions in userspace mode, row by row. The rows were written by hand; those
checked by packets and connections are in netns_tests/userspace.
"""

from __future__ import annotations

import pytest
from msgspec import structs

from kproxy.address import Family
from kproxy.backend import rules_of
from kproxy.forwarding.oracle import predict
from tests.forwarding.plans import NETWORK, NODES, WEB_6, Web, plan, plans_for, primary, settings
from tests.forwarding.wording import ask, packet

MODE = "userspace"

POLICIES = [  # endpoints, both traffic policies, client, asks -> outcome
    # The endpoint sees the node that has taken the connection: the client's, or the one asked.
    ("pod-b", "Cluster", "outside", "node-a:30080", "pod-b sees node-a"),
    ("pod-b", "Cluster", "pod-a", "cluster-ip:80", "pod-b sees node-a"),
    ("pod-b", "Cluster", "node-c", "cluster-ip:80", "pod-b sees node-c"),
    ("pod-a", "Cluster", "pod-a2", "cluster-ip:80", "pod-a sees gw-a"),
    ("pod-b", "Cluster", "pod-a", "node-c:30080", "pod-b sees node-c"),
    ("pod-a pod-b", "Cluster", "outside", "vip:80", "pod-a sees gw-a, pod-b sees node-a"),
    # Local: this node's endpoints or no answer, for all clients.
    ("pod-b", "Local", "pod-a", "cluster-ip:80", "dropped at node-a"),
    ("pod-b", "Local", "outside", "node-a:30080", "dropped at node-a"),
    ("pod-b", "Local", "node-a", "vip:80", "dropped at node-a"),
    ("pod-b", "Local", "pod-c", "vip:80", "dropped at node-c"),
    ("pod-a pod-b", "Local", "outside", "node-a:30080", "pod-a sees gw-a"),
    ("pod-a pod-b", "Local", "pod-b", "vip:80", "pod-b sees gw-b"),
    # A pod that reaches itself, by any node.
    ("pod-b", "Cluster", "pod-b", "node-a:30080", "pod-b sees node-a"),
    ("pod-b", "Local", "pod-b", "node-b:30080", "pod-b sees gw-b"),
    # No endpoints: no process listens.
    ("", "Cluster", "node-c", "vip:80", "refused by node-c"),
    ("", "Local", "outside", "node-a:30080", "refused by node-a"),
    ("", "Cluster", "pod-b", "cluster-ip:80", "refused by node-b"),
]


@pytest.mark.parametrize(("on", "policy", "client", "asks", "outcome"), POLICIES)
def test_policies(on: str, policy: str, client: str, asks: str, outcome: str) -> None:
    plans = plans_for(Web(on=tuple(on.split()), external=policy, internal=policy))
    assert ask(plans, client, asks, mode=MODE) == outcome


ADDRESSES = [  # client, asks -> outcome with pod-b behind the Service
    ("outside", "vip:81", "refused by node-a"),
    ("pod-b", "cluster-ip:81", "refused by node-b"),
    ("node-c", "external-ip:81", "refused by node-c"),
    # The node's own listeners also accept connections to these addresses.
    ("pod-a", "cluster-ip:9100", "node-a sees pod-a"),
    ("outside", "vip:30080", "refused by node-a"),
    ("outside", "gw-a:30080", "pod-b sees node-a"),
    ("node-a", "127.0.0.1:30080", "refused by node-a"),
    ("outside", "node-a:9100", "node-a sees outside"),
]


@pytest.mark.parametrize(("client", "asks", "outcome"), ADDRESSES)
def test_addresses(client: str, asks: str, outcome: str) -> None:
    assert ask(plans_for(Web()), client, asks, mode=MODE) == outcome


def test_node_ports_on_the_primary_address() -> None:
    plans = {
        node: plan([Web()], settings(node, node_port_addresses=(primary(node),))) for node in NODES
    }
    assert ask(plans, "outside", "node-a:30080", mode=MODE) == "pod-b sees node-a"
    assert ask(plans, "outside", "gw-a:30080", mode=MODE) == "refused by node-a"


SOURCE_RANGES = [  # ranges, client, its source, endpoints -> outcome
    (("203.0.113.0/24",), "outside", "", "pod-b", "pod-b sees node-a"),
    (("203.0.113.0/24",), "pod-a", "", "pod-b", "dropped at node-a"),
    (("203.0.113.0/24",), "node-a", "", "pod-b", "dropped at node-a"),
    (("192.168.0.0/24",), "node-a", "node-a", "pod-b", "pod-b sees node-a"),
    (("198.51.100.9",), "node-a", "", "pod-b", "pod-b sees node-a"),  # its source is the VIP
    (("203.0.113.0/24",), "pod-a", "", "", "refused by node-a"),
]


@pytest.mark.parametrize(("ranges", "client", "source", "on", "outcome"), SOURCE_RANGES)
def test_source_ranges(
    ranges: tuple[str, ...], client: str, source: str, on: str, outcome: str
) -> None:
    plans = plans_for(Web(on=tuple(on.split()), source_ranges=ranges))
    assert ask(plans, client, "vip:80", source=source, mode=MODE) == outcome


FAILING = [  # endpoints, protocol -> outcome for a pod of node-a
    # Accepted, and then reset because the endpoint refuses.
    ("10.244.2.5:9999", "TCP", "refused by node-a, 10.244.2.5:9999 refused"),
    ("7.7.7.7:80", "TCP", "refused by node-a, 7.7.7.7:80 refused"),
    # A UDP client gets no error, wherever the packet ends.
    ("10.244.2.5:9999", "UDP", "dropped at pod-b, 10.244.2.5:9999 dropped"),
    ("pod-b 10.244.2.5:9999", "UDP", "pod-b sees node-a, 10.244.2.5:9999 dropped"),
    ("pod-b 7.7.7.7:80", "TCP", "pod-b sees node-a, 7.7.7.7:80 refused"),
]


@pytest.mark.parametrize(("on", "protocol", "outcome"), FAILING)
def test_endpoints_that_fail(on: str, protocol: str, outcome: str) -> None:
    plans = plans_for(Web(on=tuple(on.split()), protocol=protocol))
    assert ask(plans, "pod-a", "cluster-ip:80", protocol=protocol, mode=MODE) == outcome


def test_an_endpoint_on_the_node_itself() -> None:
    plans = plans_for(Web(on=("node-a",)))
    assert ask(plans, "outside", "node-a:30080", mode=MODE) == "node-a sees node-a"
    assert ask(plans, "outside", "node-b:30080", mode=MODE) == "node-a sees node-b"
    assert ask(plans, "pod-a", "cluster-ip:80", mode=MODE) == "node-a sees node-a"


def test_in_ipv6() -> None:
    web = structs.replace(WEB_6, on=("pod-a", "pod-b"))
    plans = {node: plan([web], settings(node, family=Family.IPV6)) for node in NODES}
    outcome = ask(plans, "pod-b", "cluster-ip/6:80", mode=MODE)
    assert outcome == "pod-a sees node-b/6, pod-b sees gw-b/6"


def test_sctp_is_refused() -> None:
    plans = plans_for(Web(protocol="SCTP"))
    assert ask(plans, "pod-a", "cluster-ip:80", protocol="SCTP", mode=MODE) == "refused by node-a"


def test_of_several_services_the_first_by_name_that_listens_is_asked() -> None:
    api = Web(name="api", on=("pod-c",), cluster_ip="10.96.0.11", node_port=30081)
    assert ask(plans_for(Web(), api), "outside", "vip:80", mode=MODE) == "pod-c sees node-a"
    nobody = structs.replace(api, on=())
    assert ask(plans_for(Web(), nobody), "outside", "vip:80", mode=MODE) == "pod-b sees node-a"


WHY = [  # web, client, asks -> words that must be in the explanation
    (Web(), "pod-a", "cluster-ip:80", "is taken by the proxy, which connects to its only endpoint"),
    (Web(on=()), "pod-a", "cluster-ip:80", "has no endpoints, so nobody listens"),
    (Web(external="Local"), "outside", "vip:80", "the listener accepts no client"),
    (Web(source_ranges=("198.18.0.0/15",)), "pod-a", "vip:80", "do not allow 10.244.1.5"),
    (Web(protocol="SCTP"), "pod-a", "cluster-ip:80", "does not listen for SCTP"),
]


@pytest.mark.parametrize(("web", "client", "asks", "why"), WHY)
def test_why(web: Web, client: str, asks: str, why: str) -> None:
    asked = packet(client, asks, protocol=web.protocol)
    prediction = predict(NETWORK, plans_for(web), asked, rules_of(MODE))
    assert why in prediction.why
    assert prediction.relay == ("node-a" if web == Web() else "")
