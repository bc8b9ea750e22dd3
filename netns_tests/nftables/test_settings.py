"""With any settings, a table is encoded as nft encodes its own listing of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from kproxy_nftables.names import TABLE
from msgspec.structs import replace

from kproxy.address import Family
from kproxy.forwarding.plan import (
    Delta,
    DetectLocal,
    LocalDetector,
    LoopbackNodePorts,
    NodePortAddresses,
    NodeSettings,
)
from kproxy.kernel.netns import Namespace
from kproxy.kernel.nftables.session import Session
from kproxy.kernel.process import run
from netns_tests.modes import NFTABLES, Mode
from netns_tests.nftables.kernel_view import table_of
from netns_tests.node import bench
from tests.forwarding import plans

WORD = {Family.IPV4: "ip", Family.IPV6: "ip6"}
LENGTHS = {  # nft compares whole bytes of an address, or masks it
    Family.IPV4: (
        "0.0.0.0/0",
        "128.0.0.0/1",
        "10.0.0.0/8",
        "10.240.0.0/12",
        "10.244.0.0/15",
        "10.244.1.1/32",
    ),
    Family.IPV6: (
        "::/0",
        "fc00::/7",
        "fd00::/8",
        "fd00:244::/60",
        "fd00:244:0:80::/57",
        "fd00:244::1/128",
    ),
}
NAMES = [
    (DetectLocal.BRIDGE, "br0"),
    (DetectLocal.BRIDGE, "fifteen-letters"),
    (DetectLocal.PREFIX, "v"),
    (DetectLocal.PREFIX, "eight678"),
    (DetectLocal.PREFIX, "fourteen-lette"),  # nft takes no longer ones
]
NODE_PORT_ADDRESSES = {Family.IPV4: "192.168.10.0/24", Family.IPV6: "fd00:192::/64"}


def settings_of(family: Family) -> Iterator[NodeSettings]:
    plain = plans.settings("node-a", family=family, detector=None)
    yield plain
    for detector in [*((DetectLocal.CIDR, cidr) for cidr in LENGTHS[family]), *NAMES]:
        yield replace(plain, detector=LocalDetector(*detector))
    for bit in (0, 7, 31):
        yield replace(plain, masquerade_all=True, masquerade_bit=bit)
    selected = NodePortAddresses((NODE_PORT_ADDRESSES[family],))
    yield replace(plain, node_port_addresses=selected)
    yield replace(plain, loopback_node_ports=LoopbackNodePorts.REJECTED)


def described(settings: NodeSettings) -> str:
    detector = settings.detector.value if settings.detector else ""
    selected = settings.node_port_addresses.cidrs
    marks = f"all {settings.masquerade_bit}" if settings.masquerade_all else ""
    loopback = settings.loopback_node_ports.value
    return " ".join(filter(None, [settings.family.value, detector, *selected, marks, loopback]))


EVERYTHING = {
    Family.IPV4: (
        plans.Web(name="a", external="Local", on=("pod-a", "pod-b"), affinity_timeout_s=10),
        plans.Web(name="b", cluster_ip="10.96.0.11", vips=("198.51.100.1",), node_port=30081),
        plans.Web(
            name="c",
            cluster_ip="10.96.0.12",
            vips=("198.51.100.2",),
            external_ips=("198.51.100.3",),
            node_port=30082,
            source_ranges=("203.0.113.0/24", "10.244.0.0/16"),
            external="Local",
            on=("pod-a", "pod-b", "node-a"),
        ),
        plans.Web(name="d", cluster_ip="10.96.0.13", node_port=30083, on=(), protocol="UDP"),
        plans.Web(name="e", cluster_ip="10.96.0.14", node_port=30084, protocol="SCTP"),
    ),
    Family.IPV6: (
        plans.Web(
            name="a",
            cluster_ip="fd00:96::10",
            external_ips=("fd00:51::7",),
            vips=("fd00:51::9",),
            external="Local",
            on=("pod-a", "pod-b"),
            affinity_timeout_s=86400,
        ),
        plans.Web(
            name="b",
            cluster_ip="fd00:96::11",
            external_ips=(),
            vips=("fd00:51::1",),
            node_port=30081,
            source_ranges=("fd00:203::/64", "fd00:244::/32"),
            external="Local",
            on=("pod-a", "pod-b", "node-a"),
        ),
        plans.Web(
            name="c",
            cluster_ip="fd00:96::12",
            external_ips=(),
            vips=(),
            node_port=30082,
            on=(),
            protocol="UDP",
        ),
    ),
}


@pytest.mark.parametrize("mode", NFTABLES, ids=str)
@pytest.mark.parametrize(
    "settings", [each for family in Family for each in settings_of(family)], ids=described
)
def test_tables_are_encoded_as_nft_does(mode: Mode, settings: NodeSettings) -> None:
    family = settings.family
    plan = plans.plan(EVERYTHING[family], settings)
    with bench(mode) as node, Session() as session:
        node.backends[family].sync(plan, Delta(full=True))
        listing = run(["nft", "list", "table", WORD[family], TABLE])
        ours = table_of(session, family, TABLE)
    with Namespace.create() as namespace, namespace.entered(), Session() as session:
        run(["nft", "-f", "-"], listing)
        assert run(["nft", "list", "table", WORD[family], TABLE]) == listing
        theirs = table_of(session, family, TABLE)
    assert ours.keys() == theirs.keys()
    for name in ours:
        assert ours[name] == theirs[name], name
