"""Who has which address and which name."""

import pytest

from kproxy.forwarding.plan import Family
from kproxy.lab.layout import Layout
from kproxy.lab.names import interface, published
from kproxy.lab.spec import ClientSpec, LabSpec, NodeSpec, PodSpec

PODS = tuple(PodSpec(name=f"web-{number}") for number in range(1, 5))
SPEC = LabSpec(
    nodes=(NodeSpec(name="node-a", pods=PODS[:2]), NodeSpec(name="node-b", pods=PODS[2:])),
    clients=(
        ClientSpec(name="near"),
        ClientSpec(name="fixed", addresses=("198.51.100.13", "FD00:198:0::77")),
        ClientSpec(name="far"),
    ),
)

ADDRESSES = [  # host, IPv4, IPv6
    ("node-a", "192.168.10.11", "fd00:192::11"),
    ("node-b", "192.168.10.12", "fd00:192::12"),
    ("web-1", "10.244.1.11", "fd00:10:244:1::11"),
    ("web-2", "10.244.1.12", "fd00:10:244:1::12"),
    ("web-3", "10.244.2.11", "fd00:10:244:2::11"),
    ("web-4", "10.244.2.12", "fd00:10:244:2::12"),
    ("near", "198.51.100.11", "fd00:198::11"),
    ("fixed", "198.51.100.13", "fd00:198::77"),
    ("far", "198.51.100.14", "fd00:198::13"),  # .13 is taken
]


@pytest.mark.parametrize(("host", "ipv4", "ipv6"), ADDRESSES)
def test_addresses(host: str, ipv4: str, ipv6: str) -> None:
    assert Layout.of(SPEC).addresses[host] == {Family.IPV4: ipv4, Family.IPV6: ipv6}


def test_what_lies_between_the_hosts() -> None:
    layout = Layout.of(SPEC)
    assert layout.subnets["node-b"] == {
        Family.IPV4: "10.244.2.0/24",
        Family.IPV6: "fd00:10:244:2::/64",
    }
    assert layout.gateways["node-b"] == {Family.IPV4: "10.244.2.1", Family.IPV6: "fd00:10:244:2::1"}
    assert layout.node_gateway == {Family.IPV4: "192.168.10.1", Family.IPV6: "fd00:192::1"}
    assert layout.client_gateway == {Family.IPV4: "198.51.100.1", Family.IPV6: "fd00:198::1"}


def test_one_family() -> None:
    layout = Layout.of(LabSpec(nodes=(NodeSpec(name="a"),), families=(Family.IPV6,)))
    assert layout.addresses == {"a": {Family.IPV6: "fd00:192::11"}}
    assert layout.node_gateway == {Family.IPV6: "fd00:192::1"}


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("web-1", "web-1"),
        ("fifteen-letters", "fifteen-letters"),
        ("a-very-long-pod-name", "a-very-lon-492d"),
        ("a-very-long-pod-name-2", "a-very-lon-659e"),
    ],
)
def test_interface_names(host: str, name: str) -> None:
    assert interface(host) == name


def test_published_names() -> None:
    assert published("demo", "node-a") == "demo-node-a"
