"""The objects that do not depend on Services: base chains, jumps, fixed chains, sets, maps. Pure.

Source: kube-proxy v1.36 nftables/proxier.go, setupNFTables.
"""

from __future__ import annotations

from collections.abc import Iterator

from kproxy.address import Family
from kproxy.forwarding.plan import NodeSettings
from kproxy.kernel.nftables import expressions as expr
from kproxy.kernel.nftables.objects import Hook, Rule, Set
from kproxy.kernel.nftables.types import PORT, PROTOCOL, VERDICT, address, concatenation
from kproxy_nftables import localhost, words
from kproxy_nftables.names import (
    CLUSTER_IPS,
    CLUSTER_IPS_CHECK,
    FIREWALL_CHECK,
    FIREWALL_IPS,
    HAIRPIN,
    MASQUERADING,
    NO_ENDPOINT_NODE_PORTS,
    NO_ENDPOINT_SERVICES,
    NODE_PORT_ENDPOINTS_CHECK,
    NODE_PORT_IPS,
    REJECT,
    SERVICE_ENDPOINTS_CHECK,
    SERVICE_IPS,
    SERVICE_NODE_PORTS,
    SERVICES,
)

TABLE_COMMENT = "rules for kube-proxy"
OUTSIDER_COMMENT = "masquerade clusterIP traffic from outside cluster"
REJECT_COMMENT = "helper for @no-endpoint-services / @no-endpoint-nodeports"
_PREROUTING, _INPUT, _FORWARD, _OUTPUT, _POSTROUTING = range(5)

BASE_CHAINS = {
    "filter-prerouting-pre-dnat": Hook("filter", _PREROUTING, -110),
    "filter-output-pre-dnat": Hook("filter", _OUTPUT, -110),
    "filter-input": Hook("filter", _INPUT, 0),
    "filter-forward": Hook("filter", _FORWARD, 0),
    "filter-output": Hook("filter", _OUTPUT, 0),
    "nat-prerouting": Hook("nat", _PREROUTING, -100),
    "nat-output": Hook("nat", _OUTPUT, -100),
    "nat-postrouting": Hook("nat", _POSTROUTING, 100),
}

# Base chain, only for new connections, target. The order within a base chain matters.
_JUMPS = (
    ("filter-input", True, NODE_PORT_ENDPOINTS_CHECK),
    ("filter-input", True, SERVICE_ENDPOINTS_CHECK),
    ("filter-forward", True, SERVICE_ENDPOINTS_CHECK),
    ("filter-output", True, SERVICE_ENDPOINTS_CHECK),
    ("filter-prerouting-pre-dnat", True, FIREWALL_CHECK),
    ("filter-output-pre-dnat", True, FIREWALL_CHECK),
    ("nat-output", False, SERVICES),
    ("nat-prerouting", False, SERVICES),
    ("nat-postrouting", False, MASQUERADING),
    ("filter-forward", True, CLUSTER_IPS_CHECK),
    ("filter-output", True, CLUSTER_IPS_CHECK),
)

Chains = dict[str, tuple[Rule, ...]]


def sets(settings: NodeSettings) -> Iterator[Set]:
    ip = address(settings.family)
    frontend = concatenation(ip, PROTOCOL, PORT)
    node_port = concatenation(PROTOCOL, PORT)
    yield Set(HAIRPIN, concatenation(ip, ip, PROTOCOL, PORT), comment="service hairpin connections")
    yield Set(CLUSTER_IPS, ip, comment="Active ClusterIPs")
    if not settings.node_port_addresses.match_all:
        yield Set(NODE_PORT_IPS, ip, comment="IPs that accept NodePort traffic")
    for name, key, comment in (
        (
            NO_ENDPOINT_SERVICES,
            frontend,
            "vmap to drop or reject packets to services with no endpoints",
        ),
        (
            NO_ENDPOINT_NODE_PORTS,
            node_port,
            "vmap to drop or reject packets to service nodeports with no endpoints",
        ),
        (FIREWALL_IPS, frontend, "destinations that are subject to LoadBalancerSourceRanges"),
        (SERVICE_IPS, frontend, "ClusterIP, ExternalIP and LoadBalancer IP traffic"),
        (SERVICE_NODE_PORTS, node_port, "NodePort traffic"),
    ):
        yield Set(name, key, VERDICT, comment)
    yield from localhost.sets(settings)


def chains(settings: NodeSettings) -> Chains:
    """Return all chains except those of services, with their rules, including base chains."""
    family = settings.family
    return (
        _base_chains()
        | localhost.chains(settings)
        | {
            NODE_PORT_ENDPOINTS_CHECK: (
                Rule((_on_node_port_address(settings), _node_port_verdict(NO_ENDPOINT_NODE_PORTS))),
                *localhost.checks(settings),
            ),
            SERVICE_ENDPOINTS_CHECK: (Rule((frontend_verdict(family, NO_ENDPOINT_SERVICES),)),),
            FIREWALL_CHECK: (Rule((frontend_verdict(family, FIREWALL_IPS),)),),
            SERVICES: tuple(_services(settings)),
            MASQUERADING: (masquerade_marked(settings), masquerade_hairpin(family)),
            CLUSTER_IPS_CHECK: tuple(_cluster_ips_check(settings)),
            REJECT: (Rule((expr.reject(family),)),),
        }
    )


def masquerade_marked(settings: NodeSettings) -> Rule:
    return Rule((words.marked(settings), words.unmark(settings), expr.masquerade()))


def masquerade_hairpin(family: Family, match: bytes = b"") -> Rule:
    """Return the rule that masquerades an endpoint's connection to itself. `match`: a condition in
    addition.
    """
    known = words.both_addresses_and_port(family) + expr.lookup(HAIRPIN)
    return Rule((words.ct_status_dnat(), match, known, expr.masquerade()))


def _base_chains() -> Chains:
    rules: dict[str, tuple[Rule, ...]] = dict.fromkeys(BASE_CHAINS, ())
    for base, only_new, target in _JUMPS:
        match = words.ct_state_new() if only_new else b""
        rules[base] += (Rule((match, words.jump(target))),)
    return rules


def _cluster_ips_check(settings: NodeSettings) -> Iterator[Rule]:
    """Yield the rules for new connections that still go to a cluster IP after translation."""
    family = settings.family
    yield Rule(
        (words.daddr(family), expr.lookup(CLUSTER_IPS), expr.reject(family)),
        "Reject traffic to invalid ports of ClusterIPs",
    )
    if settings.service_cidrs:
        within = words.daddr_within(family, settings.service_cidrs)
        yield Rule((*within, words.drop()), "Drop traffic to unallocated ClusterIPs")


def _services(settings: NodeSettings) -> Iterator[Rule]:
    family = settings.family
    to_cluster_ip = words.daddr(family) + expr.lookup(CLUSTER_IPS)
    if settings.masquerade_all:
        yield Rule((to_cluster_ip, words.mark(settings)), "masquerade all clusterIP traffic")
    elif settings.detector:
        outsider = words.from_local_pod(family, settings.detector, negate=True)
        yield Rule((to_cluster_ip, outsider, words.mark(settings)), OUTSIDER_COMMENT)
    yield from dispatch(settings)


def dispatch(settings: NodeSettings) -> Iterator[Rule]:
    """Yield the rules that dispatch by frontend."""
    yield Rule((frontend_verdict(settings.family, SERVICE_IPS),))
    match_all = settings.node_port_addresses.match_all
    local = expr.fib_is_local(source=False) if match_all else b""
    yield Rule((local, _on_node_port_address(settings), _node_port_verdict(SERVICE_NODE_PORTS)))


def _on_node_port_address(settings: NodeSettings) -> bytes:
    if settings.node_port_addresses.match_all:
        return words.not_loopback(settings.family)
    return words.daddr(settings.family) + expr.lookup(NODE_PORT_IPS)


def frontend_verdict(family: Family, map_: str) -> bytes:
    return words.destination(family) + expr.lookup(map_, 0)


def _node_port_verdict(map_: str) -> bytes:
    return words.protocol_and_port() + expr.lookup(map_, 0)
