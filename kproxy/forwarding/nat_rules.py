"""The common part of the oracle's rules for iptables mode and nftables mode.

Both modes translate new connections by NAT rules, before the route is known, and refuse by filter
rules what those left untranslated.
"""

from __future__ import annotations

import enum

from msgspec.structs import replace

from kproxy.address import Family, family_of
from kproxy.forwarding.plan import (
    Frontend,
    FrontendKind,
    Masquerade,
    NodeSettings,
    OnEmpty,
    ServicePlan,
)
from kproxy.forwarding.routing import is_loopback, is_own
from kproxy.forwarding.rules import (
    Arrival,
    Passage,
    Refusal,
    Translation,
    choice,
    is_local_pod,
    named,
    policy_of,
)
from kproxy.outcome import Outcome


class Hook(enum.Enum):
    """A netfilter hook with filter rules."""

    INPUT = "INPUT"
    FORWARD = "FORWARD"
    OUTPUT = "OUTPUT"


def hooks(passage: Passage, to_node: bool) -> set[Hook]:
    """Return the hooks after translation. A process that asks its own node passes two."""
    passed = {Hook.OUTPUT} if passage.arrival is Arrival.PROCESS else set()
    if to_node:
        passed.add(Hook.INPUT)
    return passed or {Hook.FORWARD}


def no_endpoints(service: ServicePlan, frontend: Frontend) -> Refusal:
    """Return the refusal at a frontend that its service has no endpoint for."""
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


def treat(
    service: ServicePlan, frontend: Frontend, settings: NodeSettings, passage: Passage
) -> Translation | None:
    """Return what the chains of the service port do, None if they lead to no endpoint."""
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
    if not pool:
        return None
    return Translation(
        endpoints=pool,
        masquerade=masquerade,
        why=f"{named(service, frontend)} is translated to {choice(pool)}: {policy}",
    )


def from_loopback(passage: Passage, translation: Translation) -> Translation | Refusal:
    """Return what is left of a translation if the node does not set route_localnet.

    An IPv4 packet from a loopback address must be for the node itself then, before translation and
    after it. IPv6 has no such check: the packet leaves, masqueraded.
    """
    if family_of(passage.source) is Family.IPV6 or not is_loopback(passage.source):
        return translation
    endpoints = translation.endpoints if is_own(passage.node, passage.address) else ()
    own = tuple(each for each in endpoints if is_own(passage.node, each.address))
    why = f"{translation.why}; but without route_localnet no packet from {passage.source} may leave"
    if not own:
        return Refusal(outcome=Outcome.DROPPED, why=why)
    return translation if own == endpoints else replace(translation, endpoints=own, why=why)


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
