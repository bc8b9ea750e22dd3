"""The oracle's predictions in ipvs mode, row by row. The rows were written by hand, from
kube-proxy's rules and what Linux 6.1 did with them; policies are in netns_tests/forwarding.
"""

from __future__ import annotations

import pytest
from kproxy_ipvs import IpvsOptions
from msgspec import structs

from kproxy.backend import rules_of
from kproxy.forwarding.oracle import predict
from kproxy.forwarding.plan import FrontendKind, Plan
from tests.forwarding.plans import NETWORK, NODES, Web, plan, plans_for, settings
from tests.forwarding.wording import ask, packet

POLICIES = [  # endpoints, both traffic policies, client, asks -> outcome
    ("pod-b", "Cluster", "outside", "node-a:30080", "pod-b sees node-a"),
    ("pod-b", "Cluster", "pod-a", "cluster-ip:80", "pod-b sees pod-a"),
    ("pod-b", "Cluster", "node-a", "cluster-ip:80", "pod-b sees node-a"),
    ("pod-b", "Local", "pod-a", "cluster-ip:80", "pod-b sees pod-a"),  # others if none is here
    ("pod-b", "Local", "outside", "node-a:30080", "pod-b sees outside (no reply)"),
    ("pod-a pod-b", "Local", "outside", "node-a:30080", "pod-a sees outside"),
    ("pod-a pod-b", "Local", "pod-a2", "node-a:30080", "pod-a sees pod-a2"),  # no short circuit
    ("pod-b", "Local", "node-a", "vip:80", "dropped at node-b, 10.244.2.5:8080 dropped"),
    ("pod-a", "Local", "node-a", "vip:80", "pod-a sees vip"),
    ("", "Cluster", "node-a", "vip:80", "refused by node-a"),
    ("", "Local", "outside", "node-a:30080", "refused by node-a"),
    # Hairpins: masqueraded only by the pod's own node.
    ("pod-a", "Cluster", "pod-a", "cluster-ip:80", "pod-a sees gw-a"),
    ("pod-a", "Local", "pod-a", "node-a:30080", "pod-a sees gw-a"),
    ("pod-b", "Local", "pod-b", "node-a:30080", "pod-b sees gw-b (no reply)"),
]


@pytest.mark.parametrize(("on", "policy", "client", "asks", "outcome"), POLICIES)
def test_policies(on: str, policy: str, client: str, asks: str, outcome: str) -> None:
    plans = plans_for(Web(on=tuple(on.split()), external=policy, internal=policy))
    assert ask(plans, client, asks, mode="ipvs") == outcome


WITHOUT_FALLBACK = [  # as POLICIES, where Local means this node or none
    ("pod-b", "Local", "pod-a", "cluster-ip:80", "refused by node-a"),
    ("pod-b", "Local", "outside", "node-a:30080", "refused by node-a"),
    ("pod-b", "Local", "outside", "vip:80", "refused by node-a"),
    ("pod-b", "Local", "outside", "external-ip:80", "refused by node-a"),
    ("pod-b", "Local", "node-a", "vip:80", "refused by node-a"),
    ("pod-b", "Local", "node-a", "node-a:30080", "refused by node-a"),
    ("pod-b", "Local", "pod-b", "node-a:30080", "refused by node-a"),
    ("pod-b", "Local", "pod-b", "cluster-ip:80", "pod-b sees gw-b"),
    ("pod-b", "Local", "outside", "node-b:30080", "pod-b sees outside"),
    ("pod-a pod-b", "Local", "outside", "node-a:30080", "pod-a sees outside"),
    ("pod-b", "Cluster", "outside", "node-a:30080", "pod-b sees node-a"),
    ("pod-b", "Cluster", "pod-a", "cluster-ip:80", "pod-b sees pod-a"),
]


@pytest.mark.parametrize(("on", "policy", "client", "asks", "outcome"), WITHOUT_FALLBACK)
def test_policies_without_fallback(
    on: str, policy: str, client: str, asks: str, outcome: str
) -> None:
    web = Web(on=tuple(on.split()), external=policy, internal=policy)
    plans = {
        node: plan([web], settings(node, options=IpvsOptions(ipvs_local_fallback=False)))
        for node in NODES
    }
    assert ask(plans, client, asks, mode="ipvs") == outcome
    if outcome.startswith("refused"):
        why = predict(NETWORK, plans, packet(client, asks), rules_of("ipvs")).why
        assert "is empty" in why
        assert "TrafficPolicy Local uses only endpoints on this node" in why


ADDRESSES = [  # client, asks -> outcome with pod-b behind the Service
    # The address of a Service is one of every node: nothing else answers there.
    ("outside", "vip:81", "refused by node-a"),
    ("pod-b", "vip:81", "refused by node-b"),
    ("node-c", "cluster-ip:81", "refused by node-c"),
    ("outside", "vip:30080", "refused by node-a"),
    ("pod-a", "vip:9100", "refused by node-a"),
    ("pod-a", "vip:32000", "refused by node-a"),  # may pass, but no process listens
    # Node ports: on each address of an interface, not on those of lo.
    ("pod-a", "gw-a:30080", "pod-b sees node-a"),
    ("node-a", "127.0.0.1:30080", "refused by node-a"),
    ("node-a", "127.0.0.1:9100", "node-a sees 127.0.0.1"),
    ("outside", "node-a:9100", "node-a sees outside"),
]


@pytest.mark.parametrize(("client", "asks", "outcome"), ADDRESSES)
def test_addresses(client: str, asks: str, outcome: str) -> None:
    assert ask(with_health_check(plans_for(Web())), client, asks, mode="ipvs") == outcome


def with_health_check(plans: dict[str, Plan]) -> dict[str, Plan]:
    return {
        node: structs.replace(
            former,
            services={
                name: structs.replace(service, health_check_node_port=32000)
                for name, service in former.services.items()
            },
        )
        for node, former in plans.items()
    }


def test_a_health_check_port_may_be_asked_on_the_address_of_a_service() -> None:
    plans = with_health_check(plans_for(Web()))
    let_in = predict(NETWORK, plans, packet("outside", "vip:32000"), rules_of("ipvs"))
    kept_out = predict(NETWORK, plans, packet("outside", "vip:32001"), rules_of("ipvs"))
    assert "no process there listens" in let_in.why
    assert "198.51.100.9 is on kube-ipvs0, and no Service has port 32001/TCP" in kept_out.why


HEALTH_CHECKS = [  # protocol, nodePortAddresses, whether the Service has a node port -> passed
    ("TCP", (), True, True),
    ("UDP", (), True, True),
    ("SCTP", (), True, False),
    ("TCP", ("10.77.0.0/16",), True, False),
    ("TCP", ("10.77.0.0/16",), False, True),
    ("TCP", ("192.168.0.0/24",), True, True),
]


@pytest.mark.parametrize(("protocol", "cidrs", "node_port", "passed"), HEALTH_CHECKS)
def test_the_set_of_health_check_ports(
    protocol: str, cidrs: tuple[str, ...], node_port: bool, passed: bool
) -> None:
    for_web = {node: plan([Web()], settings(node, node_port_addresses=cidrs)) for node in NODES}
    plans = with_health_check(for_web)
    if not node_port:
        plans = {node: without_node_ports(each) for node, each in plans.items()}
    asked = structs.replace(packet("outside", "vip:32000"), protocol=protocol)
    why = predict(NETWORK, plans, asked, rules_of("ipvs")).why
    assert ("is on kube-ipvs0, and no Service has port 32000" in why) is not passed


def without_node_ports(former: Plan) -> Plan:
    services = {}
    for name, service in former.services.items():
        left = tuple(each for each in service.frontends if each.kind is not FrontendKind.NODE_PORT)
        services[name] = structs.replace(service, frontends=left)
    return structs.replace(former, services=services)


SOURCE_RANGES = [  # ranges, client, its source, endpoints -> outcome
    (("203.0.113.0/24",), "outside", "", "pod-b", "pod-b sees node-a"),
    (("203.0.113.0/24",), "pod-a", "", "pod-b", "dropped at node-a"),
    (("203.0.113.0/24",), "node-a", "", "pod-b", "dropped at node-a"),
    # The node's own packets are known by their source, which is the VIP unless they bind another.
    (("203.0.113.0/24",), "node-a", "node-a", "pod-b", "pod-b sees node-a"),
    (("198.51.100.0/24",), "node-a", "", "pod-b", "dropped at node-a"),  # holds the VIP: no use
    (("192.168.0.0/24", "198.51.100.9"), "node-a", "", "pod-b", "pod-b sees node-a"),
    # The ranges come first where packets come in, the virtual server where they go out.
    (("203.0.113.0/24",), "pod-a", "", "", "dropped at node-a"),
    (("203.0.113.0/24",), "node-a", "", "", "refused by node-a"),
    (("203.0.113.0/24",), "outside", "", "", "refused by node-a"),
]


@pytest.mark.parametrize(("ranges", "client", "source", "on", "outcome"), SOURCE_RANGES)
def test_source_ranges(
    ranges: tuple[str, ...], client: str, source: str, on: str, outcome: str
) -> None:
    plans = plans_for(Web(on=tuple(on.split()), source_ranges=ranges))
    assert ask(plans, client, "vip:80", source=source, mode="ipvs") == outcome


def test_without_a_detector_only_processes_of_the_node_are_masqueraded() -> None:
    plans = plans_for(Web(), detector=None)
    assert ask(plans, "pod-a", "cluster-ip:80", mode="ipvs") == "pod-b sees pod-a"
    assert ask(plans, "node-a", "cluster-ip:80", mode="ipvs") == "pod-b sees node-a"
    # 80 is the port of a cluster IP, but this source is none.
    assert ask(plans, "node-a", "cluster-ip:80", source="gw-a", mode="ipvs") == "pod-b sees gw-a"


def test_masquerade_all() -> None:
    plans = {node: plan([Web()], settings(node, masquerade_all=True)) for node in NODES}
    assert ask(plans, "pod-a", "cluster-ip:80", mode="ipvs") == "pod-b sees node-a"


HOST_NETWORK = [  # the endpoint is node-a:9100. client, asks -> outcome
    ("outside", "node-a:30080", "node-a sees outside"),
    ("outside", "node-b:30080", "node-a sees node-b"),
    ("pod-a", "cluster-ip:80", "node-a sees pod-a"),
    ("node-a", "cluster-ip:80", "node-a sees node-a"),
    ("node-b", "cluster-ip:80", "node-a sees node-b"),
]


@pytest.mark.parametrize(("client", "asks", "outcome"), HOST_NETWORK)
def test_host_network_endpoint(client: str, asks: str, outcome: str) -> None:
    assert ask(plans_for(Web(on=("node-a",))), client, asks, mode="ipvs") == outcome


LOOPBACK_SOURCE = [  # endpoints -> what becomes of a packet from 127.0.0.1 to the cluster IP
    ("pod-b", "dropped at node-a"),  # IPVS lets none leave
    ("node-a", "node-a sees 127.0.0.1"),
]


@pytest.mark.parametrize(("on", "outcome"), LOOPBACK_SOURCE)
def test_a_loopback_source(on: str, outcome: str) -> None:
    plans = plans_for(Web(on=(on,)))
    assert ask(plans, "node-a", "cluster-ip:80", source="127.0.0.1", mode="ipvs") == outcome


def test_node_port_addresses() -> None:
    plans = {
        node: plan([Web()], settings(node, node_port_addresses=("192.168.0.0/24",)))
        for node in NODES
    }
    assert ask(plans, "outside", "node-a:30080", mode="ipvs") == "pod-b sees node-a"
    assert ask(plans, "outside", "gw-a:30080", mode="ipvs") == "refused by node-a"


@pytest.mark.parametrize(
    ("protocol", "external", "source"),
    [("TCP", "Cluster", "node-a"), ("TCP", "Local", "pod-a"), ("SCTP", "Cluster", "pod-a")],
)
def test_a_cluster_ip_with_the_number_of_a_node_port_is_masqueraded_like_that(
    protocol: str, external: str, source: str
) -> None:
    """The ipsets of node ports hold bare numbers, except those of SCTP."""
    other = Web(name="api", cluster_ip="10.96.0.11", external_ips=(), vips=(), node_port=80)
    webs = [structs.replace(web, protocol=protocol, external=external) for web in (Web(), other)]
    outcome = ask(plans_for(*webs), "pod-a", "cluster-ip:80", protocol=protocol, mode="ipvs")
    assert outcome == f"pod-b sees {source}"


def test_an_external_ip_that_is_another_nodes_address_cuts_that_node_off() -> None:
    """node-a takes the address for its own: no packet from node-b's own address arrives."""
    plans = plans_for(Web(on=("pod-a",), external_ips=("192.168.0.12",)))
    assert ask(plans, "pod-a", "node-b:9100", mode="ipvs") == "refused by node-a"
    assert ask(plans, "node-a", "node-b:80", mode="ipvs") == "pod-a sees gw-a"
    outcome = ask(plans, "outside", "node-b:30080", mode="ipvs")
    assert outcome == "dropped at node-a, 10.244.1.5:8080 dropped"


def test_if_several_services_claim_an_address_the_first_by_name_has_it() -> None:
    api = Web(name="api", on=("pod-c",), cluster_ip="10.96.0.11", node_port=30081)
    assert ask(plans_for(Web(), api), "outside", "vip:80", mode="ipvs") == "pod-c sees node-a"


WHY = [  # web, client, asks -> words that must be in the explanation
    (
        Web(external="Local"),
        "outside",
        "node-a:30080",
        (
            "Local uses only endpoints on this node, but there is none, so that IPVS takes those "
            "of other nodes and the source is kept; pod-b answers, but the reply bypasses node-a"
        ),
    ),
    (Web(on=()), "pod-a", "cluster-ip:80", "node-a rejects it: the virtual server for cluster IP"),
    (Web(), "pod-a", "vip:81", "198.51.100.9 is on kube-ipvs0, and no Service has port 81/TCP"),
    (
        Web(source_ranges=("198.18.0.0/15",)),
        "pod-a",
        "vip:80",
        "do not allow 10.244.1.5",
    ),
]


@pytest.mark.parametrize(("web", "client", "asks", "why"), WHY)
def test_why(web: Web, client: str, asks: str, why: str) -> None:
    assert why in predict(NETWORK, plans_for(web), packet(client, asks), rules_of("ipvs")).why
