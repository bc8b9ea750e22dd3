"""The EndpointSlice controller: makes EndpointSlices of the Pods that a Service selects.

Pure: it is given what exists and returns what to change. It ignores slices that were written by
hand or mirrored.
Source: k8s.io/endpointslice reconciler.go (Reconcile) and utils.go, v1.36
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from random import Random

from msgspec.structs import replace

from kproxy.address import Family
from kproxy.api.checks import ZONE_LABEL
from kproxy.api.types import (
    HEADLESS_LABEL,
    SERVICE_NAME_LABEL,
    Endpoint,
    EndpointConditions,
    EndpointPort,
    EndpointSlice,
    Metadata,
    Node,
    Pod,
    Service,
)
from kproxy.controlplane import members
from kproxy.controlplane.hints import hinted, mode_is_auto
from kproxy.controlplane.packing import (
    MANAGED_BY_LABEL,
    RESERVED_LABELS,
    Packing,
    pack,
    recycled,
)

CONTROLLER = "endpointslice-controller.k8s.io"
MOST_ENDPOINTS = 100  # --max-endpoints-per-slice of kube-controller-manager

# Letters and digits that form no words, as the API server appends them to generateName.
# Source: k8s.io/apimachinery util/rand, k8s.io/apiserver storage/names
_SUFFIX_CHARACTERS = "bcdfghjklmnpqrstvwxz2456789"
_SUFFIX_LENGTH = 5
_MOST_CHARACTERS = 63


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """The slices to write, and warnings for users about what may surprise them."""

    create: tuple[EndpointSlice, ...] = ()
    update: tuple[EndpointSlice, ...] = ()
    delete: tuple[EndpointSlice, ...] = ()
    warnings: tuple[str, ...] = ()


def reconcile(
    service: Service,
    pods: Iterable[Pod],
    nodes: Iterable[Node],
    existing_slices: Iterable[EndpointSlice],
    *,
    random: Random,
    most: int = MOST_ENDPOINTS,
) -> Changes:
    """Return the changes that turn the slices of `service` into those of its Pods.

    A slice has at most `most` endpoints. Pods, nodes and slices of others are ignored. A Service
    without a selector, or of type ExternalName, has no changes. `random` makes the ends of new
    names. Each family has at least one slice, maybe an empty one. A Service that is being deleted
    gets no new slices.
    """
    if not members.has_controller(service):
        return Changes()
    pods = members.selected(service, pods)
    by_name = {node.metadata.name: node for node in nodes}
    own = [each for each in existing_slices if is_own(each, service)]
    families = members.families(service)
    packings, warnings = [], _warnings(service, pods, by_name)
    for family in families:
        old = [each for each in own if each.address_type == family]
        if not pods and not old and not mode_is_auto(service):
            packings.append(Packing(create=(_blank(service, family),)))  # as by the rest
            continue
        packing, problem = hinted(
            _packing(service, pods, by_name, old, family, most), service, by_name.values()
        )
        packings.append(recycled(packing))
        if problem:
            warnings.append(f"no topology hints for {family}: {problem}")
    create = [new for packing in packings for new in packing.create]
    if service.metadata.deletion_timestamp:
        create = []
    return Changes(
        create=_named(create, service, {each.metadata.name for each in own}, random),
        update=tuple(each for packing in packings for each in packing.update),
        delete=(
            *(each for packing in packings for each in packing.delete),
            *(each for each in own if each.address_type not in families),
        ),
        warnings=tuple(warnings),
    )


def is_own(endpoint_slice: EndpointSlice, service: Service) -> bool:
    """Tell whether the slice belongs to this Service and this controller."""
    meta = endpoint_slice.metadata
    return (
        meta.namespace == service.metadata.namespace
        and meta.labels.get(SERVICE_NAME_LABEL) == service.metadata.name
        and meta.labels.get(MANAGED_BY_LABEL) == CONTROLLER
    )


def _packing(
    service: Service,
    pods: Iterable[Pod],
    nodes: dict[str, Node],
    existing: Sequence[EndpointSlice],
    family: Family,
    most: int,
) -> Packing:
    """Pack one family. Pods that resolve a named port differently do not share a slice."""
    wanted: dict[frozenset[EndpointPort], list[Endpoint]] = {}
    ports_of: dict[frozenset[EndpointPort], tuple[EndpointPort, ...]] = {}
    for pod in pods:
        if not members.is_terminal(pod) and pod.status.pod_ips:
            ports = members.endpoint_ports(service, pod)
            group = wanted.setdefault(frozenset(ports), [])
            ports_of.setdefault(frozenset(ports), ports)
            addresses = members.addresses(pod, family)
            if addresses and not _lacks_node(service, pod, nodes):
                node = nodes.get(pod.spec.node_name)
                group.append(_endpoint(service, pod, node, addresses))
    slices: dict[frozenset[EndpointPort], list[EndpointSlice]] = {}
    for each in existing:
        slices.setdefault(frozenset(each.ports), []).append(each)
    placeholder = _blank(service, family)
    packings = [
        pack(
            slices.get(key, ()),
            endpoints,
            blank=replace(placeholder, ports=ports_of[key]),
            most=most,
        )
        for key, endpoints in wanted.items()
    ]
    create = tuple(each for packing in packings for each in packing.create)
    delete = (
        *(each for packing in packings for each in packing.delete),
        *(each for key, group in slices.items() if key not in wanted for each in group),
    )
    if not create and len(delete) == len(existing):
        if len(delete) == 1 and _alike(delete[0], placeholder):
            return Packing(unchanged=delete)
        create = (placeholder,)
    return Packing(
        create=create,
        update=tuple(each for packing in packings for each in packing.update),
        delete=delete,
        unchanged=tuple(each for packing in packings for each in packing.unchanged),
    )


def _endpoint(
    service: Service, pod: Pod, node: Node | None, addresses: tuple[str, ...]
) -> Endpoint:
    serving, terminating = members.is_ready(pod), members.is_terminating(pod)
    ready = service.spec.publish_not_ready_addresses or (serving and not terminating)
    return Endpoint(
        addresses=addresses,
        conditions=EndpointConditions(ready=ready, serving=serving, terminating=terminating),
        hostname=members.hostname(service, pod) or None,
        target_ref=members.reference(pod),
        node_name=pod.spec.node_name or None,
        zone=(node.metadata.labels.get(ZONE_LABEL) or None) if node else None,
    )


def _blank(service: Service, family: Family) -> EndpointSlice:
    """Return a slice without endpoints, ports and name, with the labels of the Service."""
    labels = {
        key: value for key, value in service.metadata.labels.items() if key not in RESERVED_LABELS
    }
    if members.is_headless(service):
        labels[HEADLESS_LABEL] = ""
    labels[SERVICE_NAME_LABEL] = service.metadata.name
    labels[MANAGED_BY_LABEL] = CONTROLLER
    metadata = Metadata(name="", namespace=service.metadata.namespace, labels=labels)
    return EndpointSlice(metadata=metadata, address_type=family.value)


def _alike(old: EndpointSlice, placeholder: EndpointSlice) -> bool:
    return (old.metadata.labels, old.endpoints, old.ports) == (
        placeholder.metadata.labels,
        placeholder.endpoints,
        placeholder.ports,
    )


def _named(
    slices: Iterable[EndpointSlice], service: Service, taken: set[str], random: Random
) -> tuple[EndpointSlice, ...]:
    prefix = f"{service.metadata.name}-"[: _MOST_CHARACTERS - _SUFFIX_LENGTH]
    named = []
    for each in slices:
        name = ""
        while not name or name in taken:
            name = prefix + "".join(random.choices(_SUFFIX_CHARACTERS, k=_SUFFIX_LENGTH))
        taken.add(name)
        named.append(replace(each, metadata=replace(each.metadata, name=name)))
    return tuple(named)


def _lacks_node(service: Service, pod: Pod, nodes: dict[str, Node]) -> bool:
    """Tell whether to leave out a Pod whose Node was deleted, as the Pod will be deleted too.

    With `publishNotReadyAddresses` it stays until then.
    """
    return pod.spec.node_name not in nodes and not service.spec.publish_not_ready_addresses


def _warnings(service: Service, pods: Sequence[Pod], nodes: dict[str, Node]) -> list[str]:
    if not pods:
        return ["spec.selector matches no Pod"]
    alive = [pod for pod in pods if not members.is_terminal(pod)]
    found = [
        f"spec.ports[{i}].targetPort: no selected Pod has a port named {port.target_port!r}"
        f" ({port.protocol})"
        for i, port in enumerate(service.spec.ports)
        if alive and not any(members.target_port(port, pod) for pod in alive)
    ]
    for pod in alive:
        if not pod.status.pod_ips:
            found.append(f"Pod {pod.metadata.name} has no IP address yet")
        elif _lacks_node(service, pod, nodes):
            name = pod.spec.node_name
            why = f"Node {name!r} does not exist" if name else "it has an address but no nodeName"
            found.append(f"Pod {pod.metadata.name} is left out: {why}")
    return found
