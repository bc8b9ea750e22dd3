"""The API server's checks of ServiceCIDRs and IPAddresses, in the server's order.

Source: pkg/apis/networking/validation/validation.go (ValidateServiceCIDR, ValidateIPAddress, and
the same of updates) of Kubernetes
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import asdict

from kproxy.api.addresses import parse_cidr
from kproxy.api.types import IPAddress, ParentReference, ServiceCIDR
from kproxy.controlplane.field_errors import invalid, required
from kproxy.controlplane.metadata_validation import FIXED, metadata_problems
from kproxy.controlplane.value_problems import (
    cidr_problems,
    path_segment_problems,
    subdomain_problems,
)

_CIDRS = "spec.cidrs"
_PARENT = "spec.parentRef"
_ONE_EACH = (
    "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64"
)


def service_cidr_problems(wanted: ServiceCIDR, former: ServiceCIDR | None) -> Iterator[str]:
    """Yield the problems of a ServiceCIDR. A range of the other family may be added to `former`."""
    yield from metadata_problems(wanted, former)
    now = wanted.spec.cidrs
    yield from _ranges(now)
    if former is None:
        return
    before = former.spec.cidrs
    if len(now) != len(before) and (len(before), len(now)) != (1, 2):
        yield invalid(_CIDRS, now, FIXED)
        return
    for i, (old, new) in enumerate(zip(before, now, strict=False)):
        if old != new:
            yield invalid(f"{_CIDRS}[{i}]", new, FIXED)


def ip_address_problems(wanted: IPAddress, former: IPAddress | None) -> Iterator[str]:
    """Yield the problems of an IPAddress, which stays what `former` is the address of."""
    yield from metadata_problems(wanted, former)
    parent = wanted.spec.parent_ref
    if parent is None:
        yield required(_PARENT)
    else:
        yield from _parent(parent)
    if former and parent != former.spec.parent_ref:
        # The server prints its own type here, whose fields have capital letters.
        values = asdict(parent) if parent else {}
        shown = {key.capitalize(): value for key, value in values.items()} or None
        yield invalid(_PARENT, shown, FIXED)


def _ranges(cidrs: tuple[str, ...]) -> Iterator[str]:
    whole: dict[str, object] = {"CIDRs": cidrs}  # as the server prints its own type
    if not cidrs:
        yield required(_CIDRS, "at least one CIDR required")
    elif len(cidrs) > 2:
        yield invalid(_CIDRS, whole, "may only hold up to 2 values")
    elif len(cidrs) == 2 and not _is_dual(cidrs):
        yield invalid(_CIDRS, whole, _ONE_EACH)
    else:
        for i, text in enumerate(cidrs):
            for told in cidr_problems(text, canonical=True):
                yield invalid(f"{_CIDRS}[{i}]", text, told)


def _is_dual(cidrs: tuple[str, ...]) -> bool:
    networks = [parse_cidr(each) for each in cidrs]
    return {each.version for each in networks if each} == {4, 6}


def _parent(parent: ParentReference) -> Iterator[str]:
    if parent.group:
        for told in subdomain_problems(parent.group):
            yield invalid(f"{_PARENT}.group", parent.group, told)
    for name, value, needed in (
        ("resource", parent.resource, True),
        ("name", parent.name, True),
        ("namespace", parent.namespace, False),
    ):
        field = f"{_PARENT}.{name}"
        if value:
            yield from (invalid(field, value, told) for told in path_segment_problems(value))
        elif needed:
            yield required(field)
