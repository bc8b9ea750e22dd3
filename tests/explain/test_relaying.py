"""Relays of a lab: the programs that a trace has to know at the addresses of its hosts."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest

from kproxy.address import Family
from kproxy.explain.relaying import RelaysOf
from kproxy.forwarding.network import Host, HostKind, Network
from kproxy.lab import Lab

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
