"""Which packets to node ports on loopback addresses are rejected. Pure."""

from __future__ import annotations

from kproxy.forwarding.plan import (
    Frontend,
    FrontendKind,
    LoopbackNodePorts,
    NodeSettings,
    ServicePlan,
)

PROTOCOLS = ("TCP", "UDP", "SCTP")
_REJECTED = {
    LoopbackNodePorts.IGNORED: (),
    LoopbackNodePorts.REJECTED: PROTOCOLS,
    LoopbackNodePorts.SERVED: ("UDP", "SCTP"),
}


def rejected(settings: NodeSettings) -> tuple[str, ...]:
    """Return the protocols that are rejected."""
    return _REJECTED[settings.loopback_node_ports]


def rejects(service: ServicePlan, frontend: Frontend, settings: NodeSettings) -> bool:
    """Tell whether it is a node port that is rejected, whatever endpoints and policies it has."""
    return frontend.kind is FrontendKind.NODE_PORT and service.protocol in rejected(settings)
