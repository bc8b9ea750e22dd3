"""What the rules of one node do to one packet in iptables mode, read off the plan.

Source: kube-proxy iptables/proxier.go, syncProxyRules.
"""

from __future__ import annotations

from kproxy.forwarding.nat_rules import Hook, hooks, no_endpoints, treat
from kproxy.forwarding.network import Host
from kproxy.forwarding.plan import FrontendKind, NodeSettings, Plan
from kproxy.forwarding.routing import contains, is_loopback, is_own
from kproxy.forwarding.rules import (
    Passage,
    Refusal,
    Translation,
    admits,
    asked,
    not_allowed,
    selected_for_node_ports,
)

# Node-originated packets to external addresses are not refused on their way out: KUBE-EXTERNAL-
# SERVICES hangs on INPUT and FORWARD only, KUBE-SERVICES on FORWARD and OUTPUT only.
_EMPTY_IS_REFUSED_IN = {
    FrontendKind.CLUSTER_IP: {Hook.FORWARD, Hook.OUTPUT},
    FrontendKind.EXTERNAL_IP: {Hook.INPUT, Hook.FORWARD},
    FrontendKind.LOAD_BALANCER: {Hook.INPUT, Hook.FORWARD},
    FrontendKind.NODE_PORT: {Hook.INPUT},
}


def bound(_plan: Plan, _node: Host) -> tuple[str, ...]:
    """None: a packet is translated before anybody asks whose its address is."""
    return ()


def translate(plan: Plan, passage: Passage) -> Translation | None:
    """The new destinations of a packet, or None if no rule changes it."""
    node_ports = _takes_node_ports(plan.settings, passage)
    for service, frontend in asked(plan, passage, node_ports=node_ports):
        if admits(frontend, passage.source):
            translation = treat(service, frontend, plan.settings, passage)
            if translation:
                return translation
    return None


def refuse(plan: Plan, passage: Passage, to_node: bool) -> Refusal | None:
    """Who ends the packet, whose `address` is what translation left; None if it may go on.

    `to_node`: the packet is for the node itself, not to be forwarded.
    """
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
    return None


def _takes_node_ports(settings: NodeSettings, passage: Passage) -> bool:
    """Whether the address asked is one on which this node translates node ports."""
    address, selected = passage.address, settings.node_port_addresses
    if not is_loopback(address):
        return selected_for_node_ports(settings, passage)
    if not settings.localhost_node_ports:
        return False
    # Listed CIDRs select interface addresses: of 127.0.0.0/8 only the one that lo has.
    return selected.match_all or (
        address == "127.0.0.1" and any(contains(cidr, address) for cidr in selected.cidrs)
    )
