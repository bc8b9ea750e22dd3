"""Turns a Service as a user wrote it into the Service that the API server would store.

A Service is judged as a user wrote it: addresses stay as written, faults are told in the words of
the API server.
Source: pkg/registry/core/service/storage/alloc.go of Kubernetes
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from random import Random

from msgspec.structs import replace

from kproxy.address import Family, family_of
from kproxy.api.addresses import canonical_ip
from kproxy.api.checks import altered
from kproxy.api.service_rules import with_defaults
from kproxy.api.types import LoadBalancerStatus, Service, ServicePort, ServiceSpec
from kproxy.controlplane.cluster_ip_validation import CLUSTER_IPS, is_headless
from kproxy.controlplane.families import Families, assign_families
from kproxy.controlplane.field_errors import exhausted, invalid, refusal
from kproxy.controlplane.ip_allocator import IPAllocator, family_of_cidr
from kproxy.controlplane.metadata_validation import stored_metadata
from kproxy.controlplane.port_allocator import NODE_PORTS, PortAllocator
from kproxy.controlplane.service_updates import (
    allocates_node_ports,
    drop_unused,
    keep_allocated,
    needs_cluster_ip,
    needs_health_check,
    needs_node_ports,
    node_port_numbers,
)
from kproxy.controlplane.service_validation import service_problems, status_problems
from kproxy.errors import BadInput

CIDRS_FLAG = "--service-cluster-ip-range"


class Allocator:
    """Allocates cluster IPs, node ports and health check node ports to the Services of a cluster.

    `service_cidrs` are one, or two of different families; the first is the default family. They are
    the ranges of cluster IPs until `use` sets others. The caller keeps the Services: `former` must
    be what `admit` returned last for that Service, or what was remembered. Every refusal is
    `BadInput` and leaves all allocations as they were.
    """

    def __init__(
        self, service_cidrs: Sequence[str], random: Random, node_ports: range = NODE_PORTS
    ) -> None:
        if not 1 <= len(service_cidrs) <= 2:
            raise BadInput([f"{CIDRS_FLAG} must contain one or two entries"])
        self._families: Families = tuple(dict.fromkeys(family_of_cidr(c) for c in service_cidrs))
        if len(self._families) < len(service_cidrs):
            which = f"{CIDRS_FLAG}[0] and {CIDRS_FLAG}[1]"
            raise BadInput([f"{which} must be of different IP family"])
        self._ips = {each: IPAllocator(each, random) for each in self._families}
        self.use(service_cidrs)
        self._ports = PortAllocator(random, node_ports)

    def use(self, cidrs: Iterable[str]) -> None:
        """Allocate cluster IPs from these ranges from now on; those of other families are ignored.

        Addresses that are allocated stay so.
        """
        cidrs = tuple(cidrs)
        for each in self._ips.values():
            each.use(cidrs)

    def reserve(self, address: str) -> None:
        """Allocate an address to something that is no Service."""
        for each in self._ips.values():
            each.reserve(address)

    def free_address(self, address: str) -> None:
        """Free a reserved address."""
        for each in self._ips.values():
            each.release(address)

    def admit(self, service: Service, former: Service | None = None) -> Service:
        """Return `service` with defaults and allocations; `former` is None for a new one.

        What `former` has and the new one does not need is free afterwards.
        """
        before = former.spec if former else None
        spec = keep_allocated(with_defaults(service.spec), before)
        problems: list[str] = []
        spec = assign_families(spec, before, self._families, problems)
        if problems:
            raise refusal(service, problems)
        change = _Change(service, self._ips, self._ports)
        try:
            spec = change.cluster_ips(spec, before)
            spec = change.node_ports(spec, before)
            spec = change.health_check(spec, before)
            spec = drop_unused(spec, before)
            problems += service_problems(replace(service, spec=spec), former)
            stored = _stored(service, spec, former)
            if not problems:  # users write the status in a second request
                problems += _status_problems(stored, former)
            if problems:
                raise refusal(service, problems)
        except BadInput:
            change.revert()
            raise
        change.commit()
        return stored

    def release(self, service: Service) -> None:
        """Free everything that an admitted Service holds."""
        self._release(_addresses(service.spec), _numbers(service.spec))

    def remember(self, services: Iterable[Service]) -> None:
        """Allocate what these stored Services hold.

        Raises BadInput with all values that two of them hold or that are outside the ranges.
        """
        problems: list[str] = []
        changes: list[_Change] = []
        for service in services:
            change = _Change(service, self._ips, self._ports)
            changes.append(change)
            problems += change.claim()
        if problems:
            for change in changes:
                change.revert()
            raise BadInput(problems)

    def _release(self, addresses: Iterable[str], numbers: Iterable[int]) -> None:
        for address in addresses:
            if allocator := self._ips.get(family_of(address)):
                allocator.release(address)
        for number in numbers:
            self._ports.release(number)


class _Change:
    """The allocations of one Service, undone if it is refused, and what it frees if accepted."""

    def __init__(
        self, service: Service, ips: dict[Family, IPAllocator], ports: PortAllocator
    ) -> None:
        self._service = service
        self._ips = ips
        self._ports = ports
        self._undo: list[Callable[[], None]] = []
        self._finish: list[Callable[[], None]] = []

    def commit(self) -> None:
        for each in self._finish:
            each()

    def revert(self) -> None:
        for each in self._undo:
            each()

    def cluster_ips(self, spec: ServiceSpec, former: ServiceSpec | None) -> ServiceSpec:
        held = _addresses(former) if former else ()
        if not needs_cluster_ip(spec) or is_headless(spec) or (former and is_headless(former)):
            self._free_addresses(held if not needs_cluster_ip(spec) else ())
            return spec
        addresses = list(spec.cluster_ips)
        # An address that differs from a held one is refused later, so only further ones are taken.
        for i, family in enumerate(map(Family, spec.ip_families[len(held) :]), len(held)):
            if i < len(addresses):
                self._take_address(addresses[i], spec.cluster_ips)
            else:
                addresses.append(self._next_address(family))
        self._free_addresses(held[len(spec.ip_families) :])
        first = addresses[0] if addresses else ""
        return altered(spec, cluster_ip=first, cluster_ips=tuple(addresses))

    def node_ports(self, spec: ServiceSpec, former: ServiceSpec | None) -> ServiceSpec:
        held = frozenset[int]()
        if former and needs_node_ports(former):
            held = node_port_numbers(former)
        if needs_node_ports(spec):
            self._explicit_ports(spec, held, new=former is None)
            if allocates_node_ports(spec):
                spec = altered(spec, ports=self._dynamic_ports(spec.ports, new=former is None))
            self._free_ports(held - node_port_numbers(spec))
        else:
            self._free_ports(held)
        return spec

    def health_check(self, spec: ServiceSpec, former: ServiceSpec | None) -> ServiceSpec:
        needed = former is not None and needs_health_check(former)
        if former and needed and not needs_health_check(spec):
            self._free_ports([former.health_check_node_port])
        if needed or not needs_health_check(spec):
            return spec
        number = spec.health_check_node_port
        if number:
            told = f"failed to allocate requested HealthCheck NodePort {number}"
            try:
                self._take_port(number)
            except BadInput as error:
                raise exhausted(told, error) from None
            return spec
        number = self._next_port("failed to allocate a HealthCheck NodePort 0")
        return altered(spec, health_check_node_port=number)

    def claim(self) -> list[str]:
        """Allocate all that the Service holds; return a problem for each value that fails."""
        spec = self._service.spec
        wanted = [partial(self._take_address, each, spec.cluster_ips) for each in _addresses(spec)]
        if needs_node_ports(spec):
            wanted.append(partial(self._explicit_ports, spec, frozenset[int](), new=False))
        if needs_health_check(spec) and spec.health_check_node_port:
            wanted.append(
                partial(
                    self._take_stated_port,
                    "spec.healthCheckNodePort",
                    spec.health_check_node_port,
                )
            )
        problems: list[str] = []
        for take in wanted:
            try:
                take()
            except BadInput as error:
                problems += error.problems
        return problems

    def _explicit_ports(self, spec: ServiceSpec, held: frozenset[int], *, new: bool) -> None:
        """Allocate the stated node ports.

        As in the API server, ports of a new Service may share a node port only if they have the
        same port number, and the first of these is told of a fault. In an update any of different
        protocols may.
        """
        taken: set[tuple[int, int]] = set()
        served: set[int] = set()  # port numbers that have a node port
        first: dict[int, int] = {}  # by port number: where the server takes a node port for it
        for i, port in enumerate(spec.ports):
            if not new and port.node_port and _own(port) in map(_own, spec.ports[:i]):
                raise BadInput([f"duplicate nodePort: {{{port.protocol} {port.node_port}}}"])
            number = port.node_port
            if number or allocates_node_ports(spec):
                first.setdefault(port.port, i)
            key = (number, port.port if new else 0)
            if not number or number in held or key in taken:
                continue
            place = first[port.port] if new and port.port not in served else i
            self._take_stated_port(f"spec.ports[{place}].nodePort", number)
            served.add(port.port)
            taken.add(key)

    def _dynamic_ports(
        self, ports: tuple[ServicePort, ...], *, new: bool
    ) -> tuple[ServicePort, ...]:
        """Allocate missing node ports; a new Service has one for all protocols of a port number."""
        known = {port.port: port.node_port for port in reversed(ports) if new and port.node_port}
        numbered = []
        for port in ports:
            number = port.node_port or known.get(port.port, 0)
            if not number:
                number = self._next_port("failed to allocate a nodePort")
                if new:
                    known[port.port] = number
            numbered.append(altered(port, node_port=number))
        return tuple(numbered)

    def _take_address(self, address: str, shown: tuple[str, ...]) -> None:
        canonical = canonical_ip(address)
        family = family_of(canonical)
        if family not in self._ips:
            told = f"{family} is not configured on this cluster"
            raise refusal(self._service, [invalid(CLUSTER_IPS, shown, told)])
        try:
            self._ips[family].allocate(canonical)
        except BadInput as error:
            told = f"failed to allocate IP {address}: {error}"
            raise refusal(self._service, [invalid(CLUSTER_IPS, shown, told)]) from None
        self._undo.append(partial(self._ips[family].release, canonical))

    def _next_address(self, family: Family) -> str:
        allocator = self._ips[family]
        try:
            address = allocator.allocate_next()
        except BadInput as error:
            told = f'failed to allocate a serviceIP for Service "{self._service.metadata.name}"'
            raise exhausted(told, error) from None
        self._undo.append(partial(allocator.release, address))
        return address

    def _take_stated_port(self, field: str, number: int) -> None:
        try:
            self._take_port(number)
        except BadInput as error:
            raise refusal(self._service, [invalid(field, number, str(error))]) from None

    def _take_port(self, number: int) -> None:
        self._ports.allocate(number)
        self._undo.append(partial(self._ports.release, number))

    def _next_port(self, told: str) -> int:
        try:
            number = self._ports.allocate_next()
        except BadInput as error:
            raise exhausted(told, error) from None
        self._undo.append(partial(self._ports.release, number))
        return number

    def _free_addresses(self, addresses: Iterable[str]) -> None:
        for address in addresses:
            if allocator := self._ips.get(family_of(address)):
                self._finish.append(partial(allocator.release, address))

    def _free_ports(self, numbers: Iterable[int]) -> None:
        self._finish += [partial(self._ports.release, number) for number in numbers]


def _own(port: ServicePort) -> tuple[str, int]:
    return port.protocol, port.node_port


def _addresses(spec: ServiceSpec) -> tuple[str, ...]:
    """Return the cluster IPs that `spec` holds, in canonical form."""
    if not needs_cluster_ip(spec) or is_headless(spec):
        return ()
    return tuple(map(canonical_ip, spec.cluster_ips))


def _numbers(spec: ServiceSpec) -> frozenset[int]:
    """Return the node ports that `spec` holds, including the one for health checks."""
    numbers = node_port_numbers(spec) if needs_node_ports(spec) else frozenset[int]()
    return numbers | {spec.health_check_node_port} if needs_health_check(spec) else numbers


def _status_problems(service: Service, former: Service | None) -> list[str]:
    before = former.status.load_balancer if former else None
    return [*status_problems(service.status.load_balancer, before)]


def _stored(service: Service, spec: ServiceSpec, former: Service | None) -> Service:
    """Return the Service with `clusterIP` and target ports; only load balancers keep a status."""
    status = service.status
    if spec.type != "LoadBalancer":
        status = altered(status, load_balancer=LoadBalancerStatus())
    elif former and not status.load_balancer.ingress:
        status = former.status
    status = altered(status, load_balancer=with_ip_modes(status.load_balancer))
    ports = tuple(
        port if port.target_port else replace(port, target_port=port.port) for port in spec.ports
    )
    first = spec.cluster_ips[0] if spec.cluster_ips else ""
    metadata = stored_metadata(service.metadata, former.metadata if former else None)
    service = altered(service, metadata=metadata)
    return altered(service, spec=altered(spec, cluster_ip=first, ports=ports), status=status)


def with_ip_modes(status: LoadBalancerStatus) -> LoadBalancerStatus:
    """Return the status with the default mode of each address."""
    ingress = tuple(
        altered(each, ip_mode="VIP") if each.ip and each.ip_mode is None else each
        for each in status.ingress
    )
    return altered(status, ingress=ingress)
