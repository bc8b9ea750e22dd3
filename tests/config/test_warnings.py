"""Warnings of a start, and what a start refuses because of the Node."""

from __future__ import annotations

import pytest

from kproxy.address import Family
from kproxy.api.types import Node
from kproxy.backend import ModeConfigs
from kproxy.config.warnings import start_warnings
from kproxy.errors import BadInput
from tests.config.test_node import config_of, node_of

IPV4, IPV6 = Family.IPV4, Family.IPV6
CIDR = "clusterCIDR: 10.244.0.0/16\n"
DUAL = "clusterCIDR: 10.244.0.0/16,fd00:10:244::/56\n"
LISTED = "nodePortAddresses: [192.0.2.0/24]\n"
NODE = node_of("192.0.2.11")
UNSET = "nodePortAddresses is unset; node ports accept connections on all addresses of the node."


def warnings_of(
    body: str, node: Node | None = NODE, families: tuple[Family, ...] = (IPV4, IPV6)
) -> str:
    config = config_of(body)
    return "\n".join(start_warnings(config, node, families, ModeConfigs()[config.mode]))


WARNED = [  # configuration -> each warning begins with
    (CIDR + LISTED, []),
    (CIDR + "enableProfiling: true\n" + LISTED, ["enableProfiling: kproxy has no pprof"]),
    (CIDR, [UNSET]),
    (CIDR + "nodePortAddresses: [primary]", []),
    (CIDR + "mode: nftables", []),
    (CIDR + 'nodePortAddresses: [0.0.0.0/0, "::/0"]', []),
    (DUAL + LISTED, ["the cluster appears to be dual-stack, but nodePortAddresses has only IPv4"]),
    (DUAL + "mode: nftables",
     ["the cluster appears to be dual-stack, but nodePortAddresses has only IPv4"]),
    (DUAL + 'nodePortAddresses: [192.0.2.0/24, "2001:db8::/64"]', []),
    (CIDR + 'ipvs: {excludeCIDRs: [10.9.0.0/16, "fd09::/16"]}\n' + LISTED,
     ["the cluster appears to be dual-stack, but nodePortAddresses has only IPv4"]),
    (CIDR + 'nodePortAddresses: ["2001:db8::/64"]',
     ["the cluster appears to be IPv4-primary, but nodePortAddresses has only IPv6"]),
    ('clusterCIDR: "fd00:10:244::/56"\n' + LISTED,
     ["the cluster is IPv4-primary, but clusterCIDR has only IPv6", "clusterCIDR has no IPv4"]),
    (LISTED, ["clusterCIDR has no IPv4 addresses; "]),
    ("detectLocalMode: BridgeInterface\ndetectLocal: {bridgeInterface: cni0}\n" + LISTED, []),
    (CIDR + "mode: ipvs\n" + LISTED, ["ipvs mode is deprecated"]),
    (CIDR + "nodePortAddresses: [192.0.2.0/24, 127.0.0.0/8]", []),
    (CIDR + "nodePortAddresses: [192.0.2.0/24, 127.0.0.0/8]\niptables: {localhostNodePorts: false}",
     ["nodePortAddresses has the loopback addresses 127.0.0.0/8, but iptables.localhostNodePorts"]),
    (CIDR + "mode: nftables\nnodePortAddresses: [192.0.2.0/24, 127.0.0.1/32]", []),
    (CIDR + "mode: nftables\nnodePortAddresses: [192.0.2.0/24, localhost]", []),
    (CIDR + "mode: ipvs\nnodePortAddresses: [192.0.2.0/24, localhost]",
     [("ipvs mode is deprecated in kube-proxy and may be removed; nftables replaces it (gate "
      "KubeProxyIPVS is planned to be off by default in kube-proxy 1.40"),
      "nodePortAddresses has the loopback addresses 127.0.0.0/8, but no node port answers there",
      "nodePortAddresses has the loopback addresses ::1/128, but no node port answers there"]),
    (CIDR + "nodePortAddresses: [all]", []),
    (CIDR + "nodePortAddresses: [primary, localhost]",
     ["nodePortAddresses has the loopback addresses ::1/128, but no node port answers there"]),
    (CIDR + "emulate: 1.36\nmode: nftables\nnodePortAddresses: [192.0.2.0/24, 127.0.0.1/32]",
     ["nodePortAddresses has the loopback addresses 127.0.0.1/32, but no node port answers there"]),
    (CIDR + 'nodePortAddresses: [192.0.2.0/24, "2001:db8::/64", "::1/128"]',
     ["nodePortAddresses has the loopback addresses ::1/128, but no node port answers there"]),
]  # fmt: skip


@pytest.mark.parametrize(("body", "begins"), WARNED)
def test_warnings(body: str, begins: list[str]) -> None:
    found = warnings_of(body).splitlines()
    assert len(found) == len(begins), found
    for warning, begin in zip(found, begins, strict=True):
        assert warning.startswith(begin)


def test_primary_without_a_known_address() -> None:
    body = CIDR + "nodePortAddresses: [primary]"
    assert warnings_of(body, None).startswith("nodePortAddresses is primary, but no address of")
    assert warnings_of(body + "\nbindAddress: 192.0.2.11", None) == ""


ALONE = [  # with one family only
    ('healthzBindAddress: "[2001:db8::1]:10256"', "healthzBindAddress is [2001:db8::1]:10256"),
    ('metricsBindAddress: "::1"', "metricsBindAddress is [::1]:10249"),
    ('ipvs: {excludeCIDRs: ["fd09::/16"]}', "ipvs.excludeCIDRs has only IPv6 addresses"),
]


@pytest.mark.parametrize(("line", "said"), ALONE)
def test_what_is_wrong_only_without_the_other_family(line: str, said: str) -> None:
    body = f"{CIDR}{LISTED}{line}"
    assert warnings_of(body) == ""
    assert warnings_of(body, families=(IPV4,)) == f"the cluster is IPv4-only, but {said}"


def test_pod_cidrs_of_the_wrong_family_are_refused() -> None:
    body = LISTED + "detectLocalMode: NodeCIDR"
    assert warnings_of(body, node_of("192.0.2.11", pod_cidrs=("10.244.1.0/24",))) == ""
    with pytest.raises(
        BadInput, match=r"NodeCIDR: the cluster is IPv4-primary, but spec\.podCIDRs"
    ):
        warnings_of(body, node_of("192.0.2.11", pod_cidrs=("fd00:10:244:1::/64",)))


def test_an_ipv6_node() -> None:
    node = node_of("2001:db8::11")
    body = 'clusterCIDR: "fd00:10:244::/56"\nnodePortAddresses: [192.0.2.0/24]'
    assert warnings_of(body, node).startswith(
        "the cluster appears to be IPv6-primary, but nodePortAddresses has only IPv4 addresses; "
        "node ports accept connections on all IPv6 addresses"
    )
