"""The Endpoints controller: makes the single object (v1) that slices have replaced.

Source: pkg/controller/endpoint/endpoints_controller.go and pkg/api/v1/endpoints/util.go, v1.36
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from math import ceil

from msgspec.structs import replace

from kproxy.api.types import (
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
    found = _found(service, members.selected(service, pods))
    subsets = _subsets(found, without_ports=not service.spec.ports)
    kept = _truncated(subsets, most)
    labels = service.metadata.labels | {MANAGED_BY_LABEL: CONTROLLER}
    if members.is_headless(service):
        labels[members.HEADLESS_LABEL] = ""
    return Endpoints(
        metadata=Metadata(
            name=service.metadata.name,
            namespace=service.metadata.namespace,
            labels=labels,
            annotations={} if kept is subsets else {OVER_CAPACITY: "truncated"},
        ),
        subsets=tuple(kept),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    address: EndpointAddress
    ready: bool
    ports: tuple[EndpointPort, ...]


def _found(service: Service, pods: Iterable[Pod]) -> list[_Found]:
    publish = service.spec.publish_not_ready_addresses
    family = members.families(service)[0]
    found = []
    for pod in pods:
        if members.is_terminal(pod) or (members.is_terminating(pod) and not publish):
            continue
        for ip in members.addresses(pod, family)[:1]:
            address = EndpointAddress(
                ip=ip,
                hostname=members.hostname(service, pod),
                node_name=pod.spec.node_name,
                target_ref=members.reference(pod),
            )
            ready = publish or members.is_ready(pod)
            ports = members.endpoint_ports(service, pod)
            found.append(_Found(address=address, ready=ready, ports=ports))
    return sorted(found, key=lambda each: (ip_address(each.address.ip), _name(each.address)))


def _name(address: EndpointAddress) -> str:
    return address.target_ref.name if address.target_ref else ""


def _subsets(found: Sequence[_Found], *, without_ports: bool) -> list[EndpointSubset]:
    """Return subsets: ports that the same Pods offer share one; a Pod may be in several."""
    offers: dict[EndpointPort | None, list[int]] = {}
    for i, each in enumerate(found):
        for port in (None,) if without_ports else each.ports:
            offers.setdefault(port, []).append(i)
    shared: dict[tuple[int, ...], list[EndpointPort]] = {}
    for port, who in offers.items():
        shared.setdefault(tuple(who), []).extend([port] if port else [])
    subsets = [
        EndpointSubset(
            addresses=tuple(found[i].address for i in who if found[i].ready),
            not_ready_addresses=tuple(found[i].address for i in who if not found[i].ready),
            ports=tuple(sorted(ports, key=_order)),
        )
        for who, ports in shared.items()
    ]
    return sorted(subsets, key=lambda each: [_order(port) for port in each.ports])


def _order(port: EndpointPort) -> tuple[str, str, int]:
    return port.name, port.protocol, port.port or 0


def _truncated(subsets: list[EndpointSubset], most: int) -> list[EndpointSubset]:
    """Return at most `most` addresses, ready ones first; `subsets` itself if they are not more.

    Each subset gets its share, rounded up, so the last subset may get less.
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
    return kept
