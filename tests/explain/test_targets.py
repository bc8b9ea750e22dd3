"""The packet that a question means."""

from __future__ import annotations

from typing import Any

import pytest

from kproxy.address import Family
from kproxy.errors import BadInput
from kproxy.explain.targets import NamedPort, Wanted, meant
from kproxy.forwarding.network import Host, HostKind, Network

V4, V6 = Family.IPV4, Family.IPV6
NETWORK = Network(
    hosts={
        host.name: host
        for host in (
            Host(name="node-a", kind=HostKind.NODE, addresses=("192.168.10.11", "fd00:192::11")),
            Host(
                name="shell",
                kind=HostKind.POD,
                addresses=("10.244.1.12", "fd00:10:244:1::12"),
                listens=(("TCP", 8080), ("UDP", 8080)),
            ),
            Host(name="web-1.prod", kind=HostKind.POD, addresses=("10.244.1.13",)),
            Host(name="outside", kind=HostKind.CLIENT, addresses=("198.51.100.7",)),
        )
    },
    routes={},
)


def port(service: str, name: str, number: int, protocol: str = "TCP", **more: Any) -> NamedPort:
    namespace = more.pop("namespace", "default")
    addresses = more.pop("addresses", {V4: "10.96.0.10", V6: "fd96::10"})
    return NamedPort(
        **more,
        namespace=namespace,
        service=service,
        name=name,
        port=number,
        protocol=protocol,
        addresses=addresses,
    )


SERVICES = [
    port("web", "http", 80),
    port("web", "echo", 7, "UDP"),
    port("one", "", 443, addresses={V4: "10.96.0.11"}),
    port("one", "", 80, namespace="prod", addresses={V4: "10.96.0.12"}),
    port("dns", "tcp", 53, addresses={V4: "10.96.0.13"}),
    port("dns", "udp", 53, "UDP", addresses={V4: "10.96.0.13"}),
    port("node-a", "", 1, addresses={V4: "10.96.0.14"}),
    port("shop", "http", 80, outside={V4: ("192.168.10.11", 30080)}),
    port("six", "", 80, "SCTP", addresses={V6: "fd96::16"}),
]
MEANT: list[tuple[str, dict[str, Any], tuple[str, int, str]]] = [
    ("10.96.0.10:80", {}, ("10.96.0.10", 80, "TCP")),
    ("10.96.0.10", {"port": 80}, ("10.96.0.10", 80, "TCP")),
    ("10.96.0.10:7", {}, ("10.96.0.10", 7, "UDP")),  # the Service there has no other
    ("10.96.0.10:http", {}, ("10.96.0.10", 80, "TCP")),
    ("[::ffff:10.96.0.10]:http", {}, ("10.96.0.10", 80, "TCP")),  # IPv4 in the form of IPv6
    ("010.96.0.010", {"port": 80}, ("10.96.0.10", 80, "TCP")),
    ("10.96.0.11", {}, ("10.96.0.11", 443, "TCP")),
    ("192.0.2.1:9", {"protocol": "udp"}, ("192.0.2.1", 9, "UDP")),
    ("[fd96::10]:80", {}, ("fd96::10", 80, "TCP")),
    ("FD96::0010", {"port": "http"}, ("fd96::10", 80, "TCP")),
    ("web:http", {}, ("10.96.0.10", 80, "TCP")),
    ("web:echo", {}, ("10.96.0.10", 7, "UDP")),
    ("web", {"protocol": "UDP"}, ("10.96.0.10", 7, "UDP")),
    ("web:http", {"family": V6}, ("fd96::10", 80, "TCP")),
    ("web:99", {}, ("10.96.0.10", 99, "TCP")),
    ("svc/web:http", {}, ("10.96.0.10", 80, "TCP")),
    ("web.default.svc.cluster.local:http", {}, ("10.96.0.10", 80, "TCP")),
    ("one", {}, ("10.96.0.11", 443, "TCP")),
    ("one.prod", {}, ("10.96.0.12", 80, "TCP")),
    ("service/one.prod", {}, ("10.96.0.12", 80, "TCP")),
    ("dns", {}, ("10.96.0.13", 53, "TCP")),  # one number: TCP, if it is there
    ("dns", {"protocol": "UDP"}, ("10.96.0.13", 53, "UDP")),
    ("dns:udp", {}, ("10.96.0.13", 53, "UDP")),
    ("six", {}, ("fd96::16", 80, "SCTP")),
    ("[fd96::16]", {}, ("fd96::16", 80, "SCTP")),
    ("node-a", {}, ("10.96.0.14", 1, "TCP")),  # the name of a Service first
    ("node/node-a:30080", {}, ("192.168.10.11", 30080, "TCP")),
    ("shell", {}, ("10.244.1.12", 8080, "TCP")),
    ("pod/shell", {"protocol": "UDP", "family": V6}, ("fd00:10:244:1::12", 8080, "UDP")),
    ("shell.default", {}, ("10.244.1.12", 8080, "TCP")),
    ("web-1.prod:80", {}, ("10.244.1.13", 80, "TCP")),
    ("shell", {"protocol": "icmp"}, ("10.244.1.12", 0, "ICMP")),
    ("web", {"protocol": "ICMP"}, ("10.96.0.10", 0, "ICMP")),
]


@pytest.mark.parametrize(("target", "more", "packet"), MEANT)
def test_what_is_meant(target: str, more: dict[str, Any], packet: tuple[str, int, str]) -> None:
    wanted = Wanted(source="pod/shell", target=target, **more)
    found = meant(wanted, NETWORK, NETWORK.hosts, SERVICES, (V4, V6))
    assert (found.client, found.address, found.port, found.protocol) == ("shell", *packet)


@pytest.mark.parametrize(
    ("source", "target", "more", "packet"),
    [
        ("outside", "shop", {}, ("192.168.10.11", 30080)),
        ("outside", "shop:80", {}, ("192.168.10.11", 30080)),
        ("outside", "shop:81", {}, ("10.96.0.10", 81)),  # nobody offers that outside
        ("outside", "shop", {"family": V6}, ("fd96::10", 80)),
        ("outside", "web:http", {}, ("10.96.0.10", 80)),
        ("shell", "shop", {}, ("10.96.0.10", 80)),
        ("node-a", "shop", {}, ("10.96.0.10", 80)),
    ],
)
def test_clients_outside_ask_where_they_can(
    source: str, target: str, more: dict[str, Any], packet: tuple[str, int]
) -> None:
    wanted = Wanted(source=source, target=target, **more)
    found = meant(wanted, NETWORK, NETWORK.hosts, SERVICES, (V4, V6))
    assert (found.address, found.port) == packet


BAD: list[tuple[str, str, dict[str, Any], str]] = [
    ("nobody", "web:http", {}, "no host is called 'nobody'; there are: node-a, shell"),
    ("pod/node-a", "web:http", {}, "no pod is called 'node-a'; there are: shell, web-1.prod"),
    ("svc/web", "web:http", {}, "'svc/web': a name begins with pod/, node/, client/ or svc/"),
    ("shell", "web", {}, "web: which port? it has 80/TCP (http), 7/UDP (echo)"),
    ("shell", "web:https", {}, "web:https: no port is called 'https': 80/TCP (http), 7/UDP"),
    ("shell", "web:http", {"port": 81}, "web:http: a port is given twice, http and 81"),
    (
        "shell",
        "svc/nothing",
        {},
        "no Service 'nothing' has a cluster IP; there are: svc/dns.default",
    ),
    ("shell", "nothing", {}, "no host or Service is called 'nothing'; there are: node-a"),
    ("shell", "outside", {}, "outside: which port? nothing is known of its ports"),
    ("shell", "10.0.0.1", {}, "10.0.0.1: which port? nothing is known of its ports"),
    ("shell", "10.0.0.1:80", {"family": V6}, "10.0.0.1 is no IPv6 address"),
    ("shell", "one", {"family": V6}, "one has no cluster IP of IPv6"),
    ("shell", "outside:1", {"family": V6}, "outside has no address of IPv6"),
    ("shell", "web:http", {"protocol": "gre"}, "'gre' is no protocol here: TCP, UDP, SCTP, ICMP"),
    ("shell", "web:http", {"protocol": "icmp"}, "web:http: ICMP has no ports"),
]


@pytest.mark.parametrize(("source", "target", "more", "said"), BAD)
def test_what_cannot_be_meant(source: str, target: str, more: dict[str, Any], said: str) -> None:
    wanted = Wanted(source=source, target=target, **more)
    with pytest.raises(BadInput) as caught:
        meant(wanted, NETWORK, NETWORK.hosts, SERVICES, (V4, V6))
    assert caught.value.problems[0].startswith(said)


TRIED = [  # FROM, TO -> what to try instead
    ("prod/web-1", "web:http", "a namespace is behind the name: web-1.prod"),
    ("svc/web", "web:http", ""),
    ("shell", "fd96::7", "[fd96::7]:PORT"),
    ("shell", "[fd96::7]", "[fd96::7]:PORT"),
    ("shell", "10.96.0.13:53/UDP", "give the protocol apart: --proto udp"),
    ("shell", "web:https", ""),
]


@pytest.mark.parametrize(("source", "target", "remedy"), TRIED)
def test_what_to_try_instead(source: str, target: str, remedy: str) -> None:
    with pytest.raises(BadInput) as caught:
        meant(Wanted(source=source, target=target), NETWORK, NETWORK.hosts, SERVICES, (V4, V6))
    assert caught.value.remedy == remedy


def test_a_misspelled_service_is_told_with_those_there_are() -> None:
    with pytest.raises(BadInput, match=r"outside, svc/dns\.default, .*svc/web\.default"):
        meant(Wanted(source="shell", target="wep"), NETWORK, NETWORK.hosts, SERVICES, (V4, V6))


def test_a_lab_of_one_family() -> None:
    wanted = Wanted(source="shell", target="web:http", family=V6)
    with pytest.raises(BadInput, match="the lab has no IPv6, only IPv4"):
        meant(wanted, NETWORK, NETWORK.hosts, SERVICES, (V4,))
