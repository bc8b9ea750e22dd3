"""The API server's checks of endpoints written by users, in the server's order.

Source: pkg/apis/discovery/validation/validation.go (ValidateEndpointSlice),
pkg/apis/core/validation/validation.go (ValidateEndpoints)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sized

from kproxy.address import family_of
from kproxy.api.addresses import canonical_ip
from kproxy.api.endpoint_rules import ADDRESS_TYPES
from kproxy.api.types import (
    Endpoint,
    EndpointAddress,
    EndpointHints,
    EndpointPort,
    Endpoints,
    EndpointSlice,
    EndpointSubset,
    NamedHint,
)
from kproxy.controlplane.field_errors import duplicate, invalid, required, too_many, unsupported
from kproxy.controlplane.metadata_validation import metadata_problems
from kproxy.controlplane.service_validation import PROTOCOLS
from kproxy.controlplane.value_problems import (
    domain_problems,
    endpoint_ip_problems,
    ip_problems,
    label_problems,
    label_value_problems,
    port_problems,
    qualified_name_problems,
    subdomain_problems,
)

_MOST_ENDPOINTS, _MOST_ADDRESSES, _MOST_PORTS = 1000, 100, 20_000  # per slice
_MOST_HINTS = 8  # of either kind, per endpoint


def slice_problems(wanted: EndpointSlice, former: EndpointSlice | None) -> Iterator[str]:
    """Yield the problems of a slice; `former` is the stored one, None if it is new.

    Endpoints that are stored already may stay as they are.
    """
    yield from metadata_problems(wanted, former)
    kind = wanted.address_type
    if not kind:
        yield required("addressType")
    elif kind not in ADDRESS_TYPES:
        yield unsupported("addressType", kind, sorted(ADDRESS_TYPES))
    if former is None or wanted.endpoints != former.endpoints:
        yield from _endpoints(wanted.endpoints, kind)
    yield from _slice_ports(wanted.ports)
    if former and kind != former.address_type:
        yield invalid("addressType", kind, "field is immutable")


def endpoints_problems(wanted: Endpoints, former: Endpoints | None) -> Iterator[str]:
    """Yield the problems of an object; `former` is the stored one, None if it is new.

    Subsets that are stored already may stay as they are.
    """
    yield from metadata_problems(wanted, former)
    if former and wanted.subsets == former.subsets:
        return
    for i, subset in enumerate(wanted.subsets):
        yield from _subset(f"subsets[{i}]", subset)


def _endpoints(endpoints: tuple[Endpoint, ...], kind: str) -> Iterator[str]:
    if len(endpoints) > _MOST_ENDPOINTS:
        yield too_many("endpoints", len(endpoints), _MOST_ENDPOINTS)
        return
    for i, endpoint in enumerate(endpoints):
        path = f"endpoints[{i}]"
        field = f"{path}.addresses"
        if not endpoint.addresses:
            yield required(field, "must contain at least 1 address")
        yield from _too_many(field, endpoint.addresses, _MOST_ADDRESSES)
        for j, address in enumerate(endpoint.addresses):
            yield from _address(field, j, address, kind)
        if endpoint.node_name is not None:
            told = subdomain_problems(endpoint.node_name)
            yield from _invalid(f"{path}.nodeName", endpoint.node_name, told)
        if endpoint.hostname is not None:
            told = label_problems(endpoint.hostname)
            yield from _invalid(f"{path}.hostname", endpoint.hostname, told)
        if endpoint.hints:
            yield from _hints(f"{path}.hints", endpoint.hints)


def _address(field: str, number: int, text: str, kind: str) -> Iterator[str]:
    """Yield the problems of an address, told of itself, or of all if it is of the other family."""
    place = f"{field}[{number}]"
    if kind == "FQDN":
        if not text:
            yield required(place)
        elif found := domain_problems(text):
            yield invalid(place, *found)
    elif kind in ADDRESS_TYPES:
        yield from _invalid(place, text, ip_problems(text, canonical=True))
        canonical = canonical_ip(text)
        if not canonical or family_of(canonical) != kind:
            yield invalid(field, text, f"must be an {kind} address")
        yield from _invalid(place, text, endpoint_ip_problems(text))


def _hints(field: str, hints: EndpointHints) -> Iterator[str]:
    for name, found, judge in (
        ("forZones", hints.for_zones, label_value_problems),
        ("forNodes", hints.for_nodes, subdomain_problems),
    ):
        if len(found) > _MOST_HINTS:
            yield too_many(f"{field}.{name}", len(found), _MOST_HINTS)
            return
        yield from _named(f"{field}.{name}", found, judge)


def _named(
    field: str, hints: tuple[NamedHint, ...], judge: Callable[[str], tuple[str, ...]]
) -> Iterator[str]:
    names = set[str]()
    for i, hint in enumerate(hints):
        place = f"{field}[{i}].name"
        if hint.name in names:
            yield duplicate(place, hint.name)
        names.add(hint.name)
        yield from _invalid(place, hint.name, judge(hint.name))


def _slice_ports(ports: tuple[EndpointPort, ...]) -> Iterator[str]:
    if len(ports) > _MOST_PORTS:
        yield too_many("ports", len(ports), _MOST_PORTS)
        return
    names = set[str]()
    for i, port in enumerate(ports):
        field = f"ports[{i}]"
        if port.name:
            yield from _invalid(f"{field}.name", port.name, label_problems(port.name))
        if port.name in names:
            yield duplicate(f"{field}.name", port.name)
        names.add(port.name)
        yield from _protocols(field, port)


def _subset(path: str, subset: EndpointSubset) -> Iterator[str]:
    if not subset.addresses and not subset.not_ready_addresses:
        yield required(path, "must specify `addresses` or `notReadyAddresses`")
    yield from _addresses(f"{path}.addresses", subset.addresses)
    yield from _addresses(f"{path}.notReadyAddresses", subset.not_ready_addresses)
    for i, port in enumerate(subset.ports):
        field = f"{path}.ports[{i}]"
        if port.name:
            yield from _invalid(f"{field}.name", port.name, label_problems(port.name))
        elif len(subset.ports) > 1:
            yield required(f"{field}.name")
        number = port.port or 0  # it is not optional, unlike in a slice
        yield from _invalid(f"{field}.port", number, port_problems(number))
        yield from _protocols(field, port)


def _addresses(field: str, addresses: tuple[EndpointAddress, ...]) -> Iterator[str]:
    for i, address in enumerate(addresses):
        path = f"{field}[{i}]"
        yield from _invalid(f"{path}.ip", address.ip, ip_problems(address.ip))
        if address.hostname:
            told = label_problems(address.hostname)
            yield from _invalid(f"{path}.hostname", address.hostname, told)
        if address.node_name is not None:
            told = subdomain_problems(address.node_name)
            yield from _invalid(f"{path}.nodeName", address.node_name, told)
        yield from _invalid(f"{path}.ip", address.ip, endpoint_ip_problems(address.ip))


def _protocols(field: str, port: EndpointPort) -> Iterator[str]:
    if port.protocol not in PROTOCOLS:
        yield unsupported(f"{field}.protocol", port.protocol, PROTOCOLS)
    if port.app_protocol is not None:
        told = qualified_name_problems(port.app_protocol)
        yield from _invalid(f"{field}.appProtocol", port.app_protocol, told)


def _invalid(field: str, value: str | int, problems: Iterable[str]) -> Iterator[str]:
    return (invalid(field, value, told) for told in problems)


def _too_many(field: str, items: Sized, most: int) -> Iterator[str]:
    if len(items) > most:
        yield too_many(field, len(items), most)
