"""The oracle's predictions, row by row. Every row was written by hand, from kube-proxy's rules and
from what Linux 6.18 did with the same rules in namespaces; none was copied from the oracle.

The lab is drawn in plans.py: VIPs are routed to node-a, pods listen on 8080, each node on 9100.
`gw-a` is node-a's address towards its pods.
"""

from __future__ import annotations

import pytest

from kproxy.backend import rules_of
from kproxy.forwarding.oracle import predict
from kproxy.forwarding.plan import LocalDetector
from tests.forwarding.plans import (
    CLUSTER_CIDR,
    NETWORK,
    NODES,
    POD_LINKS,
    Web,
    node_cidr,
    plan,
    plans_for,
    settings,
)
from tests.forwarding.wording import ask, packet

RULES = rules_of("iptables")

NODE_PORT = [  # endpoints, externalTrafficPolicy, client, asks -> outcome
    # Cluster: always masqueraded, so that the reply returns through the node that was asked.
    ("pod-b", "Cluster", "outside", "node-a:30080", "pod-b sees node-a"),
    ("pod-a", "Cluster", "outside", "node-a:30080", "pod-a sees gw-a"),
    ("pod-a pod-b", "Cluster", "outside", "node-a:30080", "pod-a sees gw-a, pod-b sees node-a"),
    ("pod-b", "Cluster", "outside", "gw-a:30080", "pod-b sees node-a"),
    ("pod-b", "Cluster", "pod-a", "node-a:30080", "pod-b sees node-a"),
    ("pod-b", "Cluster", "pod-a", "gw-a:30080", "pod-b sees node-a"),
    ("pod-b", "Cluster", "pod-a", "node-c:30080", "pod-b sees node-c"),
    ("pod-b", "Cluster", "node-a", "node-a:30080", "pod-b sees node-a"),
    ("pod-b", "Cluster", "node-a", "node-b:30080", "pod-b sees gw-b"),
    ("pod-b", "Cluster", "pod-b", "node-b:30080", "pod-b sees gw-b"),
    # Local, client outside: only endpoints of the node asked, and the client's address is kept.
    ("pod-a", "Local", "outside", "node-a:30080", "pod-a sees outside"),
    ("pod-a pod-b", "Local", "outside", "node-a:30080", "pod-a sees outside"),
    ("pod-b", "Local", "outside", "node-a:30080", "dropped at node-a"),  # dropped, not refused
    ("pod-b", "Local", "outside", "gw-a:30080", "dropped at node-a"),
    # Local, pods: by the cluster CIDR every pod is local, whatever node it asks.
    ("pod-b", "Local", "pod-a", "node-a:30080", "pod-b sees pod-a"),
    ("pod-b", "Local", "pod-a", "node-b:30080", "pod-b sees pod-a"),
    ("pod-b", "Local", "pod-a", "node-c:30080", "pod-b sees pod-a (no reply)"),
    ("pod-a", "Local", "pod-a", "node-b:30080", "pod-a sees node-b"),  # hairpin by way of node-b
    ("pod-a2", "Local", "pod-a", "node-b:30080", "pod-a2 sees pod-a (no reply)"),
    (
        "pod-a2 pod-b pod-c",  # asked on node-b: only the endpoint there answers through it
        "Local",
        "pod-a",
        "node-b:30080",
        "pod-a2 sees pod-a (no reply), pod-b sees pod-a, pod-c sees pod-a (no reply)",
    ),
    # Local, processes: their own node takes all endpoints, masqueraded; another one does not.
    ("pod-b", "Local", "node-a", "node-a:30080", "pod-b sees node-a"),
    ("pod-a", "Local", "node-a", "node-a:30080", "pod-a sees gw-a"),
    ("pod-b", "Local", "node-a", "node-b:30080", "pod-b sees node-a"),
    ("pod-b", "Local", "node-a", "node-c:30080", "dropped at node-c"),
    # The gateway address lies in the cluster CIDR, so its packets pass for a pod's.
    ("pod-b", "Local", "node-a", "gw-a:30080", "pod-b sees gw-a"),
    ("pod-b", "Cluster", "node-a", "gw-a:30080", "pod-b sees node-a"),
]


@pytest.mark.parametrize(("on", "external", "client", "asks", "outcome"), NODE_PORT)
def test_node_port(on: str, external: str, client: str, asks: str, outcome: str) -> None:
    plans = plans_for(Web(on=tuple(on.split()), external=external))
    assert ask(plans, client, asks) == outcome


CLUSTER_IP = [  # endpoints, internalTrafficPolicy, client, asks -> outcome
    ("pod-b", "Cluster", "pod-a", "cluster-ip:80", "pod-b sees pod-a"),
    ("pod-a2", "Cluster", "pod-a", "cluster-ip:80", "pod-a2 sees pod-a"),
    ("pod-a", "Cluster", "pod-a", "cluster-ip:80", "pod-a sees gw-a"),  # hairpin
    ("pod-a pod-b", "Cluster", "pod-a", "cluster-ip:80", "pod-a sees gw-a, pod-b sees pod-a"),
    ("pod-b", "Cluster", "node-a", "cluster-ip:80", "pod-b sees node-a"),
    ("pod-a", "Cluster", "node-a", "cluster-ip:80", "pod-a sees gw-a"),
    ("pod-a pod-b", "Local", "pod-a2", "cluster-ip:80", "pod-a sees pod-a2"),
    ("pod-a pod-b", "Local", "node-a", "cluster-ip:80", "pod-a sees gw-a"),
    ("pod-a pod-b", "Local", "pod-c", "cluster-ip:80", "dropped at node-c"),
    ("pod-a pod-b", "Local", "node-c", "cluster-ip:80", "dropped at node-c"),
    ("", "Cluster", "pod-a", "cluster-ip:80", "refused by node-a"),
    ("", "Cluster", "node-a", "cluster-ip:80", "refused by node-a"),
    ("", "Local", "pod-a", "cluster-ip:80", "refused by node-a"),
    # Packets to other ports than the Service's pass unchanged: no host routes a cluster IP.
    ("pod-b", "Cluster", "pod-a", "cluster-ip:81", "refused by router"),
    ("pod-b", "Cluster", "node-a", "cluster-ip:81", "refused by router"),
    ("pod-b", "Cluster", "pod-a", "cluster-ip:30080", "refused by router"),
    ("pod-b", "Cluster", "outside", "cluster-ip:80", "refused by router"),
]


@pytest.mark.parametrize(("on", "internal", "client", "asks", "outcome"), CLUSTER_IP)
def test_cluster_ip(on: str, internal: str, client: str, asks: str, outcome: str) -> None:
    plans = plans_for(Web(on=tuple(on.split()), internal=internal))
    assert ask(plans, client, asks) == outcome


# Both are routed to node-a, and treated alike as long as there are no source ranges.
EXTERNAL_ADDRESS = [  # endpoints, externalTrafficPolicy, client -> outcome
    ("pod-b", "Cluster", "outside", "pod-b sees node-a"),
    ("pod-a", "Cluster", "outside", "pod-a sees gw-a"),
    ("pod-b", "Cluster", "pod-c", "pod-b sees node-c"),  # the client's own node translates
    ("pod-b", "Cluster", "node-c", "pod-b sees node-c"),
    ("pod-a", "Local", "outside", "pod-a sees outside"),
    ("pod-b", "Local", "outside", "dropped at node-a"),
    ("pod-b", "Local", "pod-c", "pod-b sees pod-c"),
    ("pod-b", "Local", "pod-b", "pod-b sees gw-b"),
    ("pod-b", "Local", "node-c", "pod-b sees node-c"),
    ("", "Cluster", "outside", "refused by node-a"),
    ("", "Local", "outside", "refused by node-a"),
    ("", "Cluster", "pod-c", "refused by node-c"),
    # No rule on OUTPUT: a process's packet leaves. On node-a it comes back and is a martian.
    ("", "Cluster", "node-c", "refused by node-a"),
    ("", "Cluster", "node-a", "dropped at node-a"),
]


@pytest.mark.parametrize("address", ["external-ip", "vip"])
@pytest.mark.parametrize(("on", "external", "client", "outcome"), EXTERNAL_ADDRESS)
def test_external_address(address: str, on: str, external: str, client: str, outcome: str) -> None:
    plans = plans_for(Web(on=tuple(on.split()), external=external))
    assert ask(plans, client, f"{address}:80") == outcome


SOURCE_RANGES = [  # endpoints, ranges, client, asks -> outcome
    ("pod-b", "203.0.113.0/24", "outside", "vip:80", "pod-b sees node-a"),
    ("pod-b", "203.0.113.9", "outside", "vip:80", "pod-b sees node-a"),
    ("pod-b", "198.18.0.0/15", "outside", "vip:80", "dropped at node-a"),
    ("pod-b", "198.18.0.0/15", "pod-c", "vip:80", "dropped at node-c"),  # FORWARD
    ("pod-b", "198.18.0.0/15", "node-c", "vip:80", "dropped at node-c"),  # OUTPUT
    ("pod-b", "10.244.0.0/16", "pod-c", "vip:80", "pod-b sees node-c"),
    ("pod-b", "192.168.0.0/24", "node-c", "vip:80", "pod-b sees node-c"),
    # They bind VIPs only.
    ("pod-b", "198.18.0.0/15", "outside", "external-ip:80", "pod-b sees node-a"),
    ("pod-b", "198.18.0.0/15", "outside", "node-a:30080", "pod-b sees node-a"),
    ("pod-b", "198.18.0.0/15", "pod-a", "cluster-ip:80", "pod-b sees pod-a"),
    # Without endpoints there is no firewall: every client is refused.
    ("", "198.18.0.0/15", "outside", "vip:80", "refused by node-a"),
]


@pytest.mark.parametrize(("on", "ranges", "client", "asks", "outcome"), SOURCE_RANGES)
def test_source_ranges(on: str, ranges: str, client: str, asks: str, outcome: str) -> None:
    plans = plans_for(Web(on=tuple(on.split()), source_ranges=(ranges,)))
    assert ask(plans, client, asks) == outcome


def test_source_ranges_bind_before_the_short_circuit() -> None:
    plans = plans_for(Web(on=("pod-b",), external="Local", source_ranges=("203.0.113.0/24",)))
    assert ask(plans, "pod-c", "vip:80") == "dropped at node-c"
    assert ask(plans, "outside", "vip:80") == "dropped at node-a"  # allowed, but no local endpoint


def test_source_ranges_may_allow_the_vip_itself() -> None:
    """With the node's IP in a range the planner allows the VIP, its source where a VIP is local."""
    web = Web(on=("pod-b",), source_ranges=("192.168.0.11", "198.51.100.9"))
    plans = plans_for(web)
    verdict = predict(NETWORK, plans, packet("node-a", "vip:80", source="vip"), RULES)
    assert verdict.sources == {"pod-b": "192.168.0.11"}
    assert not verdict.answered  # here no node has the VIP
    assert ask(plans, "node-a", "vip:80", source="gw-a") == "dropped at node-a"


NODE_PORT_WITHOUT_ENDPOINTS = [  # endpoints, externalTrafficPolicy, client, asks -> outcome
    ("", "Cluster", "outside", "node-a:30080", "refused by node-a"),
    ("", "Local", "outside", "node-a:30080", "refused by node-a"),
    ("", "Cluster", "pod-a", "node-a:30080", "refused by node-a"),
    ("", "Cluster", "pod-a", "node-b:30080", "refused by node-b"),
    ("", "Cluster", "node-a", "node-a:30080", "refused by node-a"),  # INPUT, by way of lo
    ("", "Cluster", "node-a", "127.0.0.1:30080", "refused by node-a"),
    ("", "Cluster", "node-a", "node-b:30080", "refused by node-b"),
]


@pytest.mark.parametrize(
    ("on", "external", "client", "asks", "outcome"), NODE_PORT_WITHOUT_ENDPOINTS
)
def test_node_port_without_endpoints(
    on: str, external: str, client: str, asks: str, outcome: str
) -> None:
    plans = plans_for(Web(on=tuple(on.split()), external=external))
    assert ask(plans, client, asks) == outcome
    assert "no endpoints anywhere" in predict(NETWORK, plans, packet(client, asks), RULES).why


# pod-b is the only endpoint; node-a is asked, externalTrafficPolicy is Local. Clients that the
# detector takes for local pods short-circuit to pod-b, others find no local endpoint.
DETECTORS = [  # detector, client, outcome of node-a:30080, outcome of cluster-ip:80
    (CLUSTER_CIDR, "pod-a", "pod-b sees pod-a", "pod-b sees pod-a"),
    (CLUSTER_CIDR, "pod-c", "pod-b sees pod-c (no reply)", "pod-b sees pod-c"),
    (node_cidr(1), "pod-a", "pod-b sees pod-a", "pod-b sees pod-a"),
    (node_cidr(1), "pod-c", "dropped at node-a", "pod-b sees node-c"),
    (POD_LINKS, "pod-a", "pod-b sees pod-a", "pod-b sees pod-a"),
    (POD_LINKS, "pod-c", "dropped at node-a", "pod-b sees pod-c"),  # local to node-c, which acts
    (POD_LINKS, "node-a", "pod-b sees node-a", "pod-b sees node-a"),
    (None, "pod-a", "dropped at node-a", "pod-b sees pod-a"),
    (None, "node-a", "pod-b sees node-a", "pod-b sees node-a"),
]


@pytest.mark.parametrize(("detector", "client", "node_port", "cluster_ip"), DETECTORS)
def test_detectors(
    detector: LocalDetector | None, client: str, node_port: str, cluster_ip: str
) -> None:
    plans = plans_for(Web(external="Local"), detector=detector)
    assert ask(plans, client, "node-a:30080") == node_port
    assert ask(plans, client, "cluster-ip:80") == cluster_ip


def test_without_a_detector_processes_are_not_masqueraded_to_cluster_ips() -> None:
    plans = plans_for(Web(on=("pod-a",)), detector=None)
    assert ask(plans, "node-a", "cluster-ip:80") == "pod-a sees node-a"  # not gw-a
    assert ask(plans, "pod-a", "cluster-ip:80") == "pod-a sees gw-a"  # but hairpins are


def test_processes_do_not_pass_for_pods_where_the_interface_decides() -> None:
    plans = plans_for(Web(on=("pod-a",)), detector=POD_LINKS)
    assert ask(plans, "node-a", "cluster-ip:80") == "pod-a sees gw-a"


def test_masquerade_all_is_for_cluster_ips_only() -> None:
    web = [Web(on=("pod-b",), external="Local")]
    plans = {node: plan(web, settings(node, masquerade_all=True)) for node in NODES}
    assert ask(plans, "pod-a", "cluster-ip:80") == "pod-b sees node-a"
    assert ask(plans, "outside", "node-b:30080") == "pod-b sees outside"
    assert ask(plans, "pod-a", "node-b:30080") == "pod-b sees pod-a"


LOCALHOST = [  # endpoints, externalTrafficPolicy, asks -> outcome for node-a with, and without
    ("pod-b", "Cluster", "127.0.0.1:30080", "pod-b sees node-a", "refused by node-a"),
    ("pod-a", "Cluster", "127.0.0.1:30080", "pod-a sees gw-a", "refused by node-a"),
    ("pod-b", "Cluster", "127.0.0.5:30080", "pod-b sees node-a", "refused by node-a"),
    ("pod-b", "Local", "127.0.0.1:30080", "pod-b sees node-a", "dropped at node-a"),
    ("pod-b", "Cluster", "127.0.0.1:80", "refused by node-a", "refused by node-a"),
    ("pod-b", "Cluster", "127.0.0.1:9100", "node-a sees 127.0.0.1", "node-a sees 127.0.0.1"),
]


@pytest.mark.parametrize(("on", "external", "asks", "enabled", "disabled"), LOCALHOST)
def test_localhost_node_ports(
    on: str, external: str, asks: str, enabled: str, disabled: str
) -> None:
    web = [Web(on=(on,), external=external)]
    for localhost, outcome in ((True, enabled), (False, disabled)):
        plans = {node: plan(web, settings(node, localhost_node_ports=localhost)) for node in NODES}
        assert ask(plans, "node-a", asks) == outcome


NODE_PORT_ADDRESSES = [  # nodePortAddresses, endpoints, client, asks -> outcome
    ("192.168.0.0/24", "pod-b", "outside", "node-a:30080", "pod-b sees node-a"),
    ("192.168.0.0/24", "pod-b", "outside", "gw-a:30080", "refused by node-a"),
    ("192.168.0.0/24", "pod-b", "node-a", "127.0.0.1:30080", "refused by node-a"),
    ("10.244.1.0/24", "pod-b", "outside", "node-a:30080", "refused by node-a"),
    ("10.244.1.0/24", "pod-b", "pod-a", "gw-a:30080", "pod-b sees node-a"),
    ("127.0.0.0/8", "pod-b", "node-a", "127.0.0.1:30080", "pod-b sees node-a"),
    ("127.0.0.0/8", "pod-b", "node-a", "127.0.0.5:30080", "refused by node-a"),  # lo has only .1
    ("127.0.0.0/8", "pod-b", "outside", "node-a:30080", "refused by node-a"),
]


@pytest.mark.parametrize(("cidr", "on", "client", "asks", "outcome"), NODE_PORT_ADDRESSES)
def test_node_port_addresses(cidr: str, on: str, client: str, asks: str, outcome: str) -> None:
    plans = {
        node: plan([Web(on=(on,))], settings(node, node_port_addresses=(cidr,))) for node in NODES
    }
    assert ask(plans, client, asks) == outcome


def test_refusal_of_node_ports_ignores_node_port_addresses() -> None:
    """The rule in KUBE-EXTERNAL-SERVICES says --dst-type LOCAL and no address."""
    web = [Web(on=("pod-b",), external="Local")]
    plans = {
        node: plan(web, settings(node, node_port_addresses=("192.168.0.0/24",))) for node in NODES
    }
    assert ask(plans, "outside", "gw-a:30080") == "dropped at node-a"
