"""The settings that follow from a configuration and a Node object in each family."""

from __future__ import annotations

from collections.abc import Collection

import pytest
from msgspec import Struct

from kproxy.address import Family
from kproxy.api.types import Metadata, Node, NodeAddress, NodeSpec, NodeStatus
from kproxy.backend import ModeConfigs
from kproxy.config.file import read_text
from kproxy.config.node import host_ips, node_name, node_settings, of_node, primary_family
from kproxy.config.types import ProxyConfig
from kproxy.errors import BadInput
from kproxy.forwarding.plan import (
    DetectLocal,
    LocalDetector,
    LoopbackNodePorts,
    NodeSettings,
)

HEAD = "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n"
IPV4, IPV6 = Family.IPV4, Family.IPV6


def config_of(body: str) -> ProxyConfig:
    read = read_text(f"{HEAD}hostnameOverride: node-a\n{body}", ModeConfigs())
    assert read.problems == ()
    return read.config


def settings_of(
    config: ProxyConfig, node: Node | None, service_cidrs: Collection[str] = ()
) -> dict[Family, NodeSettings]:
    return node_settings(config, node, service_cidrs, mode=ModeConfigs()[config.mode])


def node_of(*addresses: str, pod_cidrs: tuple[str, ...] = (), zone: str = "") -> Node:
    """Return a Node. `addresses` are internal ones, unless marked as in `external 192.0.2.1`."""
    listed = [
        NodeAddress(
            type="ExternalIP" if "external" in text else "InternalIP", address=text.split()[-1]
        )
        for text in addresses
    ]
    return Node(
        metadata=Metadata(
            name="node-a", labels={"topology.kubernetes.io/zone": zone} if zone else {}
        ),
        spec=NodeSpec(pod_cidrs=pod_cidrs),
        status=NodeStatus(addresses=(*listed, NodeAddress(type="Hostname", address="node-a"))),
    )


def settings(body: str, node: Node | None = None) -> tuple[NodeSettings, NodeSettings]:
    both = settings_of(config_of(body), node)
    return both[IPV4], both[IPV6]


ADDRESSES = [  # bindAddress, node addresses -> IPv4, IPv6, primary
    ("", (), "127.0.0.1", "::1", IPV4),
    ("", ("10.0.0.1",), "10.0.0.1", "::1", IPV4),
    ("", ("10.0.0.1", "fd00::1"), "10.0.0.1", "fd00::1", IPV4),
    ("", ("fd00::1", "10.0.0.1"), "10.0.0.1", "fd00::1", IPV6),
    ("", ("fd00::1",), "127.0.0.1", "fd00::1", IPV6),
    ("", ("10.0.0.1", "10.0.0.2"), "10.0.0.1", "::1", IPV4),
    ("", ("external 192.0.2.1", "10.0.0.1"), "10.0.0.1", "::1", IPV4),
    ("", ("external 192.0.2.1", "fd00::1"), "192.0.2.1", "fd00::1", IPV6),
    ("", ("010.000.0.01",), "10.0.0.1", "::1", IPV4),
    ("", ("nonsense", "10.0.0.1"), "10.0.0.1", "::1", IPV4),
    ("0.0.0.0", ("fd00::1",), "127.0.0.1", "fd00::1", IPV6),
    ('"::"', ("10.0.0.1",), "10.0.0.1", "::1", IPV4),
    ("10.9.9.9", ("10.0.0.1", "fd00::1"), "10.9.9.9", "fd00::1", IPV4),
    ("10.9.9.9", ("fd00::1",), "10.9.9.9", "fd00::1", IPV4),
    ("fd00::9", ("10.0.0.1", "fd00::1"), "10.0.0.1", "fd00::9", IPV6),
    ("fd00::9", (), "127.0.0.1", "fd00::9", IPV6),
]


@pytest.mark.parametrize(("bind", "addresses", "ipv4", "ipv6", "primary"), ADDRESSES)
def test_node_addresses(
    bind: str, addresses: tuple[str, ...], ipv4: str, ipv6: str, primary: Family
) -> None:
    config = config_of(f"bindAddress: {bind}" if bind else "")
    node = node_of(*addresses)
    both = settings_of(config, node)
    assert (both[IPV4].node_ip, both[IPV6].node_ip) == (ipv4, ipv6)
    assert primary_family(config, node) is primary


class Local(Struct, frozen=True):
    body: str
    ipv4: str
    ipv6: str
    pod_cidrs: tuple[str, ...] = ()


DETECTORS = [
    Local("", "", ""),
    Local("clusterCIDR: 10.244.0.0/16", "cidr 10.244.0.0/16", ""),
    Local("clusterCIDR: 10.244.3.7/16", "cidr 10.244.0.0/16", ""),
    Local("clusterCIDR: fd00:10:244::/56", "", "cidr fd00:10:244::/56"),
    Local("clusterCIDR: fd00::/56,10.0.0.0/8", "cidr 10.0.0.0/8", "cidr fd00::/56"),
    Local("clusterCIDR: 10.0.0.0/8", "cidr 10.0.0.0/8", "", ("10.244.1.0/24",)),
    Local("detectLocalMode: NodeCIDR", "cidr 10.244.1.0/24", "", ("10.244.1.0/24",)),
    Local(
        "detectLocalMode: NodeCIDR\nclusterCIDR: 10.244.0.0/16",
        "cidr 10.244.1.0/24",
        "cidr fd00:1::/64",
        ("10.244.1.0/24", "fd00:1:0::/64", "10.244.2.0/24"),
    ),
    Local(
        "detectLocalMode: BridgeInterface\ndetectLocal: {bridgeInterface: cni0}",
        "bridge cni0",
        "bridge cni0",
    ),
    Local(
        "detectLocalMode: InterfaceNamePrefix\ndetectLocal: {interfaceNamePrefix: veth}",
        "prefix veth",
        "prefix veth",
    ),
]


def detector(text: str) -> LocalDetector | None:
    mode, _, value = text.partition(" ")
    return LocalDetector(DetectLocal(mode), value) if text else None


@pytest.mark.parametrize("case", DETECTORS, ids=str)
def test_detectors(case: Local) -> None:
    ipv4, ipv6 = settings(case.body, node_of(pod_cidrs=case.pod_cidrs))
    assert (ipv4.detector, ipv6.detector) == (detector(case.ipv4), detector(case.ipv6))


SERVICE_CIDRS = [  # mode, CIDRs of all objects -> IPv4, IPv6
    ("nftables", "", "", ""),
    ("nftables", "10.96.0.0/12", "10.96.0.0/12", ""),
    ("nftables", "fd00:9::/112 10.96.0.0/12", "10.96.0.0/12", "fd00:9::/112"),
    ("nftables", "10.96.0.0/12 10.9.0.0/16 10.96.0.0/12", "10.9.0.0/16 10.96.0.0/12", ""),
    ("iptables", "fd00:9::/112 10.96.0.0/12", "", ""),
    ("ipvs", "fd00:9::/112 10.96.0.0/12", "", ""),
]


@pytest.mark.parametrize(("mode", "cidrs", "ipv4", "ipv6"), SERVICE_CIDRS)
def test_service_cidrs(mode: str, cidrs: str, ipv4: str, ipv6: str) -> None:
    both = settings_of(config_of(f"mode: {mode}"), None, cidrs.split())
    assert [" ".join(both[family].service_cidrs) for family in (IPV4, IPV6)] == [ipv4, ipv6]


def test_a_single_pod_cidr_field_will_do() -> None:
    node = Node(metadata=Metadata(name="node-a"), spec=NodeSpec(pod_cidr="10.244.1.0/24"))
    assert settings("detectLocalMode: NodeCIDR", node)[0].detector == detector("cidr 10.244.1.0/24")


@pytest.mark.parametrize("node", [None, node_of("10.0.0.1")])
def test_node_cidr_needs_the_node(node: Node | None) -> None:
    with pytest.raises(BadInput, match=r"no Node node-a with spec\.podCIDRs"):
        settings("detectLocalMode: NodeCIDR", node)


NODE_PORTS = [  # nodePortAddresses, node addresses -> IPv4 CIDRs, IPv6 CIDRs, localhost; () is all
    ("[]", (), (), (), True),
    ("[10.0.0.0/8]", (), ("10.0.0.0/8",), (), False),
    ("[10.0.0.5/8, fd00::/8]", (), ("10.0.0.0/8",), ("fd00::/8",), False),
    ("['fd00::/8']", (), (), ("fd00::/8",), True),
    ("[10.0.0.0/8, 0.0.0.0/0]", (), (), (), True),
    ("['::/0', 'fd00::/8', 10.0.0.0/8]", (), ("10.0.0.0/8",), (), False),
    ("[127.0.0.0/8]", (), ("127.0.0.0/8",), (), True),
    ("[127.0.0.1/32]", (), ("127.0.0.1/32",), (), True),
    ("[10.0.0.0/8, 96.0.0.0/3]", (), ("10.0.0.0/8", "96.0.0.0/3"), (), True),
    ("[10.0.0.0/8, 10.0.0.1/8]", (), ("10.0.0.0/8",), (), False),
    ("[primary]", ("10.0.0.1", "fd00::1"), ("10.0.0.1/32",), ("fd00::1/128",), False),
    ("[primary]", ("10.0.0.1",), ("10.0.0.1/32",), (), False),
    ("[primary]", (), (), (), True),  # only loopback is known: all
    ("[all]", ("10.0.0.1",), (), (), True),
    ("[localhost]", ("10.0.0.1",), ("127.0.0.0/8",), ("::1/128",), True),
    ("[all, localhost]", ("10.0.0.1",), (), (), True),
    ("[primary, localhost]", ("10.0.0.1",), ("10.0.0.1/32", "127.0.0.0/8"), ("::1/128",), True),
    ("[localhost, primary]", ("10.0.0.1",), ("127.0.0.0/8", "10.0.0.1/32"), ("::1/128",), True),
    ("[primary, 127.0.0.1/32]", ("10.0.0.1",), ("10.0.0.1/32", "127.0.0.1/32"), (), True),
    ("[192.0.2.0/24, primary]", ("10.0.0.1",), ("192.0.2.0/24", "10.0.0.1/32"), (), False),
    ("[primary, localhost]", (), ("127.0.0.0/8",), ("::1/128",), True),
]


@pytest.mark.parametrize(("listed", "addresses", "ipv4", "ipv6", "localhost"), NODE_PORTS)
def test_node_port_addresses(
    listed: str,
    addresses: tuple[str, ...],
    ipv4: tuple[str, ...],
    ipv6: tuple[str, ...],
    localhost: bool,
) -> None:
    both = settings(f"nodePortAddresses: {listed}", node_of(*addresses))
    assert tuple(each.node_port_addresses.cidrs for each in both) == (ipv4, ipv6)
    assert tuple(each.localhost_node_ports for each in both) == (localhost, False)


GATE = "KubeProxyNFTablesLocalhostNodePorts"
LOOPBACK = [  # nodePortAddresses -> with the gate on, IPv4 and IPv6
    ("[]", "rejected", "rejected"),
    ("[primary]", "rejected", "rejected"),
    ("[all]", "rejected", "rejected"),
    ("[0.0.0.0/0]", "rejected", "rejected"),
    ("[all, localhost]", "served", "served"),
    ("[primary, localhost]", "served", "served"),
    ("[localhost]", "served", "served"),
    ("[0.0.0.0/0, 127.0.0.1/32]", "served", "rejected"),
    ("[primary, 127.0.0.1/32]", "served", "rejected"),
    ("[127.0.0.2/32]", "served", "rejected"),
    ("[126.0.0.0/7]", "rejected", "rejected"),
    ('["::1/128"]', "rejected", "served"),
]


@pytest.mark.parametrize(("listed", "ipv4", "ipv6"), LOOPBACK)
@pytest.mark.parametrize("gate", [GATE, "AllAlpha"])
def test_loopback_node_ports(listed: str, ipv4: str, ipv6: str, gate: str) -> None:
    body = f"mode: nftables\nnodePortAddresses: {listed}\n"
    node = node_of("10.0.0.1", "fd00::1")
    on = settings(f"{body}featureGates: {{{gate}: true}}", node)
    assert [each.loopback_node_ports.value for each in on] == [ipv4, ipv6]


@pytest.mark.parametrize(
    "body",
    [
        "mode: nftables",
        f"mode: nftables\nfeatureGates: {{AllAlpha: true, {GATE}: false}}",
        "mode: nftables\nemulate: 1.36\nfeatureGates: {AllAlpha: true}",
        f"mode: iptables\nfeatureGates: {{{GATE}: true}}",
        f"mode: ipvs\nfeatureGates: {{{GATE}: true}}",
    ],
)
def test_loopback_node_ports_need_their_gate_and_mode(body: str) -> None:
    for each in settings(body + "\nnodePortAddresses: [127.0.0.0/8]"):
        assert each.loopback_node_ports is LoopbackNodePorts.IGNORED


HOST_IPS = [  # addresses of the Node -> its identity
    ((), ""),
    (("10.0.0.1",), "10.0.0.1"),
    (("10.0.0.1", "10.0.0.2"), "10.0.0.1"),
    (("10.0.0.1", "fd00::1", "10.0.0.2", "fd00::2"), "10.0.0.1 fd00::1"),
    (("fd00::1", "10.0.0.1"), "fd00::1 10.0.0.1"),
]


@pytest.mark.parametrize(("addresses", "ips"), HOST_IPS)
def test_host_ips(addresses: tuple[str, ...], ips: str) -> None:
    assert " ".join(map(str, host_ips(node_of(*addresses)))) == ips


@pytest.mark.parametrize(
    "body", ["iptables: {localhostNodePorts: false}", "mode: ipvs", "mode: nftables"]
)
def test_localhost_node_ports_are_only_for_iptables_and_can_be_off(body: str) -> None:
    assert settings(body)[0].localhost_node_ports is False


MASQUERADE = [  # body -> all, bit
    ("", False, 14),
    ("iptables: {masqueradeAll: true, masqueradeBit: 10}", True, 10),
    ("mode: ipvs\niptables: {masqueradeAll: true, masqueradeBit: 10}", True, 10),
    ("mode: nftables\niptables: {masqueradeAll: true, masqueradeBit: 10}", False, 14),
    ("mode: nftables\nnftables: {masqueradeAll: true, masqueradeBit: 10}", True, 10),
]


@pytest.mark.parametrize(("body", "everything", "bit"), MASQUERADE)
def test_masquerade(body: str, everything: bool, bit: int) -> None:
    for each in settings(body):
        assert (each.masquerade_all, each.masquerade_bit) == (everything, bit)


def test_zone_gate_and_name() -> None:
    for each in settings("featureGates: {AllowServiceExternalIPs: false}", node_of(zone="zone-b")):
        assert each.zone == "zone-b"
        assert not each.allow_external_ips
        assert each.node_name == "node-a"
    for each in settings(""):
        assert each.zone == ""
        assert each.allow_external_ips


def test_the_node_name_is_trimmed_and_lower_cased() -> None:
    assert node_name(ProxyConfig(hostname_override="  Node-A ")) == "node-a"
    with pytest.raises(BadInput, match="has no name"):
        node_name(ProxyConfig())


@pytest.mark.parametrize(
    ("named", "bind"),
    [
        ("", "192.0.2.1"),
        ("node-a", "192.0.2.1"),
        (" Node-A", "192.0.2.1"),
        ("node-b", "0.0.0.0"),
    ],
)
def test_a_bind_address_is_that_of_the_node_that_is_named(named: str, bind: str) -> None:
    config = of_node(ProxyConfig(hostname_override=named, bind_address="192.0.2.1"), "node-a")
    assert (config.hostname_override, config.bind_address) == ("node-a", bind)
