"""The predicted effect of one node's rules on a packet in iptables mode, derived from the plan.

Source: kube-proxy iptables/proxier.go, syncProxyRules.
"""

from __future__ import annotations

from kproxy.forwarding.nat_rules import Hook, from_loopback, hooks, no_endpoints, treat
from kproxy.forwarding.network import Host
from kproxy.forwarding.plan import Frontend, FrontendKind, NodeSettings, Plan, ServicePlan
from kproxy.forwarding.routing import contains, is_loopback, is_own
from kproxy.forwarding.rules import (
    Passage,
    Refusal,
    Translation,
    admits,
    asked,
    named,
    not_allowed,
    selected_for_node_ports,
)
from kproxy.outcome import Outcome

# Packets of the node itself to external addresses are not refused on their way out: KUBE-EXTERNAL-
# SERVICES is called from INPUT and FORWARD only, KUBE-SERVICES from FORWARD and OUTPUT only.
_EMPTY_IS_REFUSED_IN = {
    FrontendKind.CLUSTER_IP: {Hook.FORWARD, Hook.OUTPUT},
    FrontendKind.EXTERNAL_IP: {Hook.INPUT, Hook.FORWARD},
    FrontendKind.LOAD_BALANCER: {Hook.INPUT, Hook.FORWARD},
    FrontendKind.NODE_PORT: {Hook.INPUT},
}


def bound(_plan: Plan, _node: Host) -> tuple[str, ...]:
    """Return no address: packets are translated before routing looks at their address."""
    return ()


def translate(plan: Plan, passage: Passage) -> Translation | Refusal | None:
    """Return the new destinations of a packet, or its refusal; None if no rule changes it."""
    node_ports = _takes_node_ports(plan.settings, passage)
    for service, frontend in asked(plan, passage, node_ports=node_ports):
        if admits(frontend, passage.source):
            translation = treat(service, frontend, plan.settings, passage)
            if translation and plan.settings.localhost_node_ports:
                return translation  # for them the proxy sets route_localnet
            if translation:
                return from_loopback(passage, translation)
    return None


def refuse(plan: Plan, passage: Passage, to_node: bool) -> Refusal | None:
    """Return the refusal of a packet, after translation of its `address`; None if it may pass.

    `to_node`: the packet is for the node itself, not to be forwarded.
    """
    if foreign := _foreign_on_loopback(plan.settings, passage):
        return foreign
    # Unlike translation this ignores nodePortAddresses: the rule says only --dst-type LOCAL.
    node_ports = is_own(passage.node, passage.address)
    found = asked(plan, passage, node_ports=node_ports)
    for service, frontend in found:
        if service.has_endpoints and not admits(frontend, passage.source):
            return not_allowed(service, frontend, passage)
    passed = hooks(passage, to_node)
    for service, frontend in found:
        if not service.serves(frontend) and passed & _EMPTY_IS_REFUSED_IN[frontend.kind]:
            return no_endpoints(service, frontend)
    return _still_for_vip(found)


def _still_for_vip(found: list[tuple[ServicePlan, Frontend]]) -> Refusal | None:
    """Return the refusal by KUBE-PROXY-FIREWALL of what is for a load balancer's address even after
    translation: its rules do not look at the source, and an endpoint may have the same address.
    """
    for service, frontend in found:
        if service.has_endpoints and frontend.source_ranges:
            return Refusal(
                outcome=Outcome.DROPPED,
                why=f"{named(service, frontend)} has loadBalancerSourceRanges, and nothing may "
                "still be addressed to it after translation (KUBE-PROXY-FIREWALL)",
            )
    return None


def _foreign_on_loopback(settings: NodeSettings, passage: Passage) -> Refusal | None:
    """Return the refusal by KUBE-FIREWALL: route_localnet would let anybody in."""
    if not (settings.localhost_node_ports and is_loopback(passage.address)):
        return None
    if is_loopback(passage.source):
        return None
    return Refusal(
        outcome=Outcome.DROPPED,
        why=f"{passage.address} is for processes of the node alone (KUBE-FIREWALL)",
    )


def _takes_node_ports(settings: NodeSettings, passage: Passage) -> bool:
    """Tell whether this node translates node ports on the destination address."""
    address, selected = passage.address, settings.node_port_addresses
    if not is_loopback(address):
        return selected_for_node_ports(settings, passage)
    if not settings.localhost_node_ports:
        return False
    # Listed CIDRs select addresses of interfaces: in 127.0.0.0/8 only the one that lo has.
    return selected.match_all or (
        address == "127.0.0.1" and any(contains(cidr, address) for cidr in selected.cidrs)
    )
