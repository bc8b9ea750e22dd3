"""The Endpoints controller: makes the single object (v1) that slices have replaced.

Source: pkg/controller/endpoint/endpoints_controller.go and pkg/api/v1/endpoints/util.go, v1.36
"""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil

from msgspec.structs import replace

from kproxy.api.repack import Offers, packed
from kproxy.api.types import (
    HEADLESS_LABEL,
    EndpointAddress,
    EndpointPort,
    Endpoints,
    EndpointSubset,
    Metadata,
    Pod,
    Service,
)
from kproxy.controlplane import members

CONTROLLER = "endpoint-controller"
MANAGED_BY_LABEL = "endpoints.kubernetes.io/managed-by"
OVER_CAPACITY = "endpoints.kubernetes.io/over-capacity"
MOST_ADDRESSES = 1000


def endpoints_for(
    service: Service, pods: Iterable[Pod], *, most: int = MOST_ADDRESSES
) -> Endpoints | None:
    """Return the Endpoints of the Service's Pods in its first family; None without a selector.

    Above `most` addresses it is truncated, and an annotation says so. Terminating Pods are in it
    only with `publishNotReadyAddresses`.
    """
    if not members.has_controller(service):
        return None
    subsets = packed(_offers(service, members.selected(service, pods)))
    kept = _truncated(subsets, most)
    labels = service.metadata.labels | {MANAGED_BY_LABEL: CONTROLLER}
    labels.pop(HEADLESS_LABEL, None)
    if members.is_headless(service):
        labels[HEADLESS_LABEL] = ""
    return Endpoints(
        metadata=Metadata(
            name=service.metadata.name,
            namespace=service.metadata.namespace,
            labels=labels,
            annotations={} if kept is subsets else {OVER_CAPACITY: "truncated"},
        ),
        subsets=kept,
    )


def is_refused(made: Endpoints) -> bool:
    """Tell whether the API server refuses what the controller makes: an address without a node.

    So the object stays as it was; there is none if there was none.
    """
    return any(
        address.node_name == ""
        for subset in made.subsets
        for address in (*subset.addresses, *subset.not_ready_addresses)
    )


def _offers(service: Service, pods: Iterable[Pod]) -> Offers:
    """Return the addresses of the Pods that are endpoints, by port."""
    publish = service.spec.publish_not_ready_addresses
    family = members.families(service)[0]
    offers: dict[EndpointPort | None, dict[EndpointAddress, bool]] = {}
    for pod in pods:
        if members.is_terminal(pod) or (members.is_terminating(pod) and not publish):
            continue
        ready = publish or members.is_ready(pod)
        ports = members.endpoint_ports(service, pod) if service.spec.ports else (None,)
        for ip in members.addresses(pod, family)[:1]:
            address = EndpointAddress(
                ip=ip,
                hostname=members.hostname(service, pod),
                node_name=pod.spec.node_name,
                target_ref=members.reference(pod),
            )
            for port in ports:
                offers.setdefault(port, {})[address] = ready
    return offers


def _truncated(subsets: tuple[EndpointSubset, ...], most: int) -> tuple[EndpointSubset, ...]:
    """Return at most `most` addresses, ready ones first; `subsets` itself if they are not more.

    Each subset gets its share, rounded up, so the last subset may get less. Its first addresses are
    kept, in the order of their texts: 10.0.0.10 before 10.0.0.9.
    """
    ready = sum(len(each.addresses) for each in subsets)
    not_ready = sum(len(each.not_ready_addresses) for each in subsets)
    if ready + not_ready <= most:
        return subsets
    cut_ready = ready > most
    total, spare = (ready, most) if cut_ready else (not_ready, most - ready)
    kept, room = [], spare
    for subset in subsets:
        part = subset.addresses if cut_ready else subset.not_ready_addresses
        part = part[: min(ceil(len(part) / total * spare), room)]
        room -= len(part)
        if cut_ready:
            kept.append(replace(subset, addresses=part, not_ready_addresses=()))
        else:
            kept.append(replace(subset, not_ready_addresses=part))
    return tuple(kept)
