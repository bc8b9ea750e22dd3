"""The listeners on the node's loopback address that service ports need. Pure.

Each has the node port's own endpoints: those of externalTrafficPolicy. No other policy counts,
because the proxy is no client of the Service.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec import Struct

from kproxy.address import Family, host_port
from kproxy.backend import Claims
from kproxy.forwarding.plan import (
    Endpoint,
    FrontendKind,
    LoopbackNodePorts,
    Plan,
    ServicePlan,
    ServicePortName,
)

ADDRESS = {Family.IPV4: "127.0.0.1", Family.IPV6: "::1"}


class Listener(Struct, frozen=True, gc=False):
    """The endpoints for clients of one port, at least one."""

    endpoints: tuple[Endpoint, ...]
    affinity_timeout_s: int = 0


Changes = dict[int, Listener | None]
"""By port; None for no listener any more."""


def listeners_of(service: ServicePlan | None) -> dict[int, Listener]:
    """Return the listener of each node port of a service port; none without endpoints."""
    if service is None or service.protocol != "TCP":
        return {}
    return {
        frontend.port: Listener(endpoints, service.affinity_timeout_s)
        for frontend in service.frontends
        if frontend.kind is FrontendKind.NODE_PORT and (endpoints := service.pool(frontend))
    }


def serving(plan: Plan, address: str, port: int, protocol: str) -> ServicePlan | None:
    """Return the service port whose endpoints clients of an address and port get, if any."""
    if (
        plan.settings.loopback_node_ports is not LoopbackNodePorts.SERVED
        or protocol != "TCP"
        or address != ADDRESS[plan.family]
    ):
        return None
    found = (service for service in plan.services.values() if port in listeners_of(service))
    return min(found, key=lambda service: service.name, default=None)


def place(family: Family, port: int) -> str:
    """Return where a listener is, for the log."""
    return host_port(ADDRESS[family], port)


class Wanted:
    """The listeners of all service ports together. Of two with one port the first by name wins."""

    def __init__(self) -> None:
        self._claims: Claims[int, Listener] = Claims()

    def change(
        self, name: ServicePortName, former: ServicePlan | None, fresh: ServicePlan | None
    ) -> None:
        """Replace the plan of `name`. `former` must be the `fresh` of the last call for it."""
        self._claims.change(name, listeners_of(former), listeners_of(fresh))

    def take_changes(self, again: Iterable[int]) -> Changes:
        """Return the changes since the last call, and what is wanted at the ports in `again`."""
        changed = {each.key: each.after for each in self._claims.take_changes()}
        return {port: self._claims.get(port) for port in again} | changed

    def take_difference(self, present: Mapping[int, Listener]) -> Changes:
        """Return the changes to make if there are these listeners."""
        self._claims.take_changes()
        return {
            port: wanted
            for port in dict.fromkeys([*present, *self._claims.keys()])
            if (wanted := self._claims.get(port)) != present.get(port)
        }
