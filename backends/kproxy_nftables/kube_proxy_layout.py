"""kube-proxy's layout: chains of its own for each service port. Pure.

`services` leads with a map of all frontends to the chains of the service port:

    external-...   for clients outside: masquerades, or for externalTrafficPolicy Local, chooses
    firewall-...   drops clients outside loadBalancerSourceRanges, before translation
    service-...    chooses one of all usable endpoints by a random number
    local-...      chooses one of the endpoints of this node
    endpoint-...   with session affinity: remembers the client in the set affinity-..., translates

Source: kube-proxy v1.36 nftables/proxier.go, writeServiceRules and others.
"""

from __future__ import annotations

from collections.abc import Iterator

from kproxy.forwarding.plan import Endpoint, FrontendKind, NodeSettings, Pool, ServicePlan
from kproxy.kernel.nftables import expressions as expr
from kproxy.kernel.nftables.objects import AnonymousSet, Rule, Set, element
from kproxy.kernel.nftables.types import INTEGER, VERDICT, address
from kproxy.versions import SINGLE_ENDPOINT_DNAT, Version
from kproxy_nftables import words
from kproxy_nftables.frame import Chains
from kproxy_nftables.hashed_names import endpoint_base, service_base
from kproxy_nftables.names import FIREWALL_IPS
from kproxy_nftables.wanted import (
    Element,
    ElementKey,
    Wanted,
    common_elements,
    firewalled,
    frontend_key,
    frontend_map,
    goto,
    is_dispatched,
)


def wanted(service: ServicePlan, settings: NodeSettings) -> Wanted:
    wanted = without_firewall(service, settings)
    base = service_base(service.name)
    for frontend in firewalled(service):
        outside = words.saddr_outside(service.family, frontend.source_ranges)
        wanted.chains[f"firewall-{base}"] = (Rule((*outside, words.drop())),)
        key = ElementKey(FIREWALL_IPS, frontend_key(service, frontend))
        wanted.elements[key] = Element(goto(f"firewall-{base}"))
    return wanted


def without_firewall(service: ServicePlan, settings: NodeSettings) -> Wanted:
    """Return all objects except those for loadBalancerSourceRanges."""
    elements = dict(common_elements(service, settings))
    elements.update(_dispatch_elements(service))
    base = service_base(service.name)
    chains: Chains = {}
    if service.has_endpoints and service.externally_accessible:
        chains[f"external-{base}"] = tuple(_external_rules(service, settings, base))
    pools = ((f"service-{base}", service.cluster), (f"local-{base}", service.local))
    for name, endpoints in pools:
        if endpoints and service.affinity_timeout_s:
            chains[name] = tuple(_affinity_rules(service, endpoints))
        elif endpoints:
            chains[name] = (_balancing_rule(service, endpoints, settings.emulate),)
    sets: dict[str, Set] = {}
    if service.affinity_timeout_s:
        ip = address(service.family)
        for endpoint in service.reachable:
            name = endpoint_base(service.name, endpoint)
            affinity = f"affinity-{name}"
            chains[f"endpoint-{name}"] = tuple(_endpoint_rules(service, endpoint, affinity))
            sets[affinity] = Set(affinity, ip, timeout_s=service.affinity_timeout_s)
    return Wanted(elements, chains, sets)


def _dispatch_elements(service: ServicePlan) -> Iterator[tuple[ElementKey, Element]]:
    base = service_base(service.name)
    for frontend in service.frontends:
        if is_dispatched(service, frontend):
            if frontend.kind is FrontendKind.CLUSTER_IP:
                kind = "local" if frontend.pool is Pool.LOCAL else "service"
            else:
                kind = "external"
            key = ElementKey(frontend_map(frontend), frontend_key(service, frontend))
            yield key, Element(goto(f"{kind}-{base}"))


def _external_rules(service: ServicePlan, settings: NodeSettings, base: str) -> Iterator[Rule]:
    if not service.external_local:
        yield Rule((words.mark(settings),), "masquerade")
        if service.cluster:
            yield Rule((words.goto(f"service-{base}"),))
        return
    if service.cluster:
        if detector := settings.detector:
            from_pod = words.from_local_pod(service.family, detector)
            yield Rule((from_pod, words.goto(f"service-{base}")), "short-circuit pod traffic")
        from_node = expr.fib_is_local(source=True)
        yield Rule((from_node, words.mark(settings)), "masquerade local traffic")
        yield Rule((from_node, words.goto(f"service-{base}")), "short-circuit local traffic")
    if service.local:
        yield Rule((words.goto(f"local-{base}"),))


def _balancing_rule(
    service: ServicePlan, endpoints: tuple[Endpoint, ...], version: Version
) -> Rule:
    family = service.family
    if len(endpoints) == 1 and version.has(SINGLE_ENDPOINT_DNAT):
        return _translating_rule(service, endpoints[0])
    values = words.endpoint_bytes(family, endpoints)
    return Rule(
        (
            words.protocol_is(service.protocol) + words.random_slot(len(endpoints)),
            words.endpoint_map(family, values),
            words.dnat(family),
        )
    )


def _affinity_rules(service: ServicePlan, endpoints: tuple[Endpoint, ...]) -> Iterator[Rule]:
    names = [endpoint_base(service.name, endpoint) for endpoint in endpoints]
    for name in names:
        remembered = words.saddr(service.family) + expr.lookup(f"affinity-{name}")
        yield Rule((remembered, words.goto(f"endpoint-{name}")))
    verdicts = tuple(
        element(words.slot_bytes(slot), goto(f"endpoint-{name}")) for slot, name in enumerate(names)
    )
    chosen = AnonymousSet(verdicts, INTEGER, VERDICT, target=0)
    yield Rule((words.random_slot(len(endpoints)), chosen))


def _endpoint_rules(service: ServicePlan, endpoint: Endpoint, affinity: str) -> Iterator[Rule]:
    yield Rule((words.saddr(service.family) + expr.remember(affinity),))
    yield _translating_rule(service, endpoint)


def _translating_rule(service: ServicePlan, endpoint: Endpoint) -> Rule:
    translate = words.dnat_to(service.family, endpoint.address, endpoint.port)
    return Rule((words.protocol_is(service.protocol) + translate,))
