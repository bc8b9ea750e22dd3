"""Admits several Services at once: all or none. Values that they state are allocated first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from random import Random

from kproxy.api.types import Metadata, Service, ServicePort, ServiceSpec
from kproxy.controlplane import object_updates
from kproxy.controlplane.admission import Allocator
from kproxy.controlplane.cluster_ip_validation import is_headless
from kproxy.controlplane.service_updates import needs_cluster_ip, needs_node_ports
from kproxy.errors import BadInput
from kproxy.store import ServiceKey


class ServiceAllocation:
    """Admits Services with the allocator of a cluster."""

    def __init__(self, service_cidrs: Sequence[str], random: Random, node_ports: range) -> None:
        def fresh() -> Allocator:
            return Allocator(service_cidrs, random, node_ports)

        self._fresh: Callable[[], Allocator] = fresh
        self._allocator = fresh()
        self._cidrs = list(service_cidrs)

    def use(self, cidrs: Iterable[str], reserved: Iterable[str]) -> None:
        """Allocate cluster IPs from these ranges from now on, but not those that are `reserved`."""
        self._cidrs = list(cidrs)
        self._allocator.use(self._cidrs)
        for each in reserved:
            self._allocator.reserve(each)

    def free_address(self, address: str) -> None:
        """Free a reserved address."""
        self._allocator.free_address(address)

    def admit(
        self,
        services: Iterable[Service],
        stored: Callable[[ServiceKey], Service | None],
        problems: list[str],
    ) -> list[Service]:
        """Return the Services to store; refusals go to `problems`.

        If there are any, call `revert`. Addresses and ports that a Service states are not allocated
        to another one before its turn, so the order of Services does not matter.
        """
        services = list(services)
        held = [self._hold(service) for service in services]
        admitted: dict[ServiceKey, Service] = {}
        for service, holds in zip(services, held, strict=True):
            for each in holds:
                self._allocator.release(each)
            key = (service.metadata.namespace, service.metadata.name)
            former = admitted.get(key) or stored(key)
            try:
                wanted = object_updates.service(service, former)
                admitted[key] = self._allocator.admit(wanted, former)
            except BadInput as error:
                problems += [_named(service, each) for each in error.problems]
        return list(admitted.values())

    def admit_one(self, service: Service, former: Service | None, cidrs: Sequence[str]) -> Service:
        """Return the Service to store, with addresses from `cidrs`.

        Raises BadInput, and leaves all as it was.
        """
        if cidrs != self._cidrs:
            self.use(cidrs, ())
        return self._allocator.admit(object_updates.service(service, former), former)

    def release(self, service: Service) -> None:
        self._allocator.release(service)

    def revert(
        self, stored: Iterable[Service], cidrs: Iterable[str], reserved: Iterable[str]
    ) -> None:
        """Restore the allocations to what the `stored` Services (all there are) hold.

        `cidrs` are the ranges that these have addresses of. Call `use` for others.
        """
        self._allocator = self._fresh()
        self._allocator.use(cidrs)
        self._allocator.remember(stored)
        self.use(cidrs, reserved)

    def _hold(self, service: Service) -> list[Service]:
        """Return stand-ins that hold the stated values of the Service that are free."""
        held = []
        for each in _stated(service.spec):
            stand_in = Service(metadata=Metadata(name=service.metadata.name), spec=each)
            try:
                self._allocator.remember([stand_in])
            except BadInput:
                continue  # held by another one, or out of range: admission reports it in its turn
            held.append(stand_in)
        return held


def _named(service: Service, problem: str) -> str:
    """Return the problem with the Service's name, which the API server's own failures lack."""
    name = service.metadata.name
    return problem if problem.startswith(f'Service "{name}"') else f'Service "{name}": {problem}'


def _stated(spec: ServiceSpec) -> Iterator[ServiceSpec]:
    """Yield a spec for each stated address and port."""
    addresses = spec.cluster_ips or ((spec.cluster_ip,) if spec.cluster_ip else ())
    if needs_cluster_ip(spec) and not is_headless(spec):
        for address in addresses:
            if address != "None":
                yield ServiceSpec(cluster_ips=(address,))
    if needs_node_ports(spec):
        numbers = {each.node_port for each in spec.ports} | {spec.health_check_node_port}
        for number in sorted(numbers - {0}):
            yield ServiceSpec(type="NodePort", ports=(ServicePort(port=1, node_port=number),))
