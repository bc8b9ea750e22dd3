"""Finds UDP flows that conntrack would keep on removed endpoints. Pure.

A UDP flow has no end that conntrack could see, and only its first packet passes the rules: a client
that keeps sending from one port would stay on a removed endpoint for as long as it does.
So a proxy cuts such flows after a sync.
Source: kube-proxy v1.36 conntrack/cleanup.go, CleanStaleEntries; endpointschangetracker.go, Update
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol, TypeVar

from kproxy.api.types import HEADLESS_LABEL, EndpointSlice, Service, ServiceSpec
from kproxy.forwarding.endpoints import endpoints_of
from kproxy.forwarding.plan import (
    FrontendKind,
    NodeSettings,
    Plan,
    ServicePlan,
    ServicePortName,
)
from kproxy.store import ServiceKey, Store
from kproxy.versions import CUTS_REMOVED_UDP, CUTS_UNSERVED_UDP

Place = tuple[str, int]  # address, port
Serving = Mapping[ServicePortName, frozenset[Place]]


class UdpFlow(Protocol):
    """A UDP flow: the client asked `destination`, `backend` answers (equal if untranslated)."""

    @property
    def destination(self) -> Place: ...

    @property
    def backend(self) -> Place: ...


_Flow = TypeVar("_Flow", bound=UdpFlow)


class UdpEndpoints:
    """The serving UDP endpoints of one family by service port; tells when to check flows.

    Only the condition decides whether an endpoint serves: it may be not ready, terminating, or not
    for this node. Without such an endpoint a UDP port of a Service has none in `serving` in
    versions that cut its flows then, so that its clients are refused; else it is not there.
    """

    def __init__(self) -> None:
        self.serving: dict[ServicePortName, frozenset[Place]] = {}
        self._slices: dict[ServiceKey, list[EndpointSlice]] = {}  # of Services that have UDP
        self._ports: dict[ServiceKey, tuple[ServicePortName, ...]] = {}

    def update(self, store: Store, services: Iterable[ServiceKey], settings: NodeSettings) -> bool:
        """Read the named Services again; return whether UDP endpoints may have changed.

        That is so if any slice has changed of a Service that has, or had, UDP endpoints. A change
        of the Service itself does not count.
        """
        changed = False
        cuts = settings.emulate.has(CUTS_UNSERVED_UDP)
        for key in services:
            slices = _with_udp(store.slices(key), settings)
            found = _unserved(store.service(key)) if cuts else {}
            if not (slices or found or key in self._ports or key in self._slices):
                continue  # the usual case
            changed = changed or slices != self._slices.get(key, [])
            for name in self._ports.pop(key, ()):
                del self.serving[name]
            self._slices.pop(key, None)
            if slices:
                self._slices[key] = slices
                found |= _serving(key, slices, settings)
            if found:
                self._ports[key] = tuple(found)
                self.serving |= found
        return changed


def removed_ports(before: Iterable[ServicePlan], plan: Plan) -> list[ServicePlan]:
    """Return the UDP service ports of `before` that the plan lacks, if this version cuts flows to
    them.
    """
    if not plan.settings.emulate.has(CUTS_REMOVED_UDP):
        return []
    return [each for each in before if each.protocol == "UDP" and each.name not in plan.services]


def stale(
    plan: Plan, serving: Serving, flows: Iterable[_Flow], removed: Iterable[ServicePlan] = ()
) -> list[_Flow]:
    """Return the UDP `flows` to an address of a Service that lead to none of its endpoints, and
    those to an address of a `removed` service port that no other has.

    As in kube-proxy, a destination port that is a node port counts as one whatever the
    address, also in a flow that was never translated; but not that of a service port without
    endpoints.
    """
    by_place: dict[Place, frozenset[Place]] = {
        (frontend.address, frontend.port): frozenset()
        for service in removed
        for frontend in service.frontends
        if frontend.kind is not FrontendKind.NODE_PORT
    }
    by_node_port: dict[int, frozenset[Place]] = {}
    for name, endpoints in serving.items():
        service = plan.services.get(name)
        for frontend in service.frontends if service else ():
            if frontend.kind is not FrontendKind.NODE_PORT:
                by_place[frontend.address, frontend.port] = endpoints
            elif endpoints:
                by_node_port[frontend.port] = endpoints
    found: list[_Flow] = []
    for flow in flows:
        wanted = by_place.get(flow.destination)
        if wanted is None:
            wanted = by_node_port.get(flow.destination[1])
        if wanted is not None and flow.backend not in wanted:
            found.append(flow)
    return found


def _with_udp(slices: list[EndpointSlice], settings: NodeSettings) -> list[EndpointSlice]:
    """Return a Service's slices of the family if any of them has a UDP endpoint, else none."""
    if not _has_udp(slices):
        return []
    own = [
        each
        for each in slices
        if each.address_type == settings.family and HEADLESS_LABEL not in each.metadata.labels
    ]
    udp = any(
        port.protocol == "UDP" and port.port and any(entry.addresses for entry in each.endpoints)
        for each in own
        for port in each.ports
    )
    return own if udp else []


def _has_udp(objects: Iterable[EndpointSlice | ServiceSpec]) -> bool:
    for each in objects:  # no generator: all Services are asked at the start
        for port in each.ports:
            if port.protocol == "UDP":
                return True
    return False


def _unserved(service: Service | None) -> dict[ServicePortName, frozenset[Place]]:
    """Return the UDP ports of a Service, without endpoints."""
    if service is None or not _has_udp((service.spec,)):
        return {}
    key = service.metadata.namespace, service.metadata.name
    return {
        ServicePortName(*key, port.name, port.protocol): frozenset()
        for port in service.spec.ports
        if port.protocol == "UDP"
    }


def _serving(
    service: ServiceKey, slices: list[EndpointSlice], settings: NodeSettings
) -> dict[ServicePortName, frozenset[Place]]:
    found: dict[ServicePortName, frozenset[Place]] = {}
    for (port, protocol), members in endpoints_of(slices, settings).items():
        places = frozenset((each.address, each.port) for each in members if each.serving)
        if protocol == "UDP" and places:
            found[ServicePortName(*service, port, protocol)] = places
    return found
