"""The flat layout: no chain, set or rule belongs to a single service port. Pure.

In place of the chains of kube-proxy's layout there are elements of maps that all services share, so
that every lookup and every change costs the same however many Services there are:

    service-ips             frontend -> goto lb-tcp-N, where N is the number of endpoints
    endpoints-tcp           address . port . slot -> endpoint; a frontend's slots are 0 to N-1
    lb-tcp-N                dnat to address . port . numgen random mod N map @endpoints-tcp
    masq-lb-tcp-N           the same after the mark for masquerade (externalTrafficPolicy Cluster)
    local-lb-tcp-N          externalTrafficPolicy Local: jump short-circuit, then as lb-tcp-N, but
                            with the endpoints of this node, in local-endpoints-tcp
    short-circuit           pods and processes of this node: vmap @short-circuit-ips, to lb-tcp-N
    source-ranges-check     drops what is not in the set source-ranges: frontend . source

and the same for udp and sctp, and for node ports, whose frontends have no address. Services with
session affinity keep kube-proxy's chains (docs/nftables-flat.md tells why, and why each protocol
has its own chains and maps).

A new connection should cost as little as possible. So there are no unconditional jumps; source
ranges are checked only for the first packet of a connection, before it is translated; a forwarded
packet is matched by one rule, which tells whether its address is one that may have to be refused
(those of endpoints are not); and the hairpin lookup is made only for packets from an endpoint.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

from msgspec.structs import replace

from kproxy.address import Family
from kproxy.forwarding.plan import Endpoint, Frontend, FrontendKind, NodeSettings, ServicePlan
from kproxy.kernel.nftables import expressions as expr
from kproxy.kernel.nftables import types
from kproxy.kernel.nftables.objects import Rule, Set
from kproxy.kernel.nftables.types import INTEGER, PORT, PROTOCOL, VERDICT, address, concatenation
from kproxy_nftables import frame, kube_proxy_layout, localhost, words
from kproxy_nftables.frame import Chains
from kproxy_nftables.names import (
    CLUSTER_IPS,
    CLUSTER_IPS_CHECK,
    FIREWALL_IPS,
    NODE_PORT_ENDPOINTS_CHECK,
    REJECT,
    SERVICE_ENDPOINTS_CHECK,
)
from kproxy_nftables.wanted import (
    MEMBER,
    Balanced,
    Balancer,
    Element,
    ElementKey,
    Wanted,
    common_elements,
    firewalled,
    frontend_key,
    frontend_map,
    goto,
    is_dispatched,
    jump,
)

_HAIRPIN_IPS = "hairpin-ips"
_CHECK, _CHECKED_IPS = "checked-ips-check", "checked-ips"
_SOURCE_RANGES_CHECK, _SOURCE_RANGES = "source-ranges-check", "source-ranges"
_ENDPOINTS, _LOCAL_ENDPOINTS = "endpoints", "local-endpoints"
_SHORT_CIRCUIT, _SHORT_CIRCUIT_IPS = "short-circuit", "short-circuit-ips"
_NODE_PORT = "nodeport-"  # prefix of the names of the same objects for node ports


def sets(settings: NodeSettings) -> Iterator[Set]:
    yield from frame.sets(settings)
    family = settings.family
    ip = address(family)
    yield Set(_CHECKED_IPS, ip, comment="ClusterIPs, and IPs of services with no endpoints")
    yield Set(_HAIRPIN_IPS, ip, comment="endpoints on this node, which may meet themselves")
    typeof_ip = types.TYPEOF_DESTINATION[family]
    for node_port, own, typeof_own in ((False, (ip,), (typeof_ip,)), (True, (), ())):
        frontend = concatenation(*own, PROTOCOL, PORT)
        yield Set(_prefix(node_port) + _SHORT_CIRCUIT_IPS, frontend, VERDICT)
        # nft prints a slot as the expression that makes it, having no type for plain numbers.
        for protocol, typeof_port in types.TYPEOF_PORT.items():
            slot = types.like(
                concatenation(*own, PORT, INTEGER), *typeof_own, typeof_port, types.TYPEOF_SLOT
            )
            endpoint = types.like(concatenation(ip, PORT), typeof_ip, typeof_port)
            for name in (_ENDPOINTS, _LOCAL_ENDPOINTS):
                yield Set(_map(name, protocol, node_port), slot, endpoint)
    yield Set(_SOURCE_RANGES, concatenation(ip, PROTOCOL, PORT, ip), ranges=True)


def chains(settings: NodeSettings) -> Chains:
    """Return the chains that do not depend on Services. For the other shared ones see
    `balancer_rules`.
    """
    family = settings.family
    theirs = frame.chains(settings)
    same = ("filter-input", NODE_PORT_ENDPOINTS_CHECK, SERVICE_ENDPOINTS_CHECK, REJECT)
    services = tuple(_services(settings))
    local_endpoint = words.saddr(family) + expr.lookup(_HAIRPIN_IPS)
    refuse_closed_port, *drop_unallocated = theirs[CLUSTER_IPS_CHECK]
    check = (
        Rule(
            (
                words.ct_state_new(),
                words.daddr(family),
                expr.lookup(_CHECKED_IPS),
                words.jump(_CHECK),
            )
        ),
        *(
            Rule((words.ct_state_new(), *rule.expressions), rule.comment)
            for rule in drop_unallocated
        ),
    )
    return (
        localhost.chains(settings)
        | {name: theirs[name] for name in same}
        | {
            "filter-forward": check,
            "filter-output": check,
            "nat-prerouting": services,
            "nat-output": services,
            "nat-postrouting": (
                frame.masquerade_marked(settings),
                frame.masquerade_hairpin(family, local_endpoint),
            ),
            _CHECK: (*theirs[SERVICE_ENDPOINTS_CHECK], refuse_closed_port),
            _SHORT_CIRCUIT: tuple(_short_circuit(settings, node_port=False)),
            _NODE_PORT + _SHORT_CIRCUIT: tuple(_short_circuit(settings, node_port=True)),
            _SOURCE_RANGES_CHECK: (
                Rule(
                    (
                        words.destination_and_source(family),
                        expr.lookup(_SOURCE_RANGES, inverted=True),
                        words.drop(),
                    )
                ),
            ),
        }
    )


def balancer_rules(chain: Balancer, settings: NodeSettings) -> tuple[Rule, ...]:
    match chain.kind:
        case "masq-lb":
            target = replace(chain, kind="lb").name
            return Rule((words.mark(settings),)), Rule((words.goto(target),))
        case "local-lb":
            first = Rule((words.jump(_prefix(chain.node_port) + _SHORT_CIRCUIT),))
            if not chain.slots:
                return (first,)
            return first, _balance(chain, settings.family, _LOCAL_ENDPOINTS)
        case "lb":
            return (_balance(chain, settings.family, _ENDPOINTS),)


def wanted(service: ServicePlan, settings: NodeSettings) -> Wanted:
    if service.affinity_timeout_s:
        own = kube_proxy_layout.without_firewall(service, settings)
    else:
        own = Wanted(dict(common_elements(service, settings)), {}, {})
        for frontend in service.frontends:
            if is_dispatched(service, frontend):
                key = ElementKey(frontend_map(frontend), frontend_key(service, frontend))
                own.elements[key] = _dispatched(service, frontend, key.key)
    for frontend in service.frontends:
        cluster_ip = frontend.kind is FrontendKind.CLUSTER_IP
        if cluster_ip or (frontend.address and not service.serves(frontend)):
            own.elements[ElementKey(_CHECKED_IPS, words.address_bytes(frontend.address))] = MEMBER
    for endpoint in service.reachable:
        if endpoint.local:
            own.elements[ElementKey(_HAIRPIN_IPS, words.address_bytes(endpoint.address))] = MEMBER
    for frontend in firewalled(service):
        key = ElementKey(FIREWALL_IPS, frontend_key(service, frontend))
        admitted = ((each, b"") for each in _intervals(key.key, frontend.source_ranges))
        own.elements[key] = Element(jump(_SOURCE_RANGES_CHECK), others=tuple(admitted))
    return own


def _dispatched(service: ServicePlan, frontend: Frontend, key: bytes) -> Element:
    node_port = frontend.kind is FrontendKind.NODE_PORT
    protocol = service.protocol
    if not frontend.short_circuit:
        pool = service.pool(frontend)
        balanced = (_balanced(_ENDPOINTS, service, frontend, pool),)
        masquerade = frontend.kind is not FrontendKind.CLUSTER_IP
        chains, verdict = _lead(protocol, len(pool), node_port=node_port, masquerade=masquerade)
        return Element(verdict, chains=chains, balanced=balanced)
    local = Balancer("local-lb", protocol, len(service.local), node_port)
    balanced = (_balanced(_LOCAL_ENDPOINTS, service, frontend, service.local),)
    if not service.cluster:
        return Element(goto(local.name), chains=(local,), balanced=balanced)
    lb = Balancer("lb", protocol, len(service.cluster), node_port)
    return Element(
        goto(local.name),
        chains=(local, lb),
        balanced=(*balanced, _balanced(_ENDPOINTS, service, frontend, service.cluster)),
        others=((ElementKey(_prefix(node_port) + _SHORT_CIRCUIT_IPS, key), goto(lb.name)),),
    )


def _balanced(
    map_: str, service: ServicePlan, frontend: Frontend, endpoints: Iterable[Endpoint]
) -> Balanced:
    name = _map(map_, service.protocol, frontend.kind is FrontendKind.NODE_PORT)
    key = ElementKey(name, words.destination_bytes(frontend.address, frontend.port))
    return Balanced(key, words.endpoint_bytes(service.family, endpoints))


@cache
def _lead(
    protocol: str, slots: int, *, node_port: bool, masquerade: bool
) -> tuple[tuple[Balancer, ...], bytes]:
    """Return the chains behind a frontend, and the verdict that goes to the first."""
    lb = Balancer("lb", protocol, slots, node_port)
    if not masquerade:
        return (lb,), goto(lb.name)
    masquerading = replace(lb, kind="masq-lb")
    return (lb, masquerading), goto(masquerading.name)


def _intervals(frontend: bytes, cidrs: tuple[str, ...]) -> Iterator[ElementKey]:
    """Yield intervals that cover the CIDRs without overlapping, as the kernel demands."""
    networks: Any = map(ipaddress.ip_network, cidrs)  # of one family, which types cannot tell
    for network in ipaddress.collapse_addresses(networks):
        first, last = network.network_address.packed, network.broadcast_address.packed
        yield ElementKey(_SOURCE_RANGES, frontend + first, frontend + last)


def _services(settings: NodeSettings) -> Iterator[Rule]:
    """Yield the rules of kube-proxy's chain `services`, with the cheaper match first."""
    family = settings.family
    yield Rule((frame.frontend_verdict(family, FIREWALL_IPS),))
    to_cluster_ip = words.daddr(family) + expr.lookup(CLUSTER_IPS)
    if settings.masquerade_all:
        yield Rule((to_cluster_ip, words.mark(settings)), "masquerade all clusterIP traffic")
    elif settings.detector:
        outsider = words.from_local_pod(family, settings.detector, negate=True)
        yield Rule((outsider, to_cluster_ip, words.mark(settings)), frame.OUTSIDER_COMMENT)
    yield from frame.dispatch(settings)


def _short_circuit(settings: NodeSettings, *, node_port: bool) -> Iterator[Rule]:
    frontend = words.protocol_and_port() if node_port else words.destination(settings.family)
    to_all = frontend + expr.lookup(_prefix(node_port) + _SHORT_CIRCUIT_IPS, 0)
    if detector := settings.detector:
        from_pod = words.from_local_pod(settings.family, detector)
        yield Rule((from_pod, to_all), "short-circuit pod traffic")
    from_node = expr.fib_is_local(source=True)
    yield Rule((from_node, words.mark(settings)), "masquerade local traffic")
    yield Rule((from_node, to_all), "short-circuit local traffic")


def _balance(chain: Balancer, family: Family, map_: str) -> Rule:
    """Return the rule `dnat` to a random slot in the map.

    It is for one protocol, like its map: to load the rule over a live map with `th dport`, which is
    for all of them, nft demands to know which one is meant.
    """
    slot = words.slot_of(family, chain.protocol, chain.slots, node_port=chain.node_port)
    found = expr.lookup(_map(map_, chain.protocol, chain.node_port), 1)
    return Rule((slot, found, words.dnat(family)))


@cache
def _map(name: str, protocol: str, node_port: bool) -> str:
    return f"{_prefix(node_port)}{name}-{protocol.lower()}"


def _prefix(node_port: bool) -> str:
    return _NODE_PORT if node_port else ""
