"""The flat layout: no chain, set or rule belongs to a service port. Pure.

What kube-proxy's layout says in chains is said in elements of maps that all services share, so that
every lookup and every change costs the same however many Services there are:

    service-ips             frontend -> goto lb-N, where N is the number of endpoints
    endpoints               frontend . slot -> endpoint; the slots of a frontend are 0 to N-1
    lb-N                    dnat to frontend . numgen random mod N map @endpoints
    masq-lb-N               the same after the mark for masquerade (externalTrafficPolicy Cluster)
    local-lb-N              externalTrafficPolicy Local: jump short-circuit, then as lb-N, but with
                            the endpoints of this node, in local-endpoints
    short-circuit           pods and processes of this node: vmap @short-circuit-ips, to lb-N
    source-ranges-check     drops what is not in the set source-ranges: frontend . source

and the same for node ports, whose frontends have no address. Services with session affinity keep
kube-proxy's chains (docs/nftables-flat.md tells why).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Any

from msgspec.structs import replace

from kproxy.forwarding.plan import (
    Endpoint,
    Family,
    Frontend,
    FrontendKind,
    NodeSettings,
    ServicePlan,
)
from kproxy.kernel.nftables import expressions as expr
from kproxy.kernel.nftables import types
from kproxy.kernel.nftables.objects import Rule, Set
from kproxy.kernel.nftables.types import INTEGER, PORT, PROTOCOL, VERDICT, address, concatenation
from kproxy_nftables import kube_proxy_layout, words
from kproxy_nftables.frame import Chains
from kproxy_nftables.wanted import (
    Balanced,
    Balancer,
    Element,
    ElementKey,
    Wanted,
    common_elements,
    firewall,
    firewalled,
    frontend_key,
    frontend_map,
    goto,
    is_dispatched,
)

SOURCE_RANGES = "source-ranges"
SOURCE_RANGES_CHECK = "source-ranges-check"
_ENDPOINTS, _LOCAL_ENDPOINTS = "endpoints", "local-endpoints"
_SHORT_CIRCUIT, _SHORT_CIRCUIT_IPS = "short-circuit", "short-circuit-ips"
_NODE_PORT = "nodeport-"  # what the names of the same things for node ports begin with


def sets(family: Family) -> Iterator[Set]:
    """Those beside the ones that both layouts have."""
    ip = address(family)
    for prefix, parts, typeof in (
        ("", (ip, PROTOCOL, PORT), (types.TYPEOF_DESTINATION[family],)),
        (_NODE_PORT, (PROTOCOL, PORT), ()),
    ):
        frontend = concatenation(*parts)
        yield Set(prefix + _SHORT_CIRCUIT_IPS, frontend, VERDICT)
        # nft calls a slot by the expression that makes it, having no name for plain numbers.
        slot = types.like(
            concatenation(*parts, INTEGER),
            *typeof,
            types.TYPEOF_PROTOCOL,
            types.TYPEOF_PORT,
            types.TYPEOF_SLOT,
        )
        endpoint = types.like(
            concatenation(ip, PORT), types.TYPEOF_DESTINATION[family], types.TYPEOF_PORT
        )
        yield Set(prefix + _ENDPOINTS, slot, endpoint)
        yield Set(prefix + _LOCAL_ENDPOINTS, slot, endpoint)
    yield Set(SOURCE_RANGES, concatenation(ip, PROTOCOL, PORT, ip), ranges=True)


def chains(settings: NodeSettings) -> Chains:
    """Those beside the ones that both layouts have; `balancer_rules` has the rest."""
    family = settings.family
    return {
        _SHORT_CIRCUIT: tuple(_short_circuit(settings, node_port=False)),
        _NODE_PORT + _SHORT_CIRCUIT: tuple(_short_circuit(settings, node_port=True)),
        SOURCE_RANGES_CHECK: (
            Rule(
                (
                    words.destination_and_source(family),
                    expr.lookup(SOURCE_RANGES, inverted=True),
                    words.drop(),
                )
            ),
        ),
    }


def balancer_rules(chain: Balancer, settings: NodeSettings) -> tuple[Rule, ...]:
    prefix = _NODE_PORT if chain.node_port else ""
    match chain.kind:
        case "masq-lb":
            target = replace(chain, kind="lb").name
            return Rule((words.mark(settings),)), Rule((words.goto(target),))
        case "local-lb":
            first = Rule((words.jump(prefix + _SHORT_CIRCUIT),))
            if not chain.slots:
                return (first,)
            return first, _balance(chain, settings.family, prefix + _LOCAL_ENDPOINTS)
        case "lb":
            return (_balance(chain, settings.family, prefix + _ENDPOINTS),)


def wanted(service: ServicePlan, settings: NodeSettings) -> Wanted:
    if service.affinity_timeout_s:
        return kube_proxy_layout.wanted(service, settings)
    elements = dict(common_elements(service))
    for frontend in service.frontends:
        if is_dispatched(service, frontend):
            key = frontend_key(service, frontend)
            elements[ElementKey(frontend_map(frontend), key)] = _dispatched(service, frontend, key)
    for frontend in firewalled(service):
        place, element = firewall(service, frontend, SOURCE_RANGES_CHECK)
        admitted = ((each, b"") for each in _intervals(place.key, frontend.source_ranges))
        elements[place] = replace(element, others=tuple(admitted))
    return Wanted(elements, {}, {})


def _dispatched(service: ServicePlan, frontend: Frontend, key: bytes) -> Element:
    node_port = frontend.kind is FrontendKind.NODE_PORT
    prefix = _NODE_PORT if node_port else ""
    if not frontend.short_circuit:
        pool = service.pool(frontend)
        lb = Balancer("lb", len(pool), node_port)
        balanced = (Balanced(prefix + _ENDPOINTS, _values(pool)),)
        if frontend.kind is FrontendKind.CLUSTER_IP:
            return Element(goto(lb.name), chains=(lb,), balanced=balanced)
        masquerading = replace(lb, kind="masq-lb")
        return Element(goto(masquerading.name), chains=(lb, masquerading), balanced=balanced)
    local = Balancer("local-lb", len(service.local), node_port)
    balanced = (Balanced(prefix + _LOCAL_ENDPOINTS, _values(service.local)),)
    if not service.cluster:
        return Element(goto(local.name), chains=(local,), balanced=balanced)
    lb = Balancer("lb", len(service.cluster), node_port)
    return Element(
        goto(local.name),
        chains=(local, lb),
        balanced=(*balanced, Balanced(prefix + _ENDPOINTS, _values(service.cluster))),
        others=((ElementKey(prefix + _SHORT_CIRCUIT_IPS, key), goto(lb.name)),),
    )


def _values(endpoints: tuple[Endpoint, ...]) -> tuple[bytes, ...]:
    return tuple(map(words.endpoint_bytes, endpoints))


def _intervals(frontend: bytes, cidrs: tuple[str, ...]) -> Iterator[ElementKey]:
    """The kernel wants them not to overlap."""
    networks: Any = map(ipaddress.ip_network, cidrs)  # of one family, what typing cannot see
    for network in ipaddress.collapse_addresses(networks):
        first, last = network.network_address.packed, network.broadcast_address.packed
        yield ElementKey(SOURCE_RANGES, frontend + first, frontend + last)


def _short_circuit(settings: NodeSettings, *, node_port: bool) -> Iterator[Rule]:
    prefix = _NODE_PORT if node_port else ""
    to_all = _frontend(settings.family, node_port) + expr.lookup(prefix + _SHORT_CIRCUIT_IPS, 0)
    if detector := settings.detector:
        from_pod = words.from_local_pod(settings.family, detector)
        yield Rule((from_pod, to_all), "short-circuit pod traffic")
    from_node = expr.fib_is_local(source=True)
    yield Rule((from_node, words.mark(settings)), "masquerade local traffic")
    yield Rule((from_node, to_all), "short-circuit local traffic")


def _balance(chain: Balancer, family: Family, map_: str) -> Rule:
    slot = words.random_slot(chain.slots, words.slot_register(family, node_port=chain.node_port))
    found = expr.lookup(map_, 1)
    return Rule((_frontend(family, chain.node_port), slot, found, words.dnat(family)))


def _frontend(family: Family, node_port: bool) -> bytes:
    return words.protocol_and_port() if node_port else words.destination(family)
