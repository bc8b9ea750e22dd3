"""The oracle's predictions in nftables mode, row by row. The rows were written by hand, from
kube-proxy's rules and what Linux 6.18 did with them; policies are in netns_tests/forwarding, too.
"""

from __future__ import annotations

import pytest
from msgspec import structs

from kproxy.address import Family
from kproxy.backend import rules_of
from kproxy.forwarding.oracle import predict
from kproxy.forwarding.plan import LocalDetector
from tests.forwarding.plans import (
    CLUSTER_CIDR,
    CLUSTER_CIDR_6,
    NETWORK,
    NODES,
    POD_LINKS,
    WEB_6,
    Web,
    plan,
    plans_for,
    primary,
    settings,
)
from tests.forwarding.wording import ask, packet

POLICIES = [  # endpoints, both traffic policies, client, asks -> outcome
    ("pod-b", "Cluster", "outside", "node-a:30080", "pod-b sees node-a"),
    ("pod-b", "Cluster", "pod-a", "cluster-ip:80", "pod-b sees pod-a"),
    ("pod-b", "Cluster", "node-a", "cluster-ip:80", "pod-b sees node-a"),
    ("pod-b", "Local", "pod-a", "cluster-ip:80", "dropped at node-a"),
    ("pod-b", "Local", "outside", "node-a:30080", "dropped at node-a"),
    ("pod-a pod-b", "Local", "outside", "node-a:30080", "pod-a sees outside"),
    ("pod-a pod-b", "Local", "pod-a2", "node-a:30080", "pod-a sees pod-a2, pod-b sees pod-a2"),
    ("pod-b", "Local", "node-a", "node-a:30080", "pod-b sees node-a"),
    ("pod-b", "Local", "node-a", "node-c:30080", "dropped at node-c"),
    ("pod-b", "Local", "outside", "vip:80", "dropped at node-a"),
    ("pod-b", "Local", "node-a", "vip:80", "pod-b sees node-a"),
    # No endpoints: a process, too, is refused before its packet leaves.
    ("", "Cluster", "node-a", "vip:80", "refused by node-a"),
    ("", "Cluster", "node-c", "external-ip:80", "refused by node-c"),
    ("", "Cluster", "node-c", "cluster-ip:80", "refused by node-c"),
    ("", "Cluster", "pod-c", "vip:80", "refused by node-c"),
    # Node ports are refused only in INPUT, where the node that is asked decides.
    ("", "Local", "outside", "node-a:30080", "refused by node-a"),
    ("", "Cluster", "node-a", "node-a:30080", "refused by node-a"),
    ("", "Cluster", "node-a", "node-b:30080", "refused by node-b"),
    # Hairpins: masqueraded where the endpoint is on the node, whatever node was asked.
    ("pod-a", "Cluster", "pod-a", "cluster-ip:80", "pod-a sees gw-a"),
    ("pod-a", "Local", "pod-a", "node-a:30080", "pod-a sees gw-a"),
    ("pod-b", "Local", "pod-b", "vip:80", "pod-b sees gw-b"),
    ("pod-b", "Local", "pod-b", "node-a:30080", "dropped at pod-b, 10.244.2.5:8080 dropped"),
    ("pod-b", "Cluster", "pod-b", "node-a:30080", "pod-b sees node-a"),
]


@pytest.mark.parametrize(("on", "policy", "client", "asks", "outcome"), POLICIES)
def test_policies(on: str, policy: str, client: str, asks: str, outcome: str) -> None:
    plans = plans_for(Web(on=tuple(on.split()), external=policy, internal=policy))
    assert ask(plans, client, asks, mode="nftables") == outcome


def test_in_ipv6_a_pod_hears_itself_but_cannot_answer_the_node_it_asked() -> None:
    web = structs.replace(WEB_6, external="Local", on=("pod-b",))
    plans = {
        node: plan([web], settings(node, family=Family.IPV6, detector=CLUSTER_CIDR_6))
        for node in NODES
    }
    outcome = ask(plans, "pod-b", "node-a/6:30080", mode="nftables")
    assert outcome == "pod-b sees pod-b/6 (no reply)"


ADDRESSES = [  # client, asks -> outcome with pod-b behind the Service
    # A cluster IP has no other ports than its Service; an external address is routed.
    ("pod-a", "cluster-ip:81", "refused by node-a"),
    ("node-c", "cluster-ip:81", "refused by node-c"),
    ("pod-a", "cluster-ip:30080", "refused by node-a"),
    ("outside", "cluster-ip:81", "refused by router"),
    ("pod-a", "vip:81", "refused by router"),
    ("node-c", "external-ip:81", "refused by node-a"),
    # Node ports: never on 127.0.0.0/8.
    ("outside", "gw-a:30080", "pod-b sees node-a"),
    ("node-a", "127.0.0.1:30080", "refused by node-a"),
    ("node-a", "127.0.0.1:9100", "node-a sees 127.0.0.1"),
]


@pytest.mark.parametrize(("client", "asks", "outcome"), ADDRESSES)
def test_addresses(client: str, asks: str, outcome: str) -> None:
    assert ask(plans_for(Web()), client, asks, mode="nftables") == outcome


CIDRS, TWO_CIDRS = ("10.96.0.0/12",), ("10.8.0.0/16", "10.96.0.0/16")
SERVICE_CIDRS = [  # endpoints, ServiceCIDRs, client, asks -> outcome
    ("pod-b", CIDRS, "pod-a", "10.96.0.99:80", "dropped at node-a"),
    ("pod-b", CIDRS, "node-c", "10.96.0.99:80", "dropped at node-c"),
    ("pod-b", CIDRS, "outside", "10.96.0.99:80", "refused by router"),  # it reaches no node
    ("pod-b", TWO_CIDRS, "pod-a", "10.8.0.99:80", "dropped at node-a"),
    ("pod-b", TWO_CIDRS, "pod-a", "10.97.0.99:80", "refused by router"),
    ("pod-b", (), "pod-a", "10.96.0.99:80", "refused by router"),
    # Cluster IPs are allocated, also without endpoints, and have their own rule.
    ("pod-b", CIDRS, "pod-a", "cluster-ip:80", "pod-b sees pod-a"),
    ("pod-b", CIDRS, "pod-a", "cluster-ip:81", "refused by node-a"),
    ("", CIDRS, "pod-a", "cluster-ip:80", "refused by node-a"),
    # External addresses are not, but what is translated goes elsewhere.
    ("pod-b", ("198.51.100.0/24",), "pod-a", "vip:80", "pod-b sees node-a"),
    ("pod-b", ("198.51.100.0/24",), "pod-a", "vip:81", "dropped at node-a"),
    ("", ("198.51.100.0/24",), "pod-a", "vip:80", "refused by node-a"),
    (
        "pod-b",
        ("10.244.2.0/24",),
        "pod-a",
        "cluster-ip:80",
        "dropped at node-a, 10.244.2.5:8080 dropped",
    ),
    # INPUT has no such rule.
    ("pod-b", ("192.168.0.0/24",), "pod-a", "node-a:9100", "node-a sees pod-a"),
    ("pod-b", ("192.168.0.0/24",), "pod-a", "node-b:9100", "dropped at node-a"),
    ("pod-b", ("192.168.0.0/24",), "node-a", "node-a:9100", "dropped at node-a"),
]


@pytest.mark.parametrize(("on", "cidrs", "client", "asks", "outcome"), SERVICE_CIDRS)
def test_service_cidrs(
    on: str, cidrs: tuple[str, ...], client: str, asks: str, outcome: str
) -> None:
    web = Web(on=tuple(on.split()))
    plans = {node: plan([web], settings(node, service_cidrs=cidrs)) for node in NODES}
    assert ask(plans, client, asks, mode="nftables") == outcome


NODE_PORT_ADDRESSES = [  # endpoints, externalTrafficPolicy, client, asks -> outcome
    ("pod-b", "Cluster", "outside", "node-a:30080", "pod-b sees node-a"),
    ("pod-b", "Cluster", "outside", "gw-a:30080", "refused by node-a"),
    ("pod-b", "Local", "outside", "node-a:30080", "dropped at node-a"),
    ("pod-b", "Local", "outside", "gw-a:30080", "refused by node-a"),  # no rule knows the address
    ("pod-b", "Cluster", "node-a", "127.0.0.1:30080", "refused by node-a"),
    ("", "Cluster", "outside", "node-a:30080", "refused by node-a"),
]


@pytest.mark.parametrize(("on", "external", "client", "asks", "outcome"), NODE_PORT_ADDRESSES)
def test_only_the_primary_address_of_the_node_answers_node_ports(
    on: str, external: str, client: str, asks: str, outcome: str
) -> None:
    web = Web(on=tuple(on.split()), external=external)
    plans = {
        node: plan([web], settings(node, node_port_addresses=(primary(node),))) for node in NODES
    }
    assert ask(plans, client, asks, mode="nftables") == outcome


def test_127_0_0_1_is_left_out_even_where_it_is_listed() -> None:
    plans = {
        node: plan([Web()], settings(node, node_port_addresses=("127.0.0.0/8",))) for node in NODES
    }
    assert ask(plans, "node-a", "127.0.0.1:30080", mode="nftables") == "refused by node-a"


SOURCE_RANGES = [  # ranges, client, asks, endpoints -> outcome
    ("203.0.113.0/24", "outside", "vip:80", "pod-b", "pod-b sees node-a"),
    ("198.18.0.0/15", "outside", "vip:80", "pod-b", "dropped at node-a"),
    ("198.18.0.0/15", "pod-c", "vip:80", "pod-b", "dropped at node-c"),
    ("198.18.0.0/15", "node-c", "vip:80", "pod-b", "dropped at node-c"),
    # Ranges are checked first: there need not be an endpoint.
    ("198.18.0.0/15", "outside", "vip:80", "", "dropped at node-a"),
    ("198.18.0.0/15", "pod-c", "vip:80", "", "dropped at node-c"),
    ("198.18.0.0/15", "node-c", "vip:80", "", "dropped at node-c"),
    ("203.0.113.0/24", "outside", "vip:80", "", "refused by node-a"),
    # They bind VIPs only.
    ("198.18.0.0/15", "outside", "external-ip:80", "pod-b", "pod-b sees node-a"),
    ("198.18.0.0/15", "outside", "node-a:30080", "pod-b", "pod-b sees node-a"),
    ("198.18.0.0/15", "pod-a", "cluster-ip:80", "pod-b", "pod-b sees pod-a"),
]


@pytest.mark.parametrize(("ranges", "client", "asks", "on", "outcome"), SOURCE_RANGES)
def test_source_ranges(ranges: str, client: str, asks: str, on: str, outcome: str) -> None:
    plans = plans_for(Web(on=tuple(on.split()), source_ranges=(ranges,)))
    assert ask(plans, client, asks, mode="nftables") == outcome


DETECTORS: list[tuple[LocalDetector | None, bool, str, str]] = [  # detector, masqueradeAll ...
    # ... client -> outcome of cluster-ip:80, endpoint on pod-b
    (CLUSTER_CIDR, False, "pod-a", "pod-b sees pod-a"),
    (POD_LINKS, False, "pod-a", "pod-b sees pod-a"),
    (POD_LINKS, False, "node-a", "pod-b sees node-a"),
    (None, False, "node-a", "pod-b sees node-a"),  # its own address
    (None, False, "pod-a", "pod-b sees pod-a"),
    (CLUSTER_CIDR, True, "pod-a", "pod-b sees node-a"),
]


@pytest.mark.parametrize(("detector", "masquerade_all", "client", "outcome"), DETECTORS)
def test_detectors(
    detector: LocalDetector | None, masquerade_all: bool, client: str, outcome: str
) -> None:
    plans = {
        node: plan([Web()], settings(node, detector=detector, masquerade_all=masquerade_all))
        for node in NODES
    }
    assert ask(plans, client, "cluster-ip:80", mode="nftables") == outcome


HOST_NETWORK = [  # the endpoint is node-a:9100. client, asks -> outcome
    ("outside", "node-a:30080", "node-a sees outside"),
    ("outside", "node-b:30080", "node-a sees node-b"),
    ("pod-a", "cluster-ip:80", "node-a sees pod-a"),
    ("node-a", "cluster-ip:80", "node-a sees node-a"),
    ("node-b", "cluster-ip:80", "node-a sees node-b"),
]


@pytest.mark.parametrize(("client", "asks", "outcome"), HOST_NETWORK)
def test_host_network_endpoint(client: str, asks: str, outcome: str) -> None:
    assert ask(plans_for(Web(on=("node-a",))), client, asks, mode="nftables") == outcome


LOOPBACK_SOURCE = [  # endpoints, asks -> what becomes of a packet from 127.0.0.1 of node-a
    ("pod-b", "cluster-ip:80", "dropped at node-a"),  # the kernel does not even send it
    ("pod-b", "node-a:30080", "dropped at node-a"),
    ("node-a", "cluster-ip:80", "dropped at node-a"),
    ("node-a", "node-a:30080", "node-a sees node-a"),
]


@pytest.mark.parametrize(("on", "asks", "outcome"), LOOPBACK_SOURCE)
def test_a_loopback_source(on: str, asks: str, outcome: str) -> None:
    plans = plans_for(Web(on=(on,)))
    assert ask(plans, "node-a", asks, source="127.0.0.1", mode="nftables") == outcome


# Maps are looked up one after another: of two Services that claim a key, the first by name has it.
API = Web(name="api", on=("pod-c",), cluster_ip="10.96.0.11", external_ips=(), node_port=30081)
SHARED = [  # the Services, client, asks -> outcome
    ((Web(), API), "outside", "vip:80", "pod-c sees node-a"),
    ((Web(), structs.replace(API, on=())), "outside", "vip:80", "pod-b sees node-a"),
    (
        (Web(), structs.replace(API, source_ranges=("198.18.0.0/15",))),
        *("outside", "vip:80", "dropped at node-a"),
    ),
    (
        (Web(), structs.replace(API, external="Local")),  # leads nowhere, and the lookup ends
        *("outside", "vip:80", "dropped at node-a"),
    ),
]


@pytest.mark.parametrize(("webs", "client", "asks", "outcome"), SHARED)
def test_shared_addresses(webs: tuple[Web, ...], client: str, asks: str, outcome: str) -> None:
    assert ask(plans_for(*webs), client, asks, mode="nftables") == outcome


def test_an_external_ip_that_is_a_cluster_ip_is_masqueraded_like_that() -> None:
    """The mark for cluster IPs ignores the port."""
    other = Web(name="api", cluster_ip="198.51.100.7", external_ips=(), vips=(), node_port=30081)
    webs = (Web(on=("pod-a",), external="Local"), structs.replace(other, protocol="UDP"))
    assert ask(plans_for(*webs[:1]), "outside", "external-ip:80", mode="nftables") == (
        "pod-a sees outside"
    )
    assert ask(plans_for(*webs), "outside", "external-ip:80", mode="nftables") == "pod-a sees gw-a"
    assert ask(plans_for(*webs), "pod-a2", "external-ip:80", mode="nftables") == (
        "pod-a sees pod-a2"
    )


def test_an_endpoint_that_is_a_cluster_ip_is_refused() -> None:
    """Cluster IPs may not be forwarded, and packets are translated only once by a node."""
    plans = plans_for(Web(on=("10.96.0.11:80",)), API)
    outcome = ask(plans, "pod-a", "cluster-ip:80", mode="nftables")
    assert outcome == "refused by node-a, 10.96.0.11:80 refused"


def test_a_hairpin_is_known_by_what_any_service_says_of_the_endpoint() -> None:
    """Without a node name an endpoint is on no node, but all services share one set of them."""
    astray = Web(on=("10.244.1.5:8080",))
    plans = plans_for(astray)
    assert ask(plans, "pod-a", "cluster-ip:80", mode="nftables") == (
        "dropped at pod-a, 10.244.1.5:8080 dropped"
    )
    plans = plans_for(astray, structs.replace(API, on=("pod-a",)))
    assert ask(plans, "pod-a", "cluster-ip:80", mode="nftables") == "pod-a sees gw-a"


WHY = [  # web, client, asks -> words that must be in the explanation
    (Web(on=()), "node-a", "vip:80", "node-a rejects it: load balancer IP 198.51.100.9:80/TCP"),
    (
        Web(),
        *("pod-a", "cluster-ip:81"),
        "10.96.0.10 is a cluster IP, and its Service has no port 81/TCP (REJECT)",
    ),
    (
        Web(external="Local"),
        *("outside", "node-a:30080"),
        "has endpoints, but none on this node, and externalTrafficPolicy Local",
    ),
    (
        Web(external="Local"),
        *("pod-b", "node-a:30080"),
        "pod-b drops a packet that comes in from 10.244.2.5, an address of its own",
    ),
    (Web(on=(), source_ranges=("198.18.0.0/15",)), "pod-a", "vip:80", "do not allow 10.244.1.5"),
]


@pytest.mark.parametrize(("web", "client", "asks", "why"), WHY)
def test_why(web: Web, client: str, asks: str, why: str) -> None:
    assert why in predict(NETWORK, plans_for(web), packet(client, asks), rules_of("nftables")).why
