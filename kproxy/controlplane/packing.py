"""Packs endpoints into slices so that as few slices as possible change.

Each change of a slice is sent to every node. So endpoints stay in their slice, slices that change
anyway are filled first, and no endpoint is moved only to have fewer slices.
Source: k8s.io/endpointslice reconciler.go (reconcileByPortMapping, finalize), v1.36
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from kproxy.api.types import (
    HEADLESS_LABEL,
    SERVICE_NAME_LABEL,
    Endpoint,
    EndpointSlice,
    ObjectReference,
)

MANAGED_BY_LABEL = "endpointslice.kubernetes.io/managed-by"
RESERVED_LABELS = frozenset({SERVICE_NAME_LABEL, MANAGED_BY_LABEL, HEADLESS_LABEL})


@dataclass(frozen=True, slots=True, kw_only=True)
class Packing:
    """Slices by what to do with them. Those to create have no name yet."""

    create: tuple[EndpointSlice, ...] = ()
    update: tuple[EndpointSlice, ...] = ()
    delete: tuple[EndpointSlice, ...] = ()
    unchanged: tuple[EndpointSlice, ...] = ()


def pack(
    existing: Sequence[EndpointSlice],
    wanted: Iterable[Endpoint],
    *,
    blank: EndpointSlice,
    most: int,
) -> Packing:
    """Pack `wanted` into slices of at most `most`; all `existing` have the ports of `blank`.

    `blank` is the model of a new slice; all slices get its labels. Hints are not compared:
    endpoints of slices that change lose them.
    """
    missing = {_key(endpoint): endpoint for endpoint in wanted}
    update, delete, unchanged = _in_place(existing, missing, blank.metadata.labels)
    rest = list(missing.values())

    update.sort(key=lambda each: -len(each.endpoints))
    for i, endpoint_slice in enumerate(update):
        update[i], rest = _filled(endpoint_slice, rest, most)

    create = []
    while rest:
        fits = _fullest_that_fits(unchanged, len(rest), most)
        filled, rest = _filled(blank if fits is None else fits, rest, most)
        if fits is None:
            create.append(filled)
        else:
            unchanged.remove(fits)
            update.append(filled)
    return Packing(
        create=tuple(create),
        update=tuple(update),
        delete=tuple(delete),
        unchanged=tuple(unchanged),
    )


def recycled(packing: Packing) -> Packing:
    """Reuse slices to delete for the contents of slices to create: one change instead of two."""
    pairs = min(len(packing.create), len(packing.delete))
    kept = len(packing.create) - pairs
    return Packing(
        create=packing.create[:kept],
        update=packing.update
        + tuple(
            replace(new, metadata=replace(new.metadata, name=old.metadata.name))
            for new, old in zip(packing.create[kept:], packing.delete, strict=False)
        ),
        delete=packing.delete[pairs:],
        unchanged=packing.unchanged,
    )


_Key = tuple[tuple[str, ...], str | None, ObjectReference | None]


def _key(endpoint: Endpoint) -> _Key:
    """Return an endpoint's identity. Its address is not enough: Pods may share their node's."""
    return endpoint.addresses, endpoint.hostname, endpoint.target_ref


def _in_place(
    existing: Sequence[EndpointSlice], missing: dict[_Key, Endpoint], labels: Mapping[str, str]
) -> tuple[list[EndpointSlice], list[EndpointSlice], list[EndpointSlice]]:
    """Return slices to update, to delete and unchanged; `missing` keeps what none of them holds."""
    update, delete, unchanged = [], [], []
    for old in existing:
        found = [(each, missing.pop(_key(each), None)) for each in old.endpoints]
        kept = tuple(new for _, new in found if new is not None)
        metadata = replace(old.metadata, labels=dict(labels))
        if all(new is not None and _same(each, new) for each, new in found):
            if _own(old.metadata.labels) == _own(labels):
                unchanged.append(old)
            else:
                update.append(replace(old, metadata=metadata))
        elif kept:
            update.append(replace(old, metadata=metadata, endpoints=kept))
        else:
            delete.append(old)
    return update, delete, unchanged


def _same(one: Endpoint, other: Endpoint) -> bool:
    """Tell whether two endpoints with the same key are equal except for hints, decided later."""
    return (
        one.conditions == other.conditions
        and one.node_name == other.node_name
        and one.zone == other.zone
    )


def _own(labels: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in labels.items() if key not in RESERVED_LABELS}


def _filled(
    endpoint_slice: EndpointSlice, rest: list[Endpoint], most: int
) -> tuple[EndpointSlice, list[Endpoint]]:
    room = max(0, most - len(endpoint_slice.endpoints))
    if not room or not rest:
        return endpoint_slice, rest
    endpoints = (*endpoint_slice.endpoints, *rest[:room])
    return replace(endpoint_slice, endpoints=endpoints), rest[room:]


def _fullest_that_fits(
    slices: Sequence[EndpointSlice], more: int, most: int
) -> EndpointSlice | None:
    """Return the fullest slice with room for `more`; None also if these fill one by themselves."""
    fitting = [each for each in slices if more < most and len(each.endpoints) + more <= most]
    return max(fitting, key=lambda each: len(each.endpoints), default=None)
