"""Relays of a lab: the programs that a trace has to know at the addresses of its hosts."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest
from scapy.layers.inet import IP, TCP

from kproxy.address import Family
from kproxy.explain.conversation import Caught
from kproxy.explain.onward import Seen, begun_at
from kproxy.explain.relaying import RelaysOf, read_taps
from kproxy.forwarding.network import Host, HostKind, Network
from kproxy.lab import Lab
from kproxy.probe.taps import Captured, Tap

NODE = Host(
    name="node-a",
    kind=HostKind.NODE,
    addresses=("192.168.10.11",),
    listens=(("TCP", 22), ("UDP", 30081)),
)
POD = Host(name="web", kind=HostKind.POD, addresses=("10.244.1.11",), node="node-a")
NGINX = SimpleNamespace(
    name="front",
    node="node-a",
    serves=(("10.244.1.13", 80),),
    spec=SimpleNamespace(runs="nginx", host_network=False),
)


def relays(mode: str | None) -> RelaysOf:
    """Return the relays of a lab of IPv4 whose proxies, of this mode, are other processes."""
    lab = SimpleNamespace(
        mode=mode,
        spec=SimpleNamespace(families=(Family.IPV4,)),
        plans=lambda _: {},
        pods={"front": NGINX},
        network=Network(hosts={"node-a": NODE, "web": POD}, routes={}),
    )
    return RelaysOf(cast(Lab, lab))


WITHOUT_PLANS = [  # mode, host, address, port -> relay
    ("userspace", "node-a", "192.168.10.11", 30080, "a proxy on node-a"),
    ("userspace", "node-a", "192.168.10.11", 30081, "a proxy on node-a"),
    ("userspace", "node-a", "192.168.10.11", 22, ""),  # of a pod on the host network
    ("userspace", "web", "10.244.1.11", 8080, ""),
    ("nftables", "node-a", "192.168.10.11", 30080, ""),
    ("nftables", "node-a", "::1", 30080, ""),  # a family that the lab lacks
    (None, "node-a", "127.0.0.1", 30080, ""),
    (None, "front", "10.244.1.13", 80, "the ingress on front"),
    (None, "front", "10.244.1.13", 81, ""),
    (None, "web", "10.244.1.13", 80, ""),
]


@pytest.mark.parametrize(("mode", "host", "address", "port", "name"), WITHOUT_PLANS)
def test_without_plans(mode: str | None, host: str, address: str, port: int, name: str) -> None:
    found = relays(mode).at(host, address, port)
    assert (found.name if found else "") == name


def test_an_ingress_is_asked_by_http() -> None:
    known = relays("userspace")
    ingress, proxy = known.at("front", "10.244.1.13", 80), known.at("node-a", "10.96.0.1", 80)
    assert ingress
    assert proxy
    assert known.wants_http(ingress)
    assert not known.wants_http(proxy)
    behind = proxy._replace(endpoints=frozenset({("10.244.1.13", 80)}))
    assert known.wants_http(behind)


def tap(host: str, link: str, *, outgoing: bool, time_ns: int) -> Tap:
    """Return a tap that has captured the SYN of the ingress to its endpoint, and another packet."""
    syn = IP(src="10.244.1.13", dst="10.96.0.10") / TCP(sport=9, dport=80, flags="S", seq=77)
    later = IP(src="10.244.1.13", dst="10.96.0.10") / TCP(sport=9, dport=80, flags="PA", seq=78)
    captured = [
        Captured(host, link, outgoing, time_ns, bytes(syn)),
        Captured(host, link, outgoing, time_ns + 9, bytes(later)),
    ]
    return cast(Tap, SimpleNamespace(read=lambda: captured))


def test_packets_are_in_the_order_of_time_however_taps_are_read() -> None:
    """Else the connection of a relay seems to be begun by a host that is read before, and its loss
    is concluded only when the time of the client is over.
    """
    taps = [
        tap("node-a", "veth", outgoing=False, time_ns=20),
        tap("front", "eth0", outgoing=True, time_ns=10),
    ]
    caught: list[Caught] = []
    assert read_taps(taps, caught) == 2
    assert [each.host for each in caught] == ["front", "node-a"]
    relay = relays("userspace").at("front", "10.244.1.13", 80)
    assert relay
    assert begun_at(relay, Seen(caught, [], {}), {}) == {("TCP", 77): "10.96.0.10:80"}
