"""The mirroring controller: copies Endpoints written by hand to slices of their Service.

Source: pkg/controller/endpointslicemirroring, v1.36
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from kproxy.api.mirror import slices_of
from kproxy.api.repack import repacked
from kproxy.api.types import SERVICE_NAME_LABEL, Endpoints, EndpointSlice, EndpointSubset, Service
from kproxy.controlplane.endpoint_slices import Changes
from kproxy.controlplane.packing import MANAGED_BY_LABEL

CONTROLLER = "endpointslicemirroring-controller.k8s.io"
SKIP_MIRROR_LABEL = "endpointslice.kubernetes.io/skip-mirror"
LEADER_ANNOTATION = "control-plane.alpha.kubernetes.io/leader"
MOST_ADDRESSES = 1000  # --mirroring-max-endpoints-per-subset of kube-controller-manager
_NOT_COPIED = (
    "endpoints.kubernetes.io/last-change-trigger-time",
    "kubectl.kubernetes.io/last-applied-configuration",
)


def reconcile_mirrored(
    service: Service | None,
    endpoints: Endpoints | None,
    existing_slices: Iterable[EndpointSlice],
    *,
    most: int = MOST_ADDRESSES,
) -> Changes:
    """Return the changes that turn mirrored slices into those of `endpoints`, named as `service`.

    Slices of others are ignored. Without a Service, or for one with a selector, nothing is
    mirrored. Of the addresses with the same ports `most` are mirrored, ready ones first.
    """
    wanted, warnings = _wanted(service, endpoints, most)
    named = service or endpoints
    own = {
        each.metadata.name: each
        for each in existing_slices
        if named
        and each.metadata.namespace == named.metadata.namespace
        and each.metadata.labels.get(SERVICE_NAME_LABEL) == named.metadata.name
        and each.metadata.labels.get(MANAGED_BY_LABEL) == CONTROLLER
    }
    names = {each.metadata.name for each in wanted}
    return Changes(
        create=tuple(each for each in wanted if each.metadata.name not in own),
        update=tuple(each for each in wanted if own.get(each.metadata.name, each) != each),
        delete=tuple(each for name, each in own.items() if name not in names),
        warnings=warnings,
    )


def is_mirrored(service: Service | None, endpoints: Endpoints) -> bool:
    meta = endpoints.metadata
    return (
        service is not None
        and not service.spec.selector
        and meta.labels.get(SKIP_MIRROR_LABEL) != "true"
        and LEADER_ANNOTATION not in meta.annotations
    )


def _wanted(
    service: Service | None, endpoints: Endpoints | None, most: int
) -> tuple[list[EndpointSlice], tuple[str, ...]]:
    if endpoints is None or not is_mirrored(service, endpoints):
        return [], ()
    whole = repacked(endpoints.subsets)
    subsets = [_cut(subset, most) for subset in whole]
    skipped = sum(map(_size, whole)) - sum(map(_size, subsets))
    annotations = {
        key: value
        for key, value in endpoints.metadata.annotations.items()
        if key not in _NOT_COPIED
    }
    labels = endpoints.metadata.labels | {
        SERVICE_NAME_LABEL: endpoints.metadata.name,
        MANAGED_BY_LABEL: CONTROLLER,
    }
    wanted = [
        replace(each, metadata=replace(each.metadata, labels=labels, annotations=annotations))
        for each in slices_of(endpoints.metadata, subsets)
    ]
    told = f"{skipped} addresses are not mirrored: the limit is {most} per subset"
    return wanted, (told,) if skipped else ()


def _cut(subset: EndpointSubset, most: int) -> EndpointSubset:
    ready = subset.addresses[:most]
    return replace(
        subset,
        addresses=ready,
        not_ready_addresses=subset.not_ready_addresses[: most - len(ready)],
    )


def _size(subset: EndpointSubset) -> int:
    return len(subset.addresses) + len(subset.not_ready_addresses)
