"""The expected outcome of one packet at one node in userspace mode, computed from the plan.

All addresses of Services are the node's own, so packets for them end there, with or without a
listener. For an accepted client the node makes a connection itself: the endpoint sees the node.
"""

from __future__ import annotations

from kproxy.backend import (
    Frontend,
    Host,
    Outcome,
    Passage,
    Plan,
    Refusal,
    ServicePlan,
    Translation,
    admits,
    asked,
    choice,
    named,
    not_allowed,
    policy_of,
    selected_for_node_ports,
)
from kproxy_userspace.wanted import listens


def bound(plan: Plan, node: Host) -> tuple[str, ...]:
    """Return the addresses on lo for Services: each of theirs that the node does not have."""
    found = dict.fromkeys(
        frontend.address
        for service in plan.services.values()
        for frontend in service.frontends
        if frontend.address and frontend.address not in node.addresses
    )
    return tuple(found)


def translate(plan: Plan, passage: Passage) -> Translation | Refusal | None:
    """Return the endpoints to which the listener connects, or why no client is accepted."""
    found = asked(plan, passage, node_ports=selected_for_node_ports(plan.settings, passage))
    listening = [each for each in found if listens(*each)]
    if not listening:
        return _without_listener(*found[0]) if found else None
    # One place has one listener: that of the first service by name.
    service, frontend = min(listening, key=lambda each: each[0].name)
    pool = service.pool(frontend)
    if not pool:
        return Refusal(
            outcome=Outcome.DROPPED,
            why=f"{named(service, frontend)} has endpoints, but none on this node, and "
            f"{policy_of(frontend)}: the listener accepts no client",
        )
    if not admits(frontend, passage.source):
        return not_allowed(service, frontend, passage)
    return Translation(
        endpoints=pool,
        masquerade=True,
        relay=True,
        why=f"{named(service, frontend)} is taken by the proxy, which connects to {choice(pool)}: "
        f"{policy_of(frontend)}, and each sees the node",
    )


def refuse(_plan: Plan, _passage: Passage, _to_node: bool) -> Refusal | None:
    """Return None: the kernel delivers packets, or refuses them if no process listens."""
    return None


def _without_listener(service: ServicePlan, frontend: Frontend) -> Refusal:
    if service.pool(frontend):
        why = f"and the proxy does not listen for {service.protocol}"
    else:
        why = "which has no endpoints, so nobody listens"
    return Refusal(outcome=Outcome.REFUSED, why=f"{named(service, frontend)} is asked, {why}")
