"""Names: the ipsets, the chains and the jumps into them, the device. Pure.

Source: kube-proxy v1.36 ipvs/proxier.go, ipvs/ipset.go. Sets and chains are created even if they
are not needed, so that rules can refer to any of them.
"""

from __future__ import annotations

from typing import NamedTuple

from kproxy.address import Family
from kproxy.kernel.ipset_attributes import Shape
from kproxy.kernel.iptables_save import Jump, Table

DEVICE = "kube-ipvs0"  # holds the addresses of Services; never brought up


class SetKind(NamedTuple):
    """One of the ipsets."""

    type: str
    comment: str
    """The comment of the iptables rules that match the set."""


# By suffix, the part of the name that both families share.
SETS = {
    "LOOP-BACK": SetKind(
        "hash:ip,port,ip",
        "Kubernetes endpoints dst ip:port, source ip for solving hairpin purpose",
    ),
    "CLUSTER-IP": SetKind(
        "hash:ip,port", "Kubernetes service cluster ip + port for masquerade purpose"
    ),
    "EXTERNAL-IP": SetKind(
        "hash:ip,port", "Kubernetes service external ip + port for masquerade and filter purpose"
    ),
    "EXTERNAL-IP-LOCAL": SetKind(
        "hash:ip,port", "Kubernetes service external ip + port with externalTrafficPolicy=local"
    ),
    "LOAD-BALANCER": SetKind("hash:ip,port", "Kubernetes service lb portal"),
    "LOAD-BALANCER-FW": SetKind(
        "hash:ip,port",
        "Kubernetes service load balancer ip + port for load balancer with sourceRange",
    ),
    "LOAD-BALANCER-LOCAL": SetKind(
        "hash:ip,port",
        "Kubernetes service load balancer ip + port with externalTrafficPolicy=local",
    ),
    "LOAD-BALANCER-SOURCE-IP": SetKind(
        "hash:ip,port,ip",
        "Kubernetes service load balancer ip + port + source IP for packet filter purpose",
    ),
    "LOAD-BALANCER-SOURCE-CIDR": SetKind(
        "hash:ip,port,net",
        "Kubernetes service load balancer ip + port + source cidr for packet filter purpose",
    ),
    "NODE-PORT-TCP": SetKind("bitmap:port", "Kubernetes nodeport TCP port for masquerade purpose"),
    "NODE-PORT-LOCAL-TCP": SetKind(
        "bitmap:port", "Kubernetes nodeport TCP port with externalTrafficPolicy=local"
    ),
    "NODE-PORT-UDP": SetKind("bitmap:port", "Kubernetes nodeport UDP port for masquerade purpose"),
    "NODE-PORT-LOCAL-UDP": SetKind(
        "bitmap:port", "Kubernetes nodeport UDP port with externalTrafficPolicy=local"
    ),
    "NODE-PORT-SCTP-HASH": SetKind(
        "hash:ip,port",
        "Kubernetes nodeport SCTP port for masquerade purpose with type 'hash ip:port'",
    ),
    "NODE-PORT-LOCAL-SCTP-HASH": SetKind(
        "hash:ip,port",
        "Kubernetes nodeport SCTP port with externalTrafficPolicy=local with type 'hash ip:port'",
    ),
    "HEALTH-CHECK-NODE-PORT": SetKind("bitmap:port", "Kubernetes health check node port"),
    "IPVS-IPS": SetKind("hash:ip", "Addresses on the ipvs interface"),
}

CHAINS: tuple[tuple[Table, str], ...] = (
    ("nat", "KUBE-SERVICES"),
    ("nat", "KUBE-POSTROUTING"),
    ("nat", "KUBE-NODE-PORT"),
    ("nat", "KUBE-LOAD-BALANCER"),
    ("nat", "KUBE-MARK-MASQ"),
    ("filter", "KUBE-FORWARD"),
    ("filter", "KUBE-NODE-PORT"),
    ("filter", "KUBE-PROXY-FIREWALL"),
    ("filter", "KUBE-SOURCE-RANGES-FIREWALL"),
    ("filter", "KUBE-IPVS-FILTER"),
    ("filter", "KUBE-IPVS-OUT-FILTER"),
)

# Iptables mode has some chains of the same names as ours, but no other mode has this one.
CHAIN_OF_IPTABLES_MODE: tuple[Table, str] = ("nat", "KUBE-NODEPORTS")


def _jump(table: Table, chain: str, comment: str, target: str) -> Jump:
    return Jump(table, chain, f'-m comment --comment "{comment}" -j {target}')


# Each is inserted at the top of its chain, so the last one here is evaluated first.
JUMPS = (
    _jump("nat", "OUTPUT", "kubernetes service portals", "KUBE-SERVICES"),
    _jump("nat", "PREROUTING", "kubernetes service portals", "KUBE-SERVICES"),
    _jump("nat", "POSTROUTING", "kubernetes postrouting rules", "KUBE-POSTROUTING"),
    _jump("filter", "FORWARD", "kubernetes forwarding rules", "KUBE-FORWARD"),
    _jump("filter", "INPUT", "kubernetes health check rules", "KUBE-NODE-PORT"),
    _jump("filter", "INPUT", "kube-proxy firewall rules", "KUBE-PROXY-FIREWALL"),
    _jump("filter", "FORWARD", "kube-proxy firewall rules", "KUBE-PROXY-FIREWALL"),
    _jump("filter", "INPUT", "kubernetes ipvs access filter", "KUBE-IPVS-FILTER"),
    _jump("filter", "OUTPUT", "kubernetes ipvs access filter", "KUBE-IPVS-OUT-FILTER"),
)


# The chain that stays in the nat table while connections still need addresses on the device.
SOURCES_CHAIN: tuple[Table, str] = ("nat", "KUBE-IPVS-SOURCES")
SOURCES_JUMP = _jump("nat", "POSTROUTING", "addresses on the ipvs interface", SOURCES_CHAIN[1])


def set_name(family: Family, suffix: str) -> str:
    """Return the name of one of `SETS`: KUBE-SUFFIX or KUBE-6-SUFFIX, cut to ipset's limit of 31
    characters.
    """
    return f"KUBE-{'6-' if family is Family.IPV6 else ''}{suffix}"[:31]


def spare_name(family: Family, suffix: str) -> str:
    """Return the name of the set that serves where `set_name` cannot be had (see `sets`)."""
    return f"KP{'6' if family is Family.IPV6 else '4'}-{suffix}"


def all_names(family: Family) -> list[str]:
    """Return the names of all sets that this mode may have made."""
    return [name(family, suffix) for name in (set_name, spare_name) for suffix in SETS]


def shape_of(family: Family, suffix: str) -> Shape:
    """Return what one of `SETS` is created as, which is what kube-proxy does."""
    kind = SETS[suffix].type
    if kind == "bitmap:port":
        return Shape(kind, None, {"from": 0, "to": 65535})
    return Shape(kind, family, {"hashsize": 1024, "maxelem": 65536})
