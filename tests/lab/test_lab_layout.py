"""The addresses and names of a lab's hosts."""

import pytest

from kproxy.address import Family
from kproxy.errors import BadInput
from kproxy.lab.layout import MAX_EDGE_HOSTS, Layout, PodAddresses, second_addresses
from kproxy.lab.names import free_interface, host_name, interface, published, second_port
from kproxy.lab.spec import BalancerSpec, ClientSpec, EdgeSpec, LabSpec, NodeSpec, PodSpec

PODS = tuple(PodSpec(name=f"web-{number}") for number in range(1, 5))
SPEC = LabSpec(
    nodes=(NodeSpec(name="node-a", pods=PODS[:2]), NodeSpec(name="node-b", pods=PODS[2:])),
    clients=(
        ClientSpec(name="near"),
        ClientSpec(name="fixed", addresses=("198.51.100.13", "2001:DB8:198:0::77")),
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
    ("near", "198.51.100.11", "2001:db8:198::11"),
    ("fixed", "198.51.100.13", "2001:db8:198::77"),
    ("far", "198.51.100.14", "2001:db8:198::13"),  # .13 is taken
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
    assert layout.client_gateway == {Family.IPV4: "198.51.100.1", Family.IPV6: "2001:db8:198::1"}


def test_one_family() -> None:
    layout = Layout.of(LabSpec(nodes=(NodeSpec(name="a"),), families=(Family.IPV6,)))
    assert layout.addresses == {"a": {Family.IPV6: "fd00:192::11"}}
    assert layout.node_gateway == {Family.IPV6: "fd00:192::1"}


EDGE = LabSpec(
    nodes=(
        NodeSpec(
            name="node-a", pods=(PodSpec(name="web"), PodSpec(name="host", host_network=True))
        ),
        NodeSpec(name="node-b", pods=(PodSpec(name="host-b", host_network=True),)),
    ),
    clients=(ClientSpec(name="outside"),),
    edge=EdgeSpec(balancers=(BalancerSpec(name="lb"), BalancerSpec(name="elb", kind="dedicated"))),
)
EDGE_ADDRESSES = [  # host, IPv4, IPv6
    ("gateway", "192.168.20.2", "fd00:192:20::2"),
    ("lb", "192.168.20.11", "fd00:192:20::11"),
    ("elb", "192.168.20.12", "fd00:192:20::12"),
    ("outside", "198.51.100.11", "2001:db8:198::11"),
    ("web", "10.244.1.11", "fd00:10:244:1::11"),
    ("host", "192.168.10.11", "fd00:192::11"),  # its node's
    ("host-b", "192.168.10.12", "fd00:192::12"),
]
PUBLIC_ADDRESSES = [
    ("node-a", "203.0.113.11", "2001:db8:203::11"),
    ("node-b", "203.0.113.12", "2001:db8:203::12"),
    ("lb", "203.0.113.101", "2001:db8:203::101"),
    ("elb", "203.0.113.102", "2001:db8:203::102"),
    ("dnat", "203.0.113.200", "2001:db8:203::200"),
]


@pytest.mark.parametrize(("host", "ipv4", "ipv6"), EDGE_ADDRESSES)
def test_addresses_with_an_edge(host: str, ipv4: str, ipv6: str) -> None:
    assert Layout.of(EDGE).addresses[host] == {Family.IPV4: ipv4, Family.IPV6: ipv6}


def test_public_addresses() -> None:
    public = Layout.of(EDGE).public
    assert [(name, *addresses.values()) for name, addresses in public.items()] == PUBLIC_ADDRESSES


def test_shared_load_balancers_check_from_addresses_of_their_own() -> None:
    assert Layout.of(EDGE).check_sources["lb"] == {
        Family.IPV4: "100.125.0.11",
        Family.IPV6: "fd00:100:125::11",
    }


def test_other_networks_of_an_edge() -> None:
    edge = EdgeSpec(
        balancers=(BalancerSpec(name="lb"),),
        public_cidrs=("192.0.2.0/24",),
        balancer_cidrs=("10.0.0.0/24",),
    )
    layout = Layout.of(LabSpec(nodes=(NodeSpec(name="a"),), families=(Family.IPV4,), edge=edge))
    assert (layout.public["a"], layout.addresses["lb"]) == (
        {Family.IPV4: "192.0.2.11"},
        {Family.IPV4: "10.0.0.11"},
    )


def test_no_edge_no_public_addresses() -> None:
    layout = Layout.of(SPEC)
    assert (layout.public, layout.check_sources) == ({}, {})


def test_the_largest_edge_gives_no_address_twice() -> None:
    largest = LabSpec(
        nodes=tuple(NodeSpec(name=f"node-{number}") for number in range(MAX_EDGE_HOSTS)),
        edge=EdgeSpec(
            balancers=tuple(BalancerSpec(name=f"lb-{number}") for number in range(MAX_EDGE_HOSTS))
        ),
    )
    layout = Layout.of(largest)
    for given in (layout.public, layout.addresses):
        found = [address for addresses in given.values() for address in addresses.values()]
        assert len(set(found)) == len(found)


SECOND = [
    ("10.244.1.0/24", "10.244.1.2", "10.244.1.3"),
    ("fd00:10:244:1::/64", "fd00:10:244:1::2", "fd00:10:244:1::3"),
]


@pytest.mark.parametrize(("subnet", "nodes", "routers"), SECOND)
def test_second_interfaces(subnet: str, nodes: str, routers: str) -> None:
    assert second_addresses(subnet) == (nodes, routers)


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


@pytest.mark.parametrize("node", ["node-a", "fifteen-letters", "a-very-long-node-name"])
def test_second_ports_fit_an_interface_and_are_no_host(node: str) -> None:
    assert len(second_port(node)) <= 15
    assert "." in second_port(node)


def test_second_ports_differ_where_long_names_do() -> None:
    assert second_port("worker-node-1") != second_port("worker-node-2")


def test_addresses_of_pods_that_are_added_and_removed() -> None:
    """They follow those of the spec's pods; a freed address is reused after all others."""
    subnets = Layout.of(SPEC).subnets["node-a"]
    free = PodAddresses(subnets, pods=2)
    first = free.take()
    assert first == (13, {Family.IPV4: "10.244.1.13", Family.IPV6: "fd00:10:244:1::13"})
    second = free.take()
    free.free(second[0])
    free.free(first[0])
    numbers = [free.take()[0] for _ in range(len(free))]
    assert numbers == [*range(15, 255), 14, 13]
    assert len(free) == 0


@pytest.mark.parametrize(
    ("pod", "namespace", "host"),
    [("web-1", "default", "web-1"), ("web-1", "prod", "web-1.prod")],
)
def test_host_names_of_pods(pod: str, namespace: str, host: str) -> None:
    assert host_name(pod, namespace) == host


FREE_INTERFACES = [  # host, taken, its interface
    ("web-1.prod", (), "web-1.prod"),
    ("web-1", ("web-1",), "web-1-c471"),
    ("a-very-long-pod-name", (), "a-very-lon-492d"),
    ("a-very-long-pod-name", ("a-very-lon-492d",), "a-very-lo-492d8"),
    ("a-very-long-pod-name", ("a-very-lon-492d", "a-very-lo-492d8"), "a-very-l-492d8a"),
]


@pytest.mark.parametrize(("host", "taken", "name"), FREE_INTERFACES)
def test_interfaces_of_pods_that_come(host: str, taken: tuple[str, ...], name: str) -> None:
    assert free_interface(host, taken) == name


def test_no_free_interface() -> None:
    class All:
        def __contains__(self, name: object) -> bool:
            return isinstance(name, str) and len(name) <= 15

    with pytest.raises(BadInput, match="all names of an interface that leads to web-1 are taken"):
        free_interface("web-1", All())
