"""The interface between the oracle and the rules of one node in any mode.

Each mode has its own `Rules`, usually in a module called `oracle`. Rules do not know any route.
"""

from __future__ import annotations

import enum
from typing import Protocol

from msgspec import Struct

from kproxy.address import host_port
from kproxy.forwarding.network import Host
from kproxy.forwarding.plan import (
    DetectLocal,
    Endpoint,
    Frontend,
    FrontendKind,
    NodeSettings,
    Plan,
    Pool,
    ServicePlan,
)
from kproxy.forwarding.routing import contains
from kproxy.outcome import Outcome


class Arrival(enum.Enum):
    """The way a packet reached the node, which decides its hooks and its input interface."""

    PROCESS = "process of the node"
    POD_LINK = "link to a pod of the node"
    UPLINK = "link to the router"


class Passage(Struct, frozen=True, kw_only=True):
    """A packet of a new connection at a node."""

    node: Host
    arrival: Arrival
    source: str
    address: str
    port: int
    protocol: str


class Translation(Struct, frozen=True, kw_only=True):
    """The packet goes to one of `endpoints` (never empty). `why` names the frontend and policy.

    With `hairpin` the packet is masqueraded in any case if the endpoint is the sender itself. With
    `relay` no packet goes on: a proxy on the node accepts the connection and makes another one to
    the endpoint, so the other fields do not count, and the endpoint sees the node.
    """

    endpoints: tuple[Endpoint, ...]
    masquerade: bool
    hairpin: bool = True
    relay: bool = False
    why: str


class Refusal(Struct, frozen=True, kw_only=True):
    """The packet ends here. `why` names the frontend and policy."""

    outcome: Outcome
    why: str


class Rules(Protocol):
    """The effect of one mode on a packet of a new connection, by the plan.

    `translate` is called first and, with the destination that results, `refuse`.
    """

    def bound(self, plan: Plan, node: Host, /) -> tuple[str, ...]:
        """Return the addresses of Services that the mode makes the node's own."""
        ...

    def translate(self, plan: Plan, passage: Passage, /) -> Translation | Refusal | None:
        """Return the new destinations of a packet, or why it has none; None if it is unchanged."""
        ...

    def refuse(self, plan: Plan, passage: Passage, to_node: bool, /) -> Refusal | None:
        """Return why the packet ends on its way to its present destination; None if it passes.

        With `to_node` the packet is for the node itself and not forwarded.
        """
        ...


def masquerades(translation: Translation, source: str, endpoint: Endpoint) -> bool:
    """Tell whether a packet to this endpoint gets an address of the node, as it leaves."""
    return translation.masquerade or (translation.hairpin and endpoint.address == source)


class NoProxy:
    """The rules of nodes without any service proxy: every packet passes unchanged."""

    def bound(self, _plan: Plan, _node: Host, /) -> tuple[str, ...]:
        return ()

    def translate(self, _plan: Plan, _passage: Passage, /) -> None:
        return None

    def refuse(self, _plan: Plan, _passage: Passage, _to_node: bool, /) -> None:
        return None


def asked(plan: Plan, passage: Passage, *, node_ports: bool) -> list[tuple[ServicePlan, Frontend]]:
    """Return the frontends that match the packet, by name of the service, but node ports last.

    Two services may claim one external address and port; which one wins is undefined in
    kube-proxy; here it is the first by name. `node_ports` tells whether the address answers them.
    """
    found = [
        (service, frontend)
        for service in plan.services.values()
        if service.protocol == passage.protocol
        for frontend in service.frontends
        if frontend.port == passage.port
        and (
            node_ports
            if frontend.kind is FrontendKind.NODE_PORT
            else frontend.address == passage.address
        )
    ]
    return sorted(found, key=lambda each: (each[1].kind is FrontendKind.NODE_PORT, each[0].name))


def selected_for_node_ports(settings: NodeSettings, passage: Passage) -> bool:
    """Tell whether nodePortAddresses select the address, and an interface except lo has it."""
    selected = settings.node_port_addresses
    return passage.address in passage.node.addresses and (
        selected.match_all or any(contains(cidr, passage.address) for cidr in selected.cidrs)
    )


def choice(endpoints: tuple[Endpoint, ...]) -> str:
    return "its only endpoint" if len(endpoints) == 1 else f"one of {len(endpoints)} endpoints"


def admits(frontend: Frontend, source: str) -> bool:
    return not frontend.source_ranges or any(contains(c, source) for c in frontend.source_ranges)


def not_allowed(service: ServicePlan, frontend: Frontend, passage: Passage) -> Refusal:
    return Refusal(
        outcome=Outcome.DROPPED,
        why=f"loadBalancerSourceRanges of {named(service, frontend)} do not allow {passage.source}",
    )


def is_local_pod(settings: NodeSettings, passage: Passage) -> bool:
    """Tell whether the node's detector takes the sender for a local pod.

    With a CIDR that is every pod in it, on any node. The interface modes are assumed to be set up
    for this lab: they recognise the node's own pods by their links.
    """
    match settings.detector:
        case None:
            return False
        case detector if detector.mode is DetectLocal.CIDR:
            return contains(detector.value, passage.source)
        case _:
            return passage.arrival is Arrival.POD_LINK


_KIND_WORDS = {
    FrontendKind.CLUSTER_IP: "cluster IP",
    FrontendKind.EXTERNAL_IP: "external IP",
    FrontendKind.LOAD_BALANCER: "load balancer IP",
    FrontendKind.NODE_PORT: "node port",
}


def named(service: ServicePlan, frontend: Frontend) -> str:
    address, port = frontend.address, frontend.port
    where = host_port(address, port) if address else str(port)
    return f"{words_of(frontend)} {where}/{service.protocol} of {service.name}"


def words_of(frontend: Frontend) -> str:
    """Return the kind of a frontend in words, such as `cluster IP`."""
    return _KIND_WORDS[frontend.kind]


def policy_of(frontend: Frontend) -> str:
    internal = frontend.kind is FrontendKind.CLUSTER_IP
    field = "internalTrafficPolicy" if internal else "externalTrafficPolicy"
    if frontend.pool is Pool.LOCAL:
        return f"{field} Local uses only endpoints on this node"
    return f"{field} Cluster uses all endpoints"
