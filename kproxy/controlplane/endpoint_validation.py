"""The API server's checks of endpoints written by users, where a proxy would tolerate the fault.

Source: pkg/apis/discovery/validation/validation.go (ValidateEndpointSlice),
pkg/apis/core/validation/validation.go (ValidateEndpoints, ValidateEndpointIP)
"""

from __future__ import annotations

from collections.abc import Iterator, Sized

from msgspec.json import encode

from kproxy.api.addresses import special_problem
from kproxy.api.names import label_problem
from kproxy.api.problems import shown
from kproxy.api.types import EndpointAddress, Endpoints, EndpointSlice, NamedHint
from kproxy.controlplane.field_errors import invalid
from kproxy.controlplane.metadata_validation import metadata_problems

_MOST_ENDPOINTS, _MOST_ADDRESSES, _MOST_PORTS = 1000, 100, 20_000  # per slice
_MOST_HINTS = 8  # of either kind, per endpoint


def slice_problems(wanted: EndpointSlice, former: EndpointSlice | None) -> Iterator[str]:
    """Yield the problems of a slice; `former` is the stored one, None if it is new."""
    yield from metadata_problems(wanted.metadata)
    if former and wanted.address_type != former.address_type:
        yield invalid("addressType", wanted.address_type, "field is immutable")
    yield from _too_many("endpoints", wanted.endpoints, _MOST_ENDPOINTS)
    yield from _too_many("ports", wanted.ports, _MOST_PORTS)
    for i, endpoint in enumerate(wanted.endpoints):
        field = f"endpoints[{i}].addresses"
        if not endpoint.addresses:
            yield f"{field}: Required value: must contain at least 1 address"
        yield from _too_many(field, endpoint.addresses, _MOST_ADDRESSES)
        if wanted.address_type != "FQDN":
            for j, address in enumerate(endpoint.addresses):
                yield from _special(f"{field}[{j}]", address)
        yield from _hostname(f"endpoints[{i}].hostname", endpoint.hostname or "")
        if hints := endpoint.hints:
            yield from _hints(f"endpoints[{i}].hints.forZones", hints.for_zones)
            yield from _hints(f"endpoints[{i}].hints.forNodes", hints.for_nodes)


def endpoints_problems(wanted: Endpoints) -> Iterator[str]:
    yield from metadata_problems(wanted.metadata)
    for i, subset in enumerate(wanted.subsets):
        field = f"subsets[{i}]"
        if not subset.addresses and not subset.not_ready_addresses:
            yield f"{field}: Required value: must specify `addresses` or `notReadyAddresses`"
        yield from _addresses(f"{field}.addresses", subset.addresses)
        yield from _addresses(f"{field}.notReadyAddresses", subset.not_ready_addresses)
        for j, port in enumerate(subset.ports):
            if port.port is None:  # unlike in a slice, where it means any
                yield f"{field}.ports[{j}].port: Required value"


def _addresses(field: str, addresses: tuple[EndpointAddress, ...]) -> Iterator[str]:
    for i, address in enumerate(addresses):
        yield from _special(f"{field}[{i}].ip", address.ip)
        yield from _hostname(f"{field}[{i}].hostname", address.hostname)


def _hints(field: str, hints: tuple[NamedHint, ...]) -> Iterator[str]:
    if len(hints) > _MOST_HINTS:
        yield from _too_many(field, hints, _MOST_HINTS)
        return
    names = set[str]()
    for i, hint in enumerate(hints):
        if hint.name in names:
            yield f"{field}[{i}].name: Duplicate value: {encode(hint.name).decode()}"
        names.add(hint.name)


def _special(field: str, address: str) -> Iterator[str]:
    if problem := special_problem(address):
        yield invalid(field, address, problem)


def _hostname(field: str, text: str) -> Iterator[str]:
    if text and (problem := label_problem(text)):
        yield f"{field}: {shown(text)} {problem}"


def _too_many(field: str, items: Sized, most: int) -> Iterator[str]:
    if len(items) > most:
        yield f"{field}: Too many: {len(items)}: must have at most {most} items"
