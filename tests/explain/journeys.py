"""Journeys written by hand: `node-a:eth0>` is a packet that leaves by that link."""

from __future__ import annotations

from kproxy.explain.walk import Flow
from kproxy.outcome import How
from kproxy.probe.journey import Seen
from kproxy.probe.packets import HOP_LIMIT, Role, Sighting

A, B = "192.168.10.11", "192.168.10.12"  # nodes
POD, CLIENT = "10.244.1.11", "10.244.2.11"  # on node-a, on node-b
SERVICE = "10.96.0.10"

ASKS = Flow(CLIENT, 20000, SERVICE, 80)
GIVES = Flow(CLIENT, 20000, POD, 8080)  # to the endpoint
ANSWERS = Flow(POD, 8080, CLIENT, 20000)
RETURNS = Flow(SERVICE, 80, CLIENT, 20000)  # translated back


def seen(
    place: str,
    flow: Flow,
    role: Role = Role.REQUEST,
    *,
    encapsulated: bool = False,
    how: How | None = None,
) -> Seen:
    """Make a sighting. `place`: host:link, and `>` if the packet leaves there."""
    host, link = place.rstrip(">").split(":")
    found = sighting(flow, role, how)
    return Seen(host, place.endswith(">"), found, link, encapsulated=encapsulated)


def sighting(
    flow: Flow, role: Role, how: How | None = None, *, hop_limit: int = HOP_LIMIT
) -> Sighting:
    return Sighting(
        tag=8,
        role=role,
        source=flow.source,
        source_port=flow.source_port,
        destination=flow.destination,
        destination_port=flow.destination_port,
        hop_limit=hop_limit,
        how=how,
    )


REQUEST = (
    seen("client:eth0>", ASKS),
    seen("node-b:client", ASKS),
    seen("node-b:vx0>", GIVES),
    seen("node-b:eth0>", GIVES, encapsulated=True),
    seen("router:node-b", GIVES, encapsulated=True),
    seen("router:node-a>", GIVES, encapsulated=True),
    seen("node-a:eth0", GIVES, encapsulated=True),
    seen("node-a:vx0", GIVES),
    seen("node-a:web>", GIVES),
    seen("web:eth0", GIVES),
)
ANSWER = (
    seen("web:eth0>", ANSWERS, Role.ANSWER),
    seen("node-a:web", ANSWERS, Role.ANSWER),
    seen("node-a:vx0>", ANSWERS, Role.ANSWER),
    seen("node-b:vx0", ANSWERS, Role.ANSWER),
    seen("node-b:client>", RETURNS, Role.ANSWER),
    seen("client:eth0", RETURNS, Role.ANSWER),
)
