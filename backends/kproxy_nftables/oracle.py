"""The predicted effect of one node on a packet in nftables mode, in either layout, derived from the
plan.

Each packet is looked up once in each map, and the first result decides: a packet for a frontend
without endpoints is not tried as one for a node port. Source ranges are checked before anything
else, for packets from elsewhere and for the node's own. Node ports on loopback addresses are never
translated: with the feature gate, packets to them are rejected, or accepted by the proxy's process.
Source: kube-proxy nftables/proxier.go, setupNFTables and syncProxyRules.
"""

from __future__ import annotations

from msgspec import structs

from kproxy.forwarding.nat_rules import Hook, from_loopback, hooks, no_endpoints, treat
from kproxy.forwarding.network import Host
from kproxy.forwarding.plan import Frontend, FrontendKind, Plan, ServicePlan, ServicePortName
from kproxy.forwarding.routing import contains, is_loopback
from kproxy.forwarding.rules import (
    Arrival,
    Passage,
    Refusal,
    Translation,
    admits,
    asked,
    choice,
    is_local_pod,
    named,
    not_allowed,
    policy_of,
    selected_for_node_ports,
)
from kproxy.outcome import Outcome
from kproxy_nftables.localhost_listeners import serving
from kproxy_nftables.localhost_rejected import rejects


def bound(_plan: Plan, _node: Host) -> tuple[str, ...]:
    """Return no address: packets are translated before routing looks at their address."""
    return ()


def translate(plan: Plan, passage: Passage) -> Translation | Refusal | None:
    """Return the new destinations of a packet, or its refusal; None if no rule matches."""
    if service := serving(plan, passage.address, passage.port, passage.protocol):
        return _relayed(service, passage)
    node_ports = selected_for_node_ports(plan.settings, passage)
    found = asked(plan, passage, node_ports=node_ports)
    for service, frontend in found:
        if frontend.source_ranges:  # firewall-check
            if not admits(frontend, passage.source):
                return not_allowed(service, frontend, passage)
            break
    # Its cluster IP may be an external IP of the same Service: the later element replaces it.
    found.sort(key=_replaced)
    for service, frontend in found:
        if _is_dispatched(service, frontend):  # services
            translation = treat(service, frontend, plan.settings, passage)
            if translation is None:
                return None
            left = from_loopback(passage, translation)
            return left if isinstance(left, Refusal) else _masqueraded(plan, passage, left)
    return None


def refuse(plan: Plan, passage: Passage, to_node: bool) -> Refusal | None:
    """Return the refusal of a packet, after translation of its `address`; None if it may pass.

    `to_node`: the packet is for the node itself, not to be forwarded.
    """
    if to_node and is_loopback(passage.address):
        return _refused_on_loopback(plan, passage)
    passed = hooks(passage, to_node)
    node_ports = Hook.INPUT in passed and selected_for_node_ports(plan.settings, passage)
    found = asked(plan, passage, node_ports=node_ports)
    if passage.arrival is not Arrival.PROCESS:  # in INPUT nodeport-endpoints-check comes first
        found.sort(key=lambda each: each[1].kind is not FrontendKind.NODE_PORT)
    for service, frontend in found:
        if not service.serves(frontend):
            return no_endpoints(service, frontend)
    return None if passed == {Hook.INPUT} else _cluster_ips_check(plan, passage)


def _relayed(service: ServicePlan, passage: Passage) -> Translation:
    """Return the connections that the proxy makes. It is no client of the Service."""
    frontend = next(each for each in service.frontends if each.kind is FrontendKind.NODE_PORT)
    pool = service.pool(frontend)
    return Translation(
        endpoints=pool,
        masquerade=True,
        relay=True,
        why=f"{named(service, frontend)} on {passage.address} is taken by the proxy's process, "
        f"which connects to {choice(pool)}: {policy_of(frontend)}, and each sees the node",
    )


def _refused_on_loopback(plan: Plan, passage: Passage) -> Refusal | None:
    for service, frontend in asked(plan, passage, node_ports=True):
        if rejects(service, frontend, plan.settings):
            return Refusal(
                outcome=Outcome.REFUSED,
                why=f"{named(service, frontend)} is not served on {passage.address} (REJECT)",
            )
    return None


def _cluster_ips_check(plan: Plan, passage: Passage) -> Refusal | None:
    """Return the refusal of a packet that still goes to a cluster IP after translation."""
    if _is_cluster_ip(plan, passage.address):
        return Refusal(
            outcome=Outcome.REFUSED,
            why=f"{passage.address} is a cluster IP, and its Service has no port "
            f"{passage.port}/{passage.protocol} (REJECT)",
        )
    for cidr in plan.settings.service_cidrs:
        if contains(cidr, passage.address):
            return Refusal(
                outcome=Outcome.DROPPED,
                why=f"{passage.address} is in the ServiceCIDR {cidr}, but the cluster IP of no "
                "Service (DROP)",
            )
    return None


def _replaced(each: tuple[ServicePlan, Frontend]) -> tuple[bool, ServicePortName, bool]:
    service, frontend = each
    node_port = frontend.kind is FrontendKind.NODE_PORT
    return (node_port, service.name, frontend.kind is FrontendKind.CLUSTER_IP)


def _is_dispatched(service: ServicePlan, frontend: Frontend) -> bool:
    """Tell whether service-ips or service-nodeports leads to a chain of the service port.

    For external frontends also without an endpoint on this node, because pods and processes of this
    node may use the other endpoints.
    """
    if frontend.kind is FrontendKind.CLUSTER_IP:
        return service.serves(frontend)
    return service.has_endpoints


def _masqueraded(plan: Plan, passage: Passage, translation: Translation) -> Translation:
    """Add the masquerading by the chains that all services share."""
    if not translation.masquerade and _is_marked(plan, passage):
        return structs.replace(
            translation,
            masquerade=True,
            why=f"{translation.why}; but the address is some cluster IP, for which the source is "
            "masqueraded",
        )
    return structs.replace(translation, hairpin=_is_hairpin(plan, passage, translation))


def _is_marked(plan: Plan, passage: Passage) -> bool:
    """Tell whether the source is masqueraded because of the cluster IP, whatever the port."""
    settings = plan.settings
    return _is_cluster_ip(plan, passage.address) and (
        settings.masquerade_all
        or (settings.detector is not None and not is_local_pod(settings, passage))
    )


def _is_cluster_ip(plan: Plan, address: str) -> bool:
    return any(service.cluster_ip.address == address for service in plan.services.values())


def _is_hairpin(plan: Plan, passage: Passage, translation: Translation) -> bool:
    """Tell whether the sender is an endpoint of this node: hairpin-connections has only those."""
    itself = {each.port for each in translation.endpoints if each.address == passage.source}
    return bool(itself) and any(
        each.local and each.address == passage.source and each.port in itself
        for service in plan.services.values()
        if service.protocol == passage.protocol
        for each in service.reachable
    )
