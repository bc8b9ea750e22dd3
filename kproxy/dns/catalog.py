"""Services and the endpoints behind them, indexed by the names that queries ask for. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from ipaddress import ip_address
from typing import NamedTuple

from kproxy.api.types import (
    SERVICE_NAME_LABEL,
    Endpoint,
    EndpointConditions,
    EndpointPort,
    EndpointSlice,
    Service,
)

Key = tuple[str, str]  # namespace, name

_NO_PORTS = (EndpointPort(),)  # a Service without ports has addresses all the same


class Hit(NamedTuple):
    """An address behind a name, at one port; `host` is the label of the endpoint, "" if none.

    `port` is 0 if no port is known; there is no SRV record then.
    """

    address: str
    port: int
    host: str


class PortLabels(NamedTuple):
    """`_name._protocol` without the underscores, in lower case. Both are "" for any port."""

    name: str = ""
    protocol: str = ""


class Catalog:
    """The Services and endpoints at one moment. It never changes."""

    def __init__(self, services: Iterable[Service], slices: Iterable[EndpointSlice]) -> None:
        self.services: Mapping[Key, Service] = {
            (service.metadata.namespace, service.metadata.name): service for service in services
        }
        self._slices: dict[Key, list[EndpointSlice]] = {}
        for each in slices:
            key = (each.metadata.namespace, each.metadata.labels.get(SERVICE_NAME_LABEL, ""))
            if key in self.services and each.address_type != "FQDN":
                self._slices.setdefault(key, []).append(each)

    @cached_property
    def owners(self) -> Mapping[str, tuple[tuple[str, ...], ...]]:
        """Return the names of each address as labels below `svc`: a Service's, or endpoints'.

        An address that is some Service's cluster IP has only that name, as in CoreDNS.
        """
        found: dict[str, tuple[tuple[str, ...], ...]] = {}
        for (namespace, name), service in self.services.items():
            for address in cluster_ips(service):
                found.setdefault(address, ((name, namespace),))
        endpoints: dict[str, dict[tuple[str, ...], None]] = {}
        for namespace, name in self._slices:
            for _, address, host in self._ready((namespace, name)):
                endpoints.setdefault(address, {})[(host, name, namespace)] = None
        return {address: tuple(names) for address, names in endpoints.items()} | found

    @cached_property
    def reverse_prefixes(self) -> frozenset[tuple[str, ...]]:
        """Return the labels that names in in-addr.arpa and ip6.arpa end in, below the zone."""
        return frozenset(
            labels[:count]
            for labels in map(reverse_labels, self.owners)
            for count in range(len(labels))
        )

    def hits(self, key: Key, host: str | None, port: PortLabels) -> list[Hit]:
        """Return the addresses and ports that a name leads to; none if there is no such name.

        `host` is the label of an endpoint; None asks for the Service itself: its cluster IPs, or
        all ready endpoints if it has none.
        """
        service = self.services[key]
        if host is None and not is_headless(service):
            return [
                Hit(address, each.port, "")
                for each in service.spec.ports
                if _matches(port, each.name, each.protocol)
                for address in cluster_ips(service)
            ]
        return [
            Hit(address, each.port or 0, own)
            for ports, address, own in self._ready(key)
            if host in (None, own)
            for each in ports or _NO_PORTS
            if _matches(port, each.name, each.protocol)
        ]

    def has_protocol(self, key: Key, protocol: str) -> bool:
        """Tell whether there is a name below `_protocol.service`, that is, a named port."""
        return any(
            self.hits(key, None, PortLabels(port.name.lower(), protocol))
            for port in self._ports(key)
            if port.name and port.protocol == protocol
        )

    def _ports(self, key: Key) -> Iterator[PortLabels]:
        for own in self.services[key].spec.ports:
            yield PortLabels(own.name, own.protocol.lower())
        for each in self._slices.get(key, ()):
            for port in each.ports:
                yield PortLabels(port.name, port.protocol.lower())

    def _ready(self, key: Key) -> Iterator[tuple[tuple[EndpointPort, ...], str, str]]:
        """Yield the ports, the address and the label of each ready endpoint."""
        for each in self._slices.get(key, ()):
            for endpoint in each.endpoints:
                if _is_ready(endpoint.conditions):
                    for address in endpoint.addresses:
                        yield each.ports, address, _host(endpoint, address)


def cluster_ips(service: Service) -> tuple[str, ...]:
    """Return the cluster IPs of both families; none for a headless Service or an ExternalName."""
    spec = service.spec
    if spec.type == "ExternalName":
        return ()
    found = spec.cluster_ips or (spec.cluster_ip,)
    return tuple(address for address in found if address not in ("", "None"))


def is_headless(service: Service) -> bool:
    return service.spec.type != "ExternalName" and not cluster_ips(service)


def reverse_labels(address: str) -> tuple[str, ...]:
    """Return the labels before in-addr.arpa or ip6.arpa, the last label first: 10, 96, 0, 10."""
    parsed = ip_address(address)
    if parsed.version == 4:
        return tuple(address.split("."))
    return tuple(parsed.exploded.replace(":", ""))


def _is_ready(conditions: EndpointConditions) -> bool:
    """Tell whether an endpoint is ready; unknown counts as ready unless it terminates.

    publishNotReadyAddresses needs no rule here: the controller writes `ready` because of it.
    """
    if conditions.ready is None:
        return not conditions.terminating
    return conditions.ready


def _host(endpoint: Endpoint, address: str) -> str:
    """Return the label CoreDNS gives an endpoint, unless it is told to use the names of pods."""
    return (endpoint.hostname or "").lower() or _dashed(address)


def _dashed(address: str) -> str:
    return address.replace(".", "-").replace(":", "-")


def _matches(wanted: PortLabels, name: str, protocol: str) -> bool:
    return not wanted.protocol or wanted == (name.lower(), protocol.lower())
