"""More hand-written rows, where hosts, routes, families and protocols decide, not policies."""

from __future__ import annotations

import pytest
from msgspec import structs

from kproxy.address import Family
from kproxy.backend import rules_of
from kproxy.forwarding.network import Network
from kproxy.forwarding.oracle import predict
from tests.forwarding.plans import (
    CLUSTER_CIDR_6,
    NETWORK,
    NODES,
    PROTOCOLS,
    WEB_6,
    Web,
    plan,
    plans_for,
    settings,
)
from tests.forwarding.wording import ask, packet

HOST_NETWORK = [  # the endpoint is node-a:9100. client, asks -> outcome
    ("outside", "node-a:30080", "node-a sees outside"),  # stays here: nothing is masqueraded
    ("outside", "node-b:30080", "node-a sees node-b"),
    ("pod-a", "cluster-ip:80", "node-a sees pod-a"),
    ("pod-b", "cluster-ip:80", "node-a sees pod-b"),
    ("node-a", "cluster-ip:80", "node-a sees node-a"),  # a hairpin, to the same address
    ("node-b", "cluster-ip:80", "node-a sees node-b"),
    ("node-a", "127.0.0.1:30080", "node-a sees node-a"),
    ("node-a", "gw-a:30080", "node-a sees node-a"),
    ("pod-b", "node-b:30080", "node-a sees node-b"),
    ("outside", "node-a:9100", "node-a sees outside"),
    ("node-a", "node-a:9100", "node-a sees node-a"),
]


@pytest.mark.parametrize(("client", "asks", "outcome"), HOST_NETWORK)
def test_host_network_endpoint(client: str, asks: str, outcome: str) -> None:
    assert ask(plans_for(Web(on=("node-a",))), client, asks) == outcome


FAILING_ENDPOINTS = [  # endpoints, client, asks -> outcome
    ("10.244.2.5:81", "pod-a", "cluster-ip:80", "refused by pod-b, 10.244.2.5:81 refused"),
    ("10.9.9.9:80", "pod-a", "cluster-ip:80", "refused by router, 10.9.9.9:80 refused"),
    (
        "pod-b 10.244.2.5:81 10.9.9.9:80",
        "outside",
        "node-a:30080",
        "pod-b sees node-a, 10.244.2.5:81 refused, 10.9.9.9:80 refused",
    ),
    # Endpoints that are frontends. node-a masquerades what it gets for its own VIP, sends it to the
    # router, and gets back a martian. A packet for node-a itself is not translated twice.
    ("198.51.100.9:80", "pod-b", "cluster-ip:80", "dropped at node-a, 198.51.100.9:80 dropped"),
    (
        "192.168.0.11:30080",
        "outside",
        "node-a:30080",
        "refused by node-a, 192.168.0.11:30080 refused",
    ),
]


@pytest.mark.parametrize(("on", "client", "asks", "outcome"), FAILING_ENDPOINTS)
def test_failing_endpoints(on: str, client: str, asks: str, outcome: str) -> None:
    assert ask(plans_for(Web(on=tuple(on.split()))), client, asks) == outcome


def test_a_refusal_that_bypasses_the_translating_node_is_not_heard() -> None:
    plans = plans_for(Web(on=("10.244.3.5:81",), external="Local"))
    assert ask(plans, "pod-a", "node-b:30080") == "dropped at pod-c, 10.244.3.5:81 dropped"
    plans = plans_for(Web(on=("10.244.2.5:81", "10.244.3.5:81"), external="Local"))
    outcome = "dropped at pod-c, 10.244.2.5:81 refused, 10.244.3.5:81 dropped"
    assert ask(plans, "pod-a", "node-b:30080") == outcome


def test_endpoints_that_are_frontends_come_to_an_end() -> None:
    """IPv6 has no martian check to stop them: two branches at each of 64 hops would never end."""
    addresses = (*WEB_6.vips, *WEB_6.external_ips)
    web = structs.replace(WEB_6, on=tuple(f"{address}:80" for address in addresses))
    plans = {node: plan([web], settings(node, family=Family.IPV6)) for node in NODES}
    assert ask(plans, "outside", "vip/6:80").startswith("refused by")


NO_SERVICE = [  # client, asks -> outcome
    ("outside", "pod-b:8080", "pod-b sees outside"),
    ("pod-a", "pod-b:8080", "pod-b sees pod-a"),
    ("pod-a", "pod-a2:8080", "pod-a2 sees pod-a"),
    ("pod-a", "pod-a:8080", "pod-a sees pod-a"),
    ("pod-a", "127.0.0.1:8080", "pod-a sees 127.0.0.1"),
    ("pod-a", "127.0.0.1:30080", "refused by pod-a"),  # a pod's loopback is its own
    ("node-a", "pod-a:8080", "pod-a sees gw-a"),
    ("node-a", "pod-b:8080", "pod-b sees node-a"),
    ("outside", "pod-b:81", "refused by pod-b"),
    ("outside", "node-a:81", "refused by node-a"),
    ("pod-b", "gw-a:81", "refused by node-a"),
    ("pod-b", "router:81", "refused by router"),
    ("pod-b", "outside:81", "refused by outside"),
    ("outside", "7.7.7.7:80", "refused by router"),
    # The address is in node-a's pod subnet, but no pod has it: node-a returns it to the router.
    ("pod-a", "10.244.1.99:80", "refused by router"),
    ("outside", "10.244.1.99:80", "refused by node-a"),
    ("node-a", "10.244.1.99:80", "dropped at node-a"),
    # Routed to node-a, where no process takes it: 64 hops, then ICMP time exceeded.
    ("outside", "vip:81", "refused by node-a"),
    ("pod-b", "vip:81", "refused by router"),
    ("node-b", "vip:81", "refused by node-a"),
    ("node-a", "vip:81", "dropped at node-a"),  # comes back at once, a martian
]


@pytest.mark.parametrize(("client", "asks", "outcome"), NO_SERVICE)
def test_no_service(client: str, asks: str, outcome: str) -> None:
    assert ask(plans_for(Web(on=("pod-b",))), client, asks) == outcome


IPV6 = [  # endpoints, externalTrafficPolicy, client, asks -> outcome
    ("pod-b", "Cluster", "pod-a", "cluster-ip/6:80", "pod-b sees pod-a/6"),
    ("pod-a", "Cluster", "pod-a", "cluster-ip/6:80", "pod-a sees gw-a/6"),
    ("pod-a", "Cluster", "node-a", "cluster-ip/6:80", "pod-a sees gw-a/6"),
    ("pod-b", "Cluster", "outside", "node-a/6:30080", "pod-b sees node-a/6"),
    ("pod-a", "Local", "outside", "vip/6:80", "pod-a sees outside/6"),
    ("pod-b", "Local", "outside", "vip/6:80", "dropped at node-a"),
    ("pod-b", "Cluster", "node-a", "::1:30080", "refused by node-a"),  # never on ::1
    ("pod-b", "Cluster", "pod-c", "cluster-ip/6:80", "refused by pod-c"),  # has no IPv6 address
    # No martian check in IPv6: the packet comes back to its sender and is refused in FORWARD.
    ("", "Cluster", "node-a", "vip/6:80", "refused by node-a"),
    ("", "Cluster", "node-a", "vip/6:81", "refused by node-a"),
]


@pytest.mark.parametrize(("on", "external", "client", "asks", "outcome"), IPV6)
def test_ipv6(on: str, external: str, client: str, asks: str, outcome: str) -> None:
    web = structs.replace(WEB_6, on=tuple(on.split()), external=external)
    plans = {
        node: plan([web], settings(node, family=Family.IPV6, detector=CLUSTER_CIDR_6))
        for node in NODES
    }
    assert ask(plans, client, asks) == outcome


@pytest.mark.parametrize("served", PROTOCOLS)
@pytest.mark.parametrize("asked", PROTOCOLS)
def test_protocols_are_told_apart(served: str, asked: str) -> None:
    plans = plans_for(Web(protocol=served))
    same = served == asked
    cluster_ip = ask(plans, "pod-a", "cluster-ip:80", protocol=asked)
    node_port = ask(plans, "outside", "node-a:30080", protocol=asked)
    assert cluster_ip == ("pod-b sees pod-a" if same else "refused by router")
    assert node_port == ("pod-b sees node-a" if same else "refused by node-a")


BOUND_SOURCE = [  # node-a binds this source, asks -> outcome with only pod-b behind the Service
    ("gw-a", "cluster-ip:80", "pod-b sees gw-a"),  # in the cluster CIDR: passes for a pod
    ("gw-a", "node-b:30080", "pod-b sees gw-b"),
    ("127.0.0.1", "cluster-ip:80", "pod-b sees node-a"),
    ("127.0.0.1", "pod-b:8080", "dropped at router"),  # loopback never leaves a host
    ("10.244.3.5", "pod-b:8080", "pod-b sees pod-c (no reply)"),  # spoofed: pod-c gets the reply
]


@pytest.mark.parametrize(("source", "asks", "outcome"), BOUND_SOURCE)
def test_bound_source(source: str, asks: str, outcome: str) -> None:
    assert ask(plans_for(Web()), "node-a", asks, source=source) == outcome


def test_affinity_leaves_all_candidates() -> None:
    plans = plans_for(Web(on=("pod-b", "pod-c"), affinity_timeout_s=10800))
    assert ask(plans, "pod-a", "cluster-ip:80") == "pod-b sees pod-a, pod-c sees pod-a"


def test_a_node_without_plan_has_no_service_proxy() -> None:
    plans = plans_for(Web())
    del plans["node-a"]
    assert ask(plans, "outside", "node-a:30080") == "refused by node-a"
    assert ask(plans, "outside", "node-b:30080") == "pod-b sees gw-b"


def test_an_external_ip_that_is_a_node_address() -> None:
    plans = plans_for(Web(external_ips=("192.168.0.12",)))
    assert ask(plans, "outside", "node-b:80") == "pod-b sees gw-b"
    assert ask(plans, "pod-a", "node-b:80") == "pod-b sees node-a"  # its own node translates


def test_an_external_address_of_a_node_without_local_endpoint_drops_on_input() -> None:
    plans = plans_for(
        Web(on=("pod-a",), external="Local", external_ips=("192.168.0.12",), vips=("192.168.0.13",))
    )
    assert ask(plans, "outside", "node-b:80") == "dropped at node-b"
    assert ask(plans, "outside", "node-c:80") == "dropped at node-c"


def test_an_external_ip_goes_before_a_node_port_and_else_the_name_decides() -> None:
    api = Web(name="api", on=("pod-c",), cluster_ip="10.96.0.11", external_ips=(), node_port=80)
    plans = plans_for(Web(on=("pod-b",), external_ips=("192.168.0.11",)), api)
    assert ask(plans, "outside", "node-a:80") == "pod-b sees node-a"
    assert ask(plans, "outside", "vip:80") == "pod-c sees node-a"


def test_the_longest_route_wins() -> None:
    network = Network(
        hosts=NETWORK.hosts,
        routes={
            "198.51.100.9/32": "node-c",
            "198.51.0.0/16": "node-b",
            "198.51.100.0/24": "node-b",
        },
    )
    verdict = predict(network, plans_for(Web()), packet("outside", "vip:80"), rules_of("iptables"))
    assert verdict.at == "node-c"


def test_two_services_do_not_meddle() -> None:
    other = Web(
        name="api", on=(), cluster_ip="10.96.0.11", external_ips=(), vips=(), node_port=30081
    )
    plans = plans_for(Web(), other)
    assert ask(plans, "pod-a", "cluster-ip:80") == "pod-b sees pod-a"
    assert ask(plans, "pod-a", "10.96.0.11:80") == "refused by node-a"
    assert ask(plans, "outside", "node-a:30081") == "refused by node-a"
