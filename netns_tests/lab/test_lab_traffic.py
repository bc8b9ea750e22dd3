"""Connectivity and source addresses in a lab without proxies, by real connections."""

import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from kproxy.address import Family, family_of, socket_family
from kproxy.errors import BadInput, Unsupported
from kproxy.forwarding.network import HostKind
from kproxy.kernel.process import run
from kproxy.lab import ClientSpec, Lab, LabSpec, NodeSpec, PodSpec, PortSpec
from kproxy.lab.objects import service

PORTS = (PortSpec(port=8080, name="http"), PortSpec(port=5353, protocol="UDP"))
SPEC = LabSpec(
    nodes=(
        NodeSpec(
            name="node-a",
            pods=(
                PodSpec(name="web-1", ports=PORTS, labels={"app": "web"}),
                PodSpec(name="a-pod-with-a-long-name", ports=PORTS),
            ),
        ),
        NodeSpec(name="node-b", pods=(PodSpec(name="web-2", ports=PORTS, labels={"app": "web"}),)),
    ),
    clients=(ClientSpec(name="outside"),),
    routes={"203.0.113.0/24": "node-a", "2001:db8:113::/64": "node-a"},
)
V4, V6 = Family.IPV4, Family.IPV6


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab(SPEC, mode=None) as lab:
        yield lab


def ask(
    lab: Lab, client: str, address: str, port: int, kind: socket.SocketKind
) -> dict[str, object]:
    """Return the answer to one line or datagram. Raises OSError."""
    with lab.hosts[client].namespace.entered():
        sock = socket.socket(socket_family(address), kind)
    with sock:
        sock.settimeout(5)
        sock.connect((address, port))
        own, own_port = sock.getsockname()[:2]
        sock.sendall(b"who are you?\n")
        answer: dict[str, object] = json.loads(sock.recv(1000))
    assert (answer["source"], answer["source_port"], answer["port"]) == (own, own_port, port)
    return answer


PATHS = [  # client, pod, the pod sees in IPv4, in IPv6
    ("web-1", "web-1", "10.244.1.11", "fd00:10:244:1::11"),
    ("web-1", "a-pod-with-a-long-name", "10.244.1.11", "fd00:10:244:1::11"),
    ("web-1", "web-2", "10.244.1.11", "fd00:10:244:1::11"),
    ("outside", "web-2", "198.51.100.11", "2001:db8:198::11"),
    ("node-a", "web-1", "10.244.1.1", "fd00:10:244:1::1"),  # the gateway, not the node address
    ("node-a", "web-2", "192.168.10.11", "fd00:192::11"),
    ("router", "web-2", "192.168.10.1", "fd00:192::1"),
]


@pytest.mark.parametrize(("client", "pod", "ipv4", "ipv6"), PATHS)
@pytest.mark.parametrize(
    ("port", "kind"), [(8080, socket.SOCK_STREAM), (5353, socket.SOCK_DGRAM)], ids=["tcp", "udp"]
)
def test_paths(
    lab: Lab, client: str, pod: str, ipv4: str, ipv6: str, port: int, kind: socket.SocketKind
) -> None:
    for family, source in ((V4, ipv4), (V6, ipv6)):
        answer = ask(lab, client, lab.pods[pod].addresses[family], port, kind)
        assert (answer["pod"], answer["source"]) == (pod, source)


def test_an_answer_also_to_the_end_of_input(lab: Lab) -> None:
    with (
        lab.clients["outside"].namespace.entered(),
        socket.create_connection((lab.pods["web-1"].addresses[V4], 8080), timeout=5) as sock,
    ):
        sock.shutdown(socket.SHUT_WR)
        assert json.loads(sock.makefile().read())["pod"] == "web-1"


def test_a_client_that_breaks_off_harms_nobody(lab: Lab) -> None:
    address = lab.pods["web-1"].addresses[V4]
    with lab.clients["outside"].namespace.entered():
        for text in (b"", b"no end of line"):
            with socket.create_connection((address, 8080), timeout=5) as sock:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # RST
                sock.sendall(text)
    assert ask(lab, "outside", address, 8080, socket.SOCK_STREAM)["pod"] == "web-1"


def test_three_hundred_connections_at_once(lab: Lab) -> None:
    address = lab.pods["web-2"].addresses[V6]
    with ThreadPoolExecutor(32) as pool:
        answers = list(
            pool.map(lambda _: ask(lab, "outside", address, 8080, socket.SOCK_STREAM), range(300))
        )
    assert {answer["pod"] for answer in answers} == {"web-2"}


def test_a_backlog_of_three_hundred(lab: Lab) -> None:
    """All connections are established before the first line is sent."""
    address = lab.pods["web-2"].addresses[V4]
    with lab.clients["outside"].namespace.entered():
        socks = [socket.create_connection((address, 8080), timeout=5) for _ in range(300)]
    for sock in socks:
        sock.sendall(b"\n")
    assert {json.loads(sock.makefile().readline())["pod"] for sock in socks} == {"web-2"}
    for sock in socks:
        sock.close()
    statistics = lab.pods["web-2"].namespace.run(lambda: run(["nstat", "-asz", "TcpExtListen*"]))
    lost = {line.split()[0]: line.split()[1] for line in statistics.splitlines()[1:]}
    assert lost == {"TcpExtListenOverflows": "0", "TcpExtListenDrops": "0"}


def test_every_address_can_be_used_at_once() -> None:
    """IPv6 neighbour discovery uses link-local addresses, which must exist and not be tentative."""
    with Lab(SPEC, mode=None) as lab:
        for host in lab.hosts.values():
            found = host.namespace.run(lambda: run(["ip", "-6", "address"]))
            assert "tentative" not in found
            links = json.loads(host.namespace.run(lambda: run(["ip", "-j", "link"])))
            assert found.count("inet6 fe80::") == len(links) - 1
            # Equal numbers at both ends would delay the carrier by up to a second.
            assert [link for link in links if link["ifindex"] == link.get("link_index")] == []


@pytest.mark.parametrize("family", list(Family))
def test_refusals_are_not_rate_limited(lab: Lab, family: Family) -> None:
    """A client sends to 200 closed UDP ports of one pod; ICMP refuses each."""
    address = lab.pods["web-1"].addresses[family]
    for port in range(20000, 20200):
        with pytest.raises(ConnectionRefusedError):
            ask(lab, "outside", address, port, socket.SOCK_DGRAM)


UNROUTED = [
    ("203.0.114.1", "Network is unreachable"),
    ("2001:db8:114::1", "Network is unreachable"),
]


@pytest.mark.parametrize(("address", "reason"), UNROUTED)
def test_the_router_refuses_what_it_has_no_route_for(lab: Lab, address: str, reason: str) -> None:
    with pytest.raises(OSError, match=reason):
        ask(lab, "outside", address, 80, socket.SOCK_STREAM)


@pytest.mark.parametrize(
    ("address", "cidr"),
    [("203.0.113.7", "203.0.113.0/24"), ("2001:db8:113::7", "2001:db8:113::/64")],
)
def test_routes_move_at_run_time(address: str, cidr: str) -> None:
    """Both nodes have the address, so that the one that gets the packet refuses the port."""
    with Lab(SPEC, mode=None) as lab:
        assert lab.network.routes[cidr] == "node-a"
        assert _next_hop(lab, address) == lab.nodes["node-a"].addresses[family_of(address)]
        lab.route(cidr, via="node-b")
        assert lab.network.routes[cidr] == "node-b"
        assert _next_hop(lab, address) == lab.nodes["node-b"].addresses[family_of(address)]
        lab.unroute(cidr)
        assert cidr not in lab.network.routes
        with pytest.raises(OSError, match="Network is unreachable"):
            ask(lab, "outside", address, 80, socket.SOCK_STREAM)
        lab.route(cidr, via="node-b")
        assert _next_hop(lab, address) == lab.nodes["node-b"].addresses[family_of(address)]


def _next_hop(lab: Lab, address: str) -> str:
    words = lab.hosts["router"].namespace.run(lambda: run(["ip", "route", "get", address])).split()
    return words[words.index("via") + 1]


@pytest.mark.parametrize(
    ("cidr", "via", "message"),
    [
        ("203.0.113.0", "node-a", "'203.0.113.0' is not a CIDR"),
        ("10.244.0.0/24", "node-a", "overlaps 10.244.0.0/16 of podCIDRs"),
        ("203.0.113.0/24", "web-1", "'web-1' is not a node"),
    ],
)
def test_routes_that_cannot_be(lab: Lab, cidr: str, via: str, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        lab.route(cidr, via=via)


def test_a_route_that_is_not_there(lab: Lab) -> None:
    with pytest.raises(BadInput, match=r"no route to '203\.0\.99\.0/24'"):
        lab.unroute("203.0.99.0/24")


def test_the_network_for_the_oracle(lab: Lab) -> None:
    network = lab.network
    node, pod = network.hosts["node-a"], network.hosts["web-1"]
    assert node.kind is HostKind.NODE
    assert node.addresses == ("192.168.10.11", "fd00:192::11", "10.244.1.1", "fd00:10:244:1::1")
    assert node.gateways == ("10.244.1.1", "fd00:10:244:1::1")
    assert (pod.kind, pod.node) == (HostKind.POD, "node-a")
    assert pod.listens == (("TCP", 8080), ("UDP", 5353))
    assert network.hosts["outside"].kind is HostKind.CLIENT
    assert "198.51.100.1" in network.hosts["router"].addresses
    assert set(network.hosts) == set(lab.hosts)
    for name, host in network.hosts.items():
        found = lab.hosts[name].namespace.run(lambda: run(["ip", "-o", "addr", "show"]))
        assert all(f" {address}/" in found for address in host.addresses)


def test_slices_of_the_labs_pods(lab: Lab) -> None:
    web = service("web", cluster_ips=("10.96.0.1",), ports=(), selector={"app": "web"})
    (only,) = lab.slices(web)
    assert [each.addresses for each in only.endpoints] == [("10.244.1.11",), ("10.244.2.11",)]


@pytest.mark.parametrize("family", list(Family))
def test_one_family_only(family: Family) -> None:
    spec = LabSpec(nodes=SPEC.nodes, clients=SPEC.clients, families=(family,))
    with Lab(spec, mode=None) as lab:
        assert set(lab.pods["web-2"].addresses) == {family}
        answer = ask(lab, "outside", lab.pods["web-2"].addresses[family], 8080, socket.SOCK_STREAM)
    assert answer["pod"] == "web-2"


def test_sctp_needs_a_kernel_that_has_it() -> None:
    """It either works, or the lab reports the reason and leaves nothing running."""
    pod = PodSpec(name="web", ports=(PortSpec(port=9, protocol="SCTP"),))
    lab = Lab(LabSpec(nodes=(NodeSpec(name="a", pods=(pod,)),)), mode=None)
    try:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_SCTP).close()
    except OSError:
        with pytest.raises(Unsupported, match="pod web cannot serve SCTP") as caught, lab:
            pass
        assert "CONFIG_IP_SCTP" in caught.value.remedy
        assert lab.hosts == {}
    else:
        with lab, lab.nodes["a"].namespace.entered():
            sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_SCTP)
            with sock:
                sock.connect((lab.pods["web"].addresses[V4], 9))
                sock.sendall(b"\n")
                assert json.loads(sock.recv(1000))["pod"] == "web"


def test_a_lab_that_is_up_cannot_be_entered_again(lab: Lab) -> None:
    with pytest.raises(RuntimeError, match="lab lab is up already"), lab:
        pass
    assert lab.hosts


def test_no_proxies_no_objects(lab: Lab) -> None:
    assert lab.plans(V4) == {}
    with pytest.raises(BadInput, match="no proxies"):
        lab.apply([])


def test_a_wrong_spec_is_refused_before_anything_is_built() -> None:
    with pytest.raises(BadInput, match=r"nodes: at least one"):
        Lab(LabSpec(nodes=()), mode=None)
