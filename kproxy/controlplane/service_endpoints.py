"""The EndpointSlices, Endpoints and mirrored slices of one Service; and warnings.

Two rules differ from Kubernetes. A Service with slices written by hand keeps these and gets no
others, even with a selector: so a lab can have conditions that its Pods do not have. And a Service
that loses its selector, or becomes an ExternalName, loses the objects made from its Pods, which
Kubernetes leaves behind.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from kproxy.api.types import Endpoints, EndpointSlice, Node
from kproxy.controlplane import endpoint_slices, endpoints, mirroring
from kproxy.controlplane.endpoint_slices import Changes
from kproxy.controlplane.packing import MANAGED_BY_LABEL
from kproxy.controlplane.registry import Registry
from kproxy.store import ObjectKey, ServiceKey, object_key

CONTROLLERS = (endpoint_slices.CONTROLLER, mirroring.CONTROLLER)
MANAGED_ENDPOINTS = endpoints.MANAGED_BY_LABEL


@dataclass(frozen=True, slots=True, kw_only=True)
class Edits:
    """The objects to write and to delete."""

    write: tuple[EndpointSlice | Endpoints, ...] = ()
    delete: tuple[ObjectKey, ...] = ()
    warnings: tuple[str, ...] = ()


def edits(key: ServiceKey, registry: Registry, random: Random) -> Edits:
    """Return the edits that make the Service's endpoints right; it may have been deleted."""
    service, slices = registry.service(key), registry.slices(key)
    if service is None:
        left = [each for each in slices if not is_by_hand(each)]
        return Edits(delete=tuple(map(object_key, left)))
    pods = registry.candidates(service)
    made, written = endpoints.endpoints_for(service, pods), registry.endpoints(key)
    write: list[EndpointSlice | Endpoints] = []
    delete: list[ObjectKey] = []
    if made:
        if not endpoints.is_refused(made):
            write.append(made)
    elif written and written.metadata.labels.get(MANAGED_ENDPOINTS) == endpoints.CONTROLLER:
        delete.append(object_key(written))
        written = None

    own = [each for each in slices if endpoint_slices.is_own(each, service)]
    mirrored = [each for each in slices if not is_by_hand(each) and each not in own]
    changes = Changes()
    if any(map(is_by_hand, slices)):
        delete += map(object_key, (*own, *mirrored))
    elif made:
        delete += map(object_key, mirrored)
        changes = endpoint_slices.reconcile(service, pods, registry.all(Node), own, random=random)
    else:
        delete += map(object_key, own)
        changes = mirroring.reconcile_mirrored(service, written, mirrored)
    return Edits(
        write=(*write, *changes.create, *changes.update),
        delete=(*delete, *map(object_key, changes.delete)),
        warnings=(*changes.warnings, *_truncation(made)),
    )


def is_by_hand(endpoint_slice: EndpointSlice) -> bool:
    """Tell whether neither of our controllers wrote the slice."""
    return endpoint_slice.metadata.labels.get(MANAGED_BY_LABEL) not in CONTROLLERS


def _truncation(made: Endpoints | None) -> tuple[str, ...]:
    if made is None or endpoints.OVER_CAPACITY not in made.metadata.annotations:
        return ()
    return (f"Endpoints is truncated to {endpoints.MOST_ADDRESSES} addresses",)
