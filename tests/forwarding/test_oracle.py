"""What the oracle says, row by row. Every row was written by hand, from kube-proxy's rules and
from what Linux 6.18 did with the same rules in namespaces; none was copied from the oracle.

The lab is drawn in plans.py: VIPs are routed to node-a, pods listen on 8080, each node on 9100.
`gw-a` is node-a's address towards its pods.
"""

from __future__ import annotations

import pytest
from msgspec import structs

from kproxy.errors import BadInput
from kproxy.forwarding.network import Network, Packet
from kproxy.forwarding.oracle import predict
from kproxy.forwarding.plan import Family, LocalDetector
from tests.forwarding.plans import (
    CLUSTER_CIDR,
    CLUSTER_CIDR_6,
    NETWORK,
    NODES,
    POD_LINKS,
    PROTOCOLS,
    WEB_6,
    Web,
    node_cidr,
    plan,
    plans_for,
    settings,
)
from tests.forwarding.wording import ask, packet

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
    # Local, pods: the cluster CIDR calls every pod local, on whatever node it is asked.
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
    # Ports that are not the Service's are left alone: nobody routes a cluster IP.
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
    # Without endpoints there is no firewall: everybody is told.
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
    """With the node's IP in a range the planner allows the VIP: its source where a VIP is local."""
    web = Web(on=("pod-b",), source_ranges=("192.168.0.11", "198.51.100.9"))
    plans = plans_for(web)
    verdict = predict(NETWORK, plans, packet("node-a", "vip:80", source="vip"))
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
    assert "no endpoints anywhere" in predict(NETWORK, plans, packet(client, asks)).why


# pod-b is the only endpoint; node-a is asked, externalTrafficPolicy is Local. Whom does the
# detector call a local pod? Those take the short way to pod-b, others find no local endpoint.
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
    """IPv6, where no martian check stops them: two branches at each of 64 hops would never end."""
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
    # In node-a's pod subnet, but no pod has it: node-a returns it to the router.
    ("pod-a", "10.244.1.99:80", "refused by router"),
    ("outside", "10.244.1.99:80", "refused by node-a"),
    ("node-a", "10.244.1.99:80", "dropped at node-a"),
    # Routed to node-a, where nobody takes it: 64 hops, then ICMP time exceeded.
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
    verdict = predict(network, plans_for(Web()), packet("outside", "vip:80"))
    assert verdict.at == "node-c"


def test_two_services_do_not_meddle() -> None:
    other = Web(
        name="api", on=(), cluster_ip="10.96.0.11", external_ips=(), vips=(), node_port=30081
    )
    plans = plans_for(Web(), other)
    assert ask(plans, "pod-a", "cluster-ip:80") == "pod-b sees pod-a"
    assert ask(plans, "pod-a", "10.96.0.11:80") == "refused by node-a"
    assert ask(plans, "outside", "node-a:30081") == "refused by node-a"


WHY = [  # web, client, asks -> words that must be in the explanation
    (
        Web(external="Local", on=("pod-a",)),
        "outside",
        "node-b:30080",
        (
            "node-b drops it: node port 30080/TCP of shop/web:http has endpoints, but none on this "
            "node, and externalTrafficPolicy Local uses only endpoints on this node (DROP)"
        ),
    ),
    (
        Web(external="Local", on=("pod-c",)),
        "pod-a",
        "node-b:30080",
        (
            "node-b: node port 30080/TCP of shop/web:http is translated to its only endpoint: "
            "externalTrafficPolicy Local lets pods use all endpoints and keep their address; "
            "pod-c answers, but the reply bypasses node-b, so the client does not know it"
        ),
    ),
    (
        Web(on=("pod-a", "pod-b")),
        "pod-a",
        "cluster-ip:80",
        (
            "node-a: cluster IP 10.96.0.10:80/TCP of shop/web:http is translated to one of 2 "
            "endpoints: internalTrafficPolicy Cluster uses all endpoints and a local pod keeps its "
            "address; 10.244.1.5:8080 asks itself (hairpin) and sees 10.244.1.1"
        ),
    ),
    (
        Web(source_ranges=("198.18.0.0/15",)),
        "outside",
        "vip:80",
        (
            "node-a drops it: loadBalancerSourceRanges of load balancer IP 198.51.100.9:80/TCP of "
            "shop/web:http do not allow 203.0.113.9"
        ),
    ),
    (
        Web(on=()),
        "node-a",
        "external-ip:80",
        (
            "node-a does not refuse its own processes, though external IP 198.51.100.7:80/TCP of "
            "shop/web:http has no endpoints anywhere (REJECT); node-a drops a packet that comes in "
            "from 192.168.0.11, an address of its own (martian source)"
        ),
    ),
]


@pytest.mark.parametrize(("web", "client", "asks", "why"), WHY)
def test_why(web: Web, client: str, asks: str, why: str) -> None:
    assert predict(NETWORK, plans_for(web), packet(client, asks)).why == why


def test_bad_questions_are_bad_input() -> None:
    with pytest.raises(BadInput, match="no host called 'pod-x'"):
        predict(NETWORK, {}, Packet(client="pod-x", address="10.96.0.10", port=80))
    lonely = Network(hosts={"outside": NETWORK.hosts["outside"]}, routes={})
    with pytest.raises(BadInput, match="exactly one router"):
        predict(lonely, {}, Packet(client="outside", address="10.96.0.10", port=80))
