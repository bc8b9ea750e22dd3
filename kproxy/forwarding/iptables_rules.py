"""What the rules of one node do to one packet in iptables mode, read off the plan.

Source: kube-proxy iptables/proxier.go, syncProxyRules.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator

from kproxy.forwarding.network import Host, Outcome
from kproxy.forwarding.plan import (
    Frontend,
    FrontendKind,
    Masquerade,
    NodeSettings,
    OnEmpty,
    Plan,
    ServicePlan,
)
from kproxy.forwarding.routing import contains, is_loopback, is_own
from kproxy.forwarding.rules import (
    Arrival,
    Passage,
    Refusal,
    Translation,
    admits,
    choice,
    is_local_pod,
    named,
    policy_of,
)


class _Hook(enum.Enum):
    INPUT = "INPUT"
    FORWARD = "FORWARD"
    OUTPUT = "OUTPUT"


# Node-originated packets to external addresses are not refused on their way out: KUBE-EXTERNAL-
# SERVICES hangs on INPUT and FORWARD only, KUBE-SERVICES on FORWARD and OUTPUT only.
_EMPTY_IS_REFUSED_IN = {
    FrontendKind.CLUSTER_IP: {_Hook.FORWARD, _Hook.OUTPUT},
    FrontendKind.EXTERNAL_IP: {_Hook.INPUT, _Hook.FORWARD},
    FrontendKind.LOAD_BALANCER: {_Hook.INPUT, _Hook.FORWARD},
    FrontendKind.NODE_PORT: {_Hook.INPUT},
}


def bound(_plan: Plan, _node: Host) -> tuple[str, ...]:
    """None: a packet is translated before anybody asks whose its address is."""
    return ()


def translate(plan: Plan, passage: Passage) -> Translation | None:
    """The new destinations of a packet, or None if no rule changes it."""
    node_port = _takes_node_ports(plan.settings, passage)
    for service, frontend in _asked(plan, passage, node_port=node_port):
        if admits(frontend, passage.source):
            translation = _treat(service, frontend, plan.settings, passage)
            if translation.endpoints:
                return translation
    return None


def refuse(plan: Plan, passage: Passage, to_node: bool) -> Refusal | None:
    """Who ends the packet, whose `address` is what translation left; None if it may go on.

    `to_node`: the packet is for the node itself, not to be forwarded.
    """
    hooks = {_Hook.OUTPUT} if passage.arrival is Arrival.PROCESS else set()
    if to_node:
        hooks.add(_Hook.INPUT)
    if not hooks:
        hooks.add(_Hook.FORWARD)
    # Unlike translation this ignores nodePortAddresses: the rule says only --dst-type LOCAL.
    node_port = is_own(passage.node, passage.address)
    asked = list(_asked(plan, passage, node_port=node_port))
    for service, frontend in asked:
        if service.has_endpoints and not admits(frontend, passage.source):
            return Refusal(
                outcome=Outcome.DROPPED,
                why=f"loadBalancerSourceRanges of {named(service, frontend)} "
                f"do not allow {passage.source}",
            )
    for service, frontend in asked:
        if not service.serves(frontend) and hooks & _EMPTY_IS_REFUSED_IN[frontend.kind]:
            if frontend.on_empty is OnEmpty.REJECT:
                return Refusal(
                    outcome=Outcome.REFUSED,
                    why=f"{named(service, frontend)} has no endpoints anywhere (REJECT)",
                )
            return Refusal(
                outcome=Outcome.DROPPED,
                why=f"{named(service, frontend)} has endpoints, but none on this node, "
                f"and {policy_of(frontend)} (DROP)",
            )
    return None


def _asked(
    plan: Plan, passage: Passage, *, node_port: bool
) -> Iterator[tuple[ServicePlan, Frontend]]:
    """What the packet asks for, in the order of the rules: node ports come last.

    Two services may claim one external address and port; which wins is undefined in kube-proxy,
    and by name here.
    """
    found = [
        (frontend.kind is FrontendKind.NODE_PORT, service.name, service, frontend)
        for service in plan.services.values()
        if service.protocol == passage.protocol
        for frontend in service.frontends
        if frontend.port == passage.port
        and (
            node_port
            if frontend.kind is FrontendKind.NODE_PORT
            else frontend.address == passage.address
        )
    ]
    for _, _, service, frontend in sorted(found, key=lambda entry: entry[:2]):
        yield service, frontend


def _takes_node_ports(settings: NodeSettings, passage: Passage) -> bool:
    """Whether the address asked is one on which this node translates node ports."""
    address = passage.address
    if is_loopback(address) and not settings.localhost_node_ports:
        return False
    if settings.node_port_addresses.match_all:
        return is_own(passage.node, address)
    # Listed CIDRs select interface addresses: of 127.0.0.0/8 only the one that lo has.
    interface = address in passage.node.addresses or address == "127.0.0.1"
    return interface and any(contains(c, address) for c in settings.node_port_addresses.cidrs)


def _treat(
    service: ServicePlan, frontend: Frontend, settings: NodeSettings, passage: Passage
) -> Translation:
    local_pod = is_local_pod(settings, passage)
    if frontend.short_circuit and local_pod:
        pool, masquerade = service.cluster, False
        policy = "externalTrafficPolicy Local lets pods use all endpoints and keep their address"
    elif frontend.short_circuit and is_own(passage.node, passage.source):
        pool, masquerade = service.cluster, True
        policy = (
            "externalTrafficPolicy Local lets processes of the node use all endpoints, masqueraded"
        )
    else:
        pool = service.pool(frontend)
        masquerade = frontend.masquerade is Masquerade.ALWAYS or (
            frontend.masquerade is Masquerade.OFF_CLUSTER and not local_pod
        )
        policy = f"{policy_of(frontend)} and {_masquerading(frontend, masquerade)}"
    return Translation(
        endpoints=pool,
        masquerade=masquerade,
        why=f"{named(service, frontend)} is translated to {choice(pool)}: {policy}",
    )


def _masquerading(frontend: Frontend, masquerade: bool) -> str:
    match frontend.masquerade:
        case Masquerade.ALWAYS if frontend.kind is FrontendKind.CLUSTER_IP:
            return "masqueradeAll hides every source"
        case Masquerade.ALWAYS:
            return "masquerades, so that the reply returns through this node"
        case Masquerade.OFF_CLUSTER if masquerade:
            return "a source that is no local pod is masqueraded"
        case Masquerade.OFF_CLUSTER:
            return "a local pod keeps its address"
        case _:
            return "the source is kept"
