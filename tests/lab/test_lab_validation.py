"""The check of a lab spec: every problem with its place."""

from typing import Any

import pytest

from kproxy.address import Family
from kproxy.lab.models import MODELS
from kproxy.lab.profiles import PROFILES
from kproxy.lab.spec import (
    BalancerSpec,
    ClientSpec,
    EdgeSpec,
    LabSpec,
    NodeSpec,
    PodSpec,
    PortSpec,
)
from kproxy.lab.validation import problems

A = NodeSpec(name="a")
ICMP: Any = "ICMP"  # no protocol that a port may have
LONG_NAMES = ("long-names-110-of-pods", "long-names-116-of-pods")
BOTH = "would both have the"
LONG = "interface long-names-8cc9"
LABEL_RULE = "is not a DNS label (a-z, 0-9, '-', at most 63 characters)"


def pod(**fields: Any) -> tuple[NodeSpec, ...]:
    return (NodeSpec(name="a", pods=(PodSpec(**({"name": "p"} | fields)),)),)


def clients(*addresses: str) -> dict[str, Any]:
    return {"nodes": (A,), "clients": (ClientSpec(name="c", addresses=addresses),)}


def nodes(count: int) -> tuple[NodeSpec, ...]:
    return tuple(NodeSpec(name=f"n{number}") for number in range(count))


def agent(name: str, port: int = 80) -> PodSpec:
    return PodSpec(name=name, ports=(PortSpec(port=port),), host_network=True)


def edge(*names: str, **fields: Any) -> dict[str, Any]:
    balancers = tuple(BalancerSpec(name=name) for name in names)
    return {"nodes": (A,), "edge": EdgeSpec(balancers=balancers, **fields)}


NETWORKS = "routed, vpc, tunnel, flannel-vxlan, flannel-host-gw, eni, eni-shared"
PUBLIC = "which have public addresses"
LARGE = {
    "pod_cidrs": ("10.0.0.0/8", "fd00:10:200::/48"),
    "service_cidrs": ("172.16.0.0/16", "fd01::/112"),
}

WRONG = [  # fields of the spec, its problems
    ({"nodes": ()}, ["nodes: at least one is needed"]),
    ({"nodes": (A,), "name": "My Lab"}, [f"name: 'My Lab' {LABEL_RULE}"]),
    ({"nodes": (A,), "name": "x\n"}, [f"name: 'x\\n' {LABEL_RULE}"]),
    ({"nodes": (NodeSpec(name="A"),)}, [f"nodes[0].name: 'A' {LABEL_RULE}"]),
    ({"nodes": (NodeSpec(name="router"),)}, ["nodes[0].name: 'router' is reserved"]),
    ({"nodes": (A, A)}, ["nodes[1].name: 'a' is also nodes[0].name"]),
    (
        {"nodes": pod(name="a"), "clients": (ClientSpec(name="a"),)},
        [
            "nodes[0].pods[0].name: 'a' is also nodes[0].name",
            "clients[0].name: 'a' is also nodes[0].name",
        ],
    ),
    (
        {"nodes": tuple(NodeSpec(name=name) for name in LONG_NAMES)},
        [f"nodes[1].name: {LONG_NAMES[1]!r} and {LONG_NAMES[0]!r} {BOTH} {LONG}"],
    ),
    ({"nodes": (NodeSpec(name="a", zone="x y"),)}, ["nodes[0].zone: 'x y' is not a label value"]),
    (
        {"nodes": (NodeSpec(name="a", config={"iptables": {"masqueradeBit": "x"}, "huh": 1}),)},
        [
            "nodes[0].config: iptables.masqueradeBit: expected int, got str",
            "nodes[0].config: huh: unknown field, ignored",
        ],
    ),
    (
        {"nodes": pod(namespace="No", labels={"a b": "c", "d": "e f", "-/x": ""})},
        [
            f"nodes[0].pods[0].namespace: 'No' {LABEL_RULE}",
            "nodes[0].pods[0].labels: 'a b' is not a label name",
            "nodes[0].pods[0].labels.d: 'e f' is not a label value",
            "nodes[0].pods[0].labels: '-/x' is not a label name",
        ],
    ),
    (
        {
            "nodes": pod(
                ports=(
                    PortSpec(port=0),
                    PortSpec(port=80, protocol=ICMP),
                    PortSpec(port=81, name="web"),
                    PortSpec(port=81, name="web"),
                    PortSpec(port=81, protocol="UDP", name="Web"),
                )
            )
        },
        [
            "nodes[0].pods[0].ports[0].port: 0 is not in 1..65535",
            "nodes[0].pods[0].ports[1].protocol: 'ICMP' is none of TCP, UDP, SCTP",
            "nodes[0].pods[0].ports[3]: 81/TCP is served already",
            "nodes[0].pods[0].ports[3].name: 'web' is used twice",
            "nodes[0].pods[0].ports[4].name: 'Web' is not a port name",
        ],
    ),
    (
        {"nodes": pod(runs="apache", ports=(PortSpec(port=80),))},
        ["nodes[0].pods[0].runs: 'apache' is none of nginx"],
    ),
    (
        {"nodes": pod(runs="nginx")},
        ["nodes[0].pods[0].ports: at least one is needed, where nginx listens"],
    ),
    (
        {"nodes": pod(runs="nginx", ports=(PortSpec(port=80), PortSpec(port=80, protocol="UDP")))},
        ["nodes[0].pods[0].ports[1].protocol: nginx serves TCP only, not UDP"],
    ),
    ({"nodes": (A,), "families": ()}, ["families: at least one is needed"]),
    (
        {"nodes": (A,), "families": (Family.IPV4, Family.IPV4)},
        ["families: one is named twice"],
    ),
    (
        {"nodes": (A,), "node_cidrs": ("10.244.1.0/24", "fd00:192::/64")},
        ["podCIDRs: 10.244.0.0/16 overlaps 10.244.1.0/24 of nodeCIDRs"],
    ),
    (
        {"nodes": (A,), "pod_cidrs": ("10.244.0.1/16", "10.0.0.0")},
        [
            "podCIDRs[0]: '10.244.0.1/16' is not a CIDR such as 10.0.0.0/16",
            "podCIDRs[1]: '10.0.0.0' is not a CIDR such as 10.0.0.0/16",
        ],
    ),
    ({"nodes": (A,), "pod_cidrs": ("10.244.0.0/16",)}, ["podCIDRs: no CIDR of IPv6"]),
    (
        {"nodes": (A,), "pod_cidrs": ("10.244.0.0/16", "10.1.0.0/16", "fd00:1::/56")},
        ["podCIDRs[1]: a second CIDR of IPv4"],
    ),
    (
        {"nodes": (A, NodeSpec(name="b")), "pod_cidrs": ("10.244.0.0/23", "fd00:10:244::/64")},
        [
            "podCIDRs[0]: 10.244.0.0/23 has no /24 subnets numbered from 1 to 2",
            "podCIDRs[1]: fd00:10:244::/64 has no /64 subnets numbered from 1 to 2",
        ],
    ),
    (
        {"nodes": (A,), "node_cidrs": ("192.168.10.0/28", "fd00:192::/120")},
        [
            "nodeCIDRs[0]: 192.168.10.0/28 is smaller than a /24",
            "nodeCIDRs[1]: fd00:192::/120 is smaller than a /112",
        ],
    ),
    (clients("198.51.100"), ["clients[0].addresses[0]: '198.51.100' is not an IP address"]),
    (
        clients("203.0.113.1", "2001:db8:198::1"),
        [
            "clients[0].addresses[0]: 203.0.113.1 is not in 198.51.100.0/24",
            "clients[0].addresses[1]: 2001:db8:198::1 is the router's or the network's own",
        ],
    ),
    (
        clients("198.51.100.7", "198.51.100.8"),
        ["clients[0].addresses[1]: a second IPv4 address"],
    ),
    (
        {
            "nodes": (A,),
            "clients": tuple(
                ClientSpec(name=name, addresses=("2001:db8:198::7",)) for name in "cd"
            ),
        },
        ["clients[1].addresses[0]: 2001:db8:198::7 belongs to c"],
    ),
    (
        {**clients("2001:db8:198::7"), "families": (Family.IPV4,)},
        ["clients[0].addresses[0]: the lab has no IPv6"],
    ),
    (
        {
            "nodes": (A,),
            "families": (Family.IPV4,),
            "routes": {"203.0.113.1": "a", "203.0.113.0/24": "b", "fd00::/64": "a"},
        },
        [
            "routes[203.0.113.1]: '203.0.113.1' is not a CIDR such as 203.0.113.0/24",
            "routes[203.0.113.0/24]: 'b' is not a node",
            "routes[fd00::/64]: the lab has no IPv6",
        ],
    ),
    (
        {"nodes": (A,), "network": "vxlan", "profile": "Upstream"},
        [
            f"network: 'vxlan' is none of {NETWORKS}",
            "profile: 'Upstream' is none of upstream, cce",
        ],
    ),
    (
        {"nodes": tuple(NodeSpec(name=name) for name in ("gateway", "dnat", "cni0", "eth1"))},
        [
            "nodes[0].name: 'gateway' is reserved",
            "nodes[1].name: 'dnat' is reserved",
            "nodes[2].name: 'cni0' is reserved",
            "nodes[3].name: 'eth1' is reserved",
        ],
    ),
    (
        edge("lb", "lb", "a", "segment", "LB"),
        [
            "edge.balancers[1].name: 'lb' is also edge.balancers[0].name",
            "edge.balancers[2].name: 'a' is also nodes[0].name",
            "edge.balancers[3].name: 'segment' is reserved",
            f"edge.balancers[4].name: 'LB' {LABEL_RULE}",
        ],
    ),
    (
        edge(*LONG_NAMES),
        [
            f"edge.balancers[1].name: {LONG_NAMES[1]!r} and {LONG_NAMES[0]!r} {BOTH} {LONG}",
        ],
    ),
    (
        {"nodes": (A,), "edge": EdgeSpec(balancers=(BalancerSpec(name="lb", kind="classic"),))},
        ["edge.balancers[0].kind: 'classic' is none of shared, dedicated"],
    ),
    (
        edge(public_cidrs=("198.51.100.0/24", "2001:db8::/64")),
        ["edge.publicCIDRs: 198.51.100.0/24 overlaps 198.51.100.0/24 of clientCIDRs"],
    ),
    (
        edge(balancer_cidrs=("192.168.0.0/16", "2001:db8:203::/48")),
        [
            "edge.balancerCIDRs: 192.168.0.0/16 overlaps 192.168.10.0/24 of nodeCIDRs",
            "edge.balancerCIDRs: 2001:db8:203::/48 overlaps 2001:db8:203::/64 of edge.publicCIDRs",
        ],
    ),
    (
        edge(public_cidrs=("203.0.113.0/25", "2001:db8::/120"), balancer_cidrs=("10.1.1.1/24",)),
        [
            "edge.publicCIDRs[0]: 203.0.113.0/25 is smaller than a /24",
            "edge.publicCIDRs[1]: 2001:db8::/120 is smaller than a /112",
            "edge.balancerCIDRs[0]: '10.1.1.1/24' is not a CIDR such as 10.0.0.0/16",
        ],
    ),
    (edge(public_cidrs=("203.0.113.0/24",)), ["edge.publicCIDRs: no CIDR of IPv6"]),
    (
        {**edge("lb"), "node_cidrs": ("100.125.0.0/24", "fd00:192::/64")},
        ["edge (health checks): 100.125.0.0/16 overlaps 100.125.0.0/24 of nodeCIDRs"],
    ),
    (
        {"nodes": (NodeSpec(name="a", pods=(agent("one"), agent("two"), agent("three", 81))),)},
        ["nodes[0].pods[1].ports[0]: 80/TCP of the node is served by one"],
    ),
    (
        {"nodes": nodes(81), **LARGE, "edge": EdgeSpec()},
        [f"nodes: 81 are more than 80, {PUBLIC}"],
    ),
    (
        edge(*(f"lb-{number}" for number in range(81))),
        [f"edge.balancers: 81 are more than 80, {PUBLIC}"],
    ),
    ({"nodes": nodes(201), **LARGE}, ["nodes: 201 are more than 200"]),
    (
        {**edge(), "routes": {"203.0.113.0/28": "a", "192.168.20.0/24": "a"}},
        [
            "routes[203.0.113.0/28]: overlaps 203.0.113.0/24 of edge.publicCIDRs",
            "routes[192.168.20.0/24]: overlaps 192.168.20.0/24 of edge.balancerCIDRs",
        ],
    ),
    (
        {"nodes": (A,), "routes": {"10.244.7.0/24": "a"}},
        ["routes[10.244.7.0/24]: overlaps 10.244.0.0/16 of podCIDRs"],
    ),
    (
        {"nodes": (A,), "control_plane": True, "routes": {"192.168.30.7/32": "a"}},
        ["routes[192.168.30.7/32]: overlaps 192.168.30.0/24 of loadBalancerCIDRs"],
    ),
    (
        {"nodes": (A,), "control_plane": True, "node_port_range": (30000, 29999)},
        ["nodePortRange: 30000-29999 is no range of ports, first and last of 1..65535"],
    ),
    (
        {"nodes": (A,), "upstream": {"www.example.com": ("192.0.2.1",)}},
        ["upstream: only with a control plane (controlPlane: true), which answers DNS"],
    ),
]


@pytest.mark.parametrize(("fields", "expected"), WRONG)
def test_wrong_contents(fields: dict[str, Any], expected: list[str]) -> None:
    assert problems(LabSpec(**fields)) == expected


RIGHT = [
    {"nodes": (A,)},
    *({"nodes": (A,), "network": name} for name in MODELS),
    *({"nodes": (A,), "profile": name} for name in PROFILES),
    {"nodes": nodes(200), **LARGE},
    {**edge(*(f"lb-{number}" for number in range(80))), "nodes": nodes(80)},
    {"nodes": pod(host_network=True, ports=(PortSpec(port=80),))},
    {"nodes": (A,), "routes": {"192.168.30.7/32": "a"}},
    {
        "nodes": (A,),
        "control_plane": True,
        "families": (Family.IPV4,),
        "load_balancer_cidrs": ("192.168.30.7/32",),
    },
    # Without an edge, its public addresses do not count as overlapping.
    {"nodes": (A,), "client_cidrs": ("203.0.113.0/24", "2001:db8:198::/64")},
    {**edge(public_cidrs=("203.0.113.0/24",)), "families": (Family.IPV4,)},
    {"nodes": (A,), "routes": {"203.0.113.0/24": "a", "10.96.0.0/16": "a", "2001:db8::/64": "a"}},
    {"nodes": (A,), "families": (Family.IPV6,), "pod_cidrs": ("fd00:1::/56",)},
    clients("198.51.100.7", "2001:db8:198::7"),
    {"nodes": pod(ports=(PortSpec(port=53), PortSpec(port=53, protocol="UDP", name="dns-1")))},
]


@pytest.mark.parametrize("fields", RIGHT)
def test_right_contents(fields: dict[str, Any]) -> None:
    assert problems(LabSpec(**fields)) == []
