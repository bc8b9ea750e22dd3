"""The listeners of the load balancers and their backends, computed from Services. Pure.

Nouns: a `Place` is where Services are reached from outside the nodes: a load balancer, or the
DNAT gateway. A `Listener` is one port of a place in one family; its `ListenerBackend`s are nodes at
a node port, or pods. A `Target` is the address and port that a health check asks.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from msgspec.structs import replace

from kproxy.address import Family, host_port
from kproxy.api.problems import Problem
from kproxy.api.types import (
    EndpointSlice,
    LoadBalancerIngress,
    LoadBalancerStatus,
    Service,
    ServicePort,
    ServiceStatus,
)
from kproxy.edge.annotations import CLASS as CLASS_ANNOTATION
from kproxy.edge.annotations import ID as ID_ANNOTATION
from kproxy.edge.annotations import Algorithm, BalancerClass, BalancerSettings
from kproxy.edge.annotations import read as read_annotations
from kproxy.store import ServiceKey

Addresses = Mapping[Family, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A load balancer or the DNAT gateway.

    `address`: of the listeners; `public`: the addresses that the gateway translates to it. For the
    DNAT gateway both are its public addresses.
    """

    name: str
    kind: BalancerClass
    address: Addresses
    public: Addresses


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckTimes:
    """Times of health checks, in seconds.

    `threshold`: failures in a row that take a backend out of use.
    """

    interval_s: float
    timeout_s: float
    threshold: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """The edge, and what it knows of the nodes and the network.

    `nodes`: addresses by name. `reaches_pods`: pods have addresses of the VPC.
    """

    places: tuple[Place, ...]
    nodes: Mapping[str, Addresses]
    reaches_pods: bool
    passes_through_local: bool
    times: CheckTimes


class Asks(enum.Enum):
    TCP = "a TCP connection"
    HTTP = "HTTP 200"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    place: str
    address: str
    port: int
    asks: Asks
    times: CheckTimes


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerBackend:
    """A node or a pod behind a listener. `name`: of the node, or of the node the pod runs on.

    `target` None: its health is not checked.
    """

    name: str
    family: Family
    address: str
    port: int
    weight: int = 1
    target: Target | None = None

    def __str__(self) -> str:
        return host_port(self.address, self.port)


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerKey:
    place: str
    family: Family
    protocol: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """One port of a place in one family, and its backends.

    `persistence_s`: how long a source keeps its backend after its last connection, or 0.
    """

    key: ListenerKey
    service: ServiceKey
    port_name: str
    address: str
    algorithm: Algorithm
    persistence_s: int
    backends: tuple[ListenerBackend, ...]

    def __str__(self) -> str:
        """Return the service port as kube-proxy writes it: `default/web:http`."""
        return "/".join(self.service) + (f":{self.port_name}" if self.port_name else "")


def concerns(service: Service, edge: Edge) -> bool:
    """Tell whether the edge serves a Service: not if its status has addresses of another one."""
    own = {
        address
        for place in edge.places
        for address in (*place.address.values(), *place.public.values())
    }
    given = service.status.load_balancer.ingress
    return service.spec.type == "LoadBalancer" and all(each.ip in own for each in given)


def place_of(service: Service, edge: Edge) -> tuple[Place | None, BalancerSettings, list[Problem]]:
    """Return where a Service is reached, what its annotations ask for, and their problems.

    The place is None if there is no load balancer, or if there are problems.
    """
    settings, problems = read_annotations(service.metadata.annotations)
    wanted = settings.balancer_class
    known = [
        place
        for place in edge.places
        if (wanted is None and place.kind is not BalancerClass.DNAT) or place.kind is wanted
    ]
    if settings.balancer:
        known = [place for place in known if place.name == settings.balancer]
        if not known:
            kind = f" of class {wanted.value}" if wanted else ""
            text = f"there is no load balancer {settings.balancer!r}{kind}"
            problems.append(_about(ID_ANNOTATION, text))
    elif wanted and not known:
        problems.append(_about(CLASS_ANNOTATION, f"there is none of class {wanted.value}"))
    return (known[0] if known and not problems else None), settings, problems


def problems_of(services: Iterable[Service], edge: Edge) -> list[str]:
    """Return the problems that keep the edge from serving these Services together."""
    found: list[str] = []
    taken: dict[ListenerKey, ServiceKey] = {}
    for service in services:
        where = f"Service {service.metadata.namespace}/{service.metadata.name}"
        place, _, problems = place_of(service, edge)
        for index, port in enumerate(service.spec.ports):
            field = f"spec.ports[{index}]"
            if place and port.protocol == "SCTP":
                problems.append(Problem(f"{field}.protocol", "load balancers know no SCTP"))
            elif place and not port.node_port and not _attaches_pods(place, edge):
                text = f"{place.name} forwards to node ports, and this is none"
                problems.append(Problem(f"{field}.nodePort", text))
            if place is None:
                continue
            for family in families_of(service, place):
                holder = taken.setdefault(_key(place, family, port), _service_key(service))
                if holder != _service_key(service):
                    text = (
                        f"{host_port(place.address[family], port.port)} "
                        f"({port.protocol}) of {place.name} is taken by Service {'/'.join(holder)}"
                    )
                    problems.append(Problem(f"{field}.port", text))
        found += [problem.at(where) for problem in problems]
    return found


def with_status(service: Service, edge: Edge) -> Service:
    """Return the Service with its addresses in the status, as a cloud controller writes them."""
    place, settings, _ = place_of(service, edge)
    if place is None:
        return service
    mode = "Proxy" if _passes_through(service, settings, edge) else "VIP"
    ingress = tuple(
        LoadBalancerIngress(ip=ip, ip_mode=mode)
        for family in families_of(service, place)
        for ip in dict.fromkeys((place.address[family], place.public[family]))
    )
    return replace(service, status=ServiceStatus(load_balancer=LoadBalancerStatus(ingress=ingress)))


def listeners_of(
    service: Service, slices: Iterable[EndpointSlice], edge: Edge
) -> Iterator[Listener]:
    """Yield the listeners of a Service that has no problems."""
    place, settings, _ = place_of(service, edge)
    if place is None:
        return
    slices = list(slices)
    times = _times(place, settings, edge)
    for family in families_of(service, place):
        for port in service.spec.ports:
            ready = list(_ready(slices, family, port))
            if _attaches_pods(place, edge):
                backends = _pod_backends(place, family, port, ready, times)
            else:
                backends = _node_backends(service, place, family, port, ready, times, edge)
            yield Listener(
                key=_key(place, family, port),
                service=_service_key(service),
                port_name=port.name,
                address=place.address[family],
                algorithm=settings.algorithm,
                persistence_s=settings.persistence_s,
                backends=tuple(backends),
            )


def families_of(service: Service, place: Place) -> list[Family]:
    return [each for each in map(Family, service.spec.ip_families) if each in place.address]


def _pod_backends(
    place: Place,
    family: Family,
    port: ServicePort,
    ready: Iterable[tuple[str, str, int]],
    times: CheckTimes | None,
) -> Iterator[ListenerBackend]:
    for node, address, number in ready:
        target = None
        if times and port.protocol == "TCP":
            target = Target(
                place=place.name, address=address, port=number, asks=Asks.TCP, times=times
            )
        yield ListenerBackend(name=node, family=family, address=address, port=number, target=target)


def _node_backends(
    service: Service,
    place: Place,
    family: Family,
    port: ServicePort,
    ready: Iterable[tuple[str, str, int]],
    times: CheckTimes | None,
    edge: Edge,
) -> Iterator[ListenerBackend]:
    local = service.spec.external_traffic_policy == "Local"
    pods = Counter(node for node, _, _ in ready)
    check_port = service.spec.health_check_node_port if local else 0
    for node, addresses in edge.nodes.items():
        if local and not pods[node]:
            continue
        address = addresses[family]
        target = None
        if times and (check_port or port.protocol == "TCP"):
            target = Target(
                place=place.name,
                address=address,
                port=check_port or port.node_port,
                asks=Asks.HTTP if check_port else Asks.TCP,
                times=times,
            )
        yield ListenerBackend(
            name=node,
            family=family,
            address=address,
            port=port.node_port,
            weight=pods[node] if local else 1,
            target=target,
        )


def _ready(
    slices: Iterable[EndpointSlice], family: Family, port: ServicePort
) -> Iterator[tuple[str, str, int]]:
    """Yield node, address and port of each ready endpoint, once, in the order of the slices."""
    seen: set[tuple[str, int]] = set()
    for each in slices:
        if each.address_type != family:
            continue
        numbers = [
            own.port
            for own in each.ports
            if own.port and (own.name, own.protocol) == (port.name, port.protocol)
        ]
        for endpoint in each.endpoints:
            if endpoint.conditions.ready is False or not endpoint.addresses:
                continue
            for number in numbers:
                place = (endpoint.addresses[0], number)
                if place not in seen:
                    seen.add(place)
                    yield endpoint.node_name or "", *place


def _times(place: Place, settings: BalancerSettings, edge: Edge) -> CheckTimes | None:
    """Return the times of checks; None if nothing is checked: the DNAT gateway only translates."""
    if not settings.checked or place.kind is BalancerClass.DNAT:
        return None
    if settings.check is None:
        return edge.times
    return CheckTimes(
        interval_s=settings.check.delay_s,
        timeout_s=settings.check.timeout_s,
        threshold=settings.check.max_retries,
    )


def _passes_through(service: Service, settings: BalancerSettings, edge: Edge) -> bool:
    local = service.spec.external_traffic_policy == "Local"
    if settings.pass_through is None:
        return local and edge.passes_through_local
    return settings.pass_through == "true" or local


def _attaches_pods(place: Place, edge: Edge) -> bool:
    return edge.reaches_pods and place.kind is BalancerClass.DEDICATED


def _key(place: Place, family: Family, port: ServicePort) -> ListenerKey:
    return ListenerKey(place=place.name, family=family, protocol=port.protocol, port=port.port)


def _service_key(service: Service) -> ServiceKey:
    return service.metadata.namespace, service.metadata.name


def _about(annotation: str, text: str) -> Problem:
    return Problem(f"metadata.annotations[{annotation}]", text)
