"""Hints: which zones and nodes an endpoint is meant for.

With `spec.trafficDistribution` every endpoint is for its own zone (and node). With the annotation
`service.kubernetes.io/topology-mode: Auto` endpoints are for zones in proportion to their nodes'
CPUs, and there are no hints at all if some endpoint would have 20 % more than its share.
Source: k8s.io/endpointslice topologycache and trafficdist, v1.36
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import ceil

from msgspec.structs import replace

from kproxy.api.checks import ZONE_LABEL
from kproxy.api.quantities import milli_units
from kproxy.api.types import Endpoint, EndpointHints, EndpointSlice, NamedHint, Node, Service
from kproxy.controlplane.packing import Packing

TOPOLOGY_MODE = "service.kubernetes.io/topology-mode"
TOPOLOGY_AWARE_HINTS = "service.kubernetes.io/topology-aware-hints"  # deprecated; it has precedence
OVERLOAD_THRESHOLD = 0.2

# Reasons against hints of mode Auto, as events of Kubernetes name them.
NODES_UNKNOWN = (
    "Insufficient Node information: allocatable CPU or zone not specified on one or more nodes"
)
TOO_FEW_ENDPOINTS = "Insufficient number of endpoints"
OVERLOAD = (
    "Unable to allocate minimum required endpoints to each zone without exceeding overload"
    " threshold"
)
NO_ZONE = "One or more endpoints do not have a zone specified"

_NOT_COUNTED = ("node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master")


def hinted(packing: Packing, service: Service, nodes: Iterable[Node]) -> tuple[Packing, str]:
    """Return the slices of one family with their hints, and why mode Auto gives none.

    Slices of which only hints change become updates. The text is "" if hints are in force, or if
    mode Auto was not requested.
    """
    if mode_is_auto(service):
        return _auto(packing, cpu_ratios(nodes))
    match service.spec.traffic_distribution:
        case None:
            return _each(packing, _without), ""
        case "PreferSameNode":
            return _each(packing, _for_own_node), ""
        case _:  # PreferClose is the former name of PreferSameZone
            return _each(packing, _for_own_zone), ""


def mode_is_auto(service: Service) -> bool:
    annotations = service.metadata.annotations
    return annotations.get(TOPOLOGY_AWARE_HINTS, annotations.get(TOPOLOGY_MODE)) in ("Auto", "auto")


def cpu_ratios(nodes: Iterable[Node]) -> dict[str, float]:
    """Return each zone's share of the CPUs of all ready nodes outside the control plane.

    It is empty if zone or CPUs of one of them are unknown, or if there is only one zone. A Node
    without the condition Ready is not ready.
    """
    cpus: Counter[str] = Counter()
    for node in nodes:
        if not _is_ready(node) or any(label in node.metadata.labels for label in _NOT_COUNTED):
            continue
        zone = node.metadata.labels.get(ZONE_LABEL)
        cpu = milli_units(node.status.allocatable.cpu)
        if not zone or not cpu:
            return {}
        cpus[zone] += cpu
    if len(cpus) < 2:
        return {}
    return {zone: cpus[zone] / cpus.total() for zone in sorted(cpus)}


# --- trafficDistribution -------------------------------------------------------------------------


def _without(endpoint: Endpoint) -> Endpoint:
    return endpoint if endpoint.hints is None else replace(endpoint, hints=None)


def _for_own_zone(endpoint: Endpoint) -> Endpoint:
    return _for(endpoint, zone=endpoint.zone)


def _for_own_node(endpoint: Endpoint) -> Endpoint:
    return _for(endpoint, zone=endpoint.zone, node=endpoint.node_name)


def _for(endpoint: Endpoint, *, zone: str | None, node: str | None = None) -> Endpoint:
    """Return a ready endpoint with hints; one that is not ready is returned as it is."""
    if not endpoint.conditions.ready:
        return endpoint
    hints = EndpointHints(
        for_zones=(NamedHint(name=zone),) if zone else (),
        for_nodes=(NamedHint(name=node),) if node else (),
    )
    return replace(endpoint, hints=hints if zone or node else None)


def _each(packing: Packing, edit: Callable[[Endpoint], Endpoint]) -> Packing:
    return _changed(
        packing,
        {
            id(each): replace(each, endpoints=tuple(edit(endpoint) for endpoint in each.endpoints))
            for each in _present(packing)
        },
    )


# --- mode Auto -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Share:
    """The numbers of endpoints that a zone needs, may have, and should have."""

    minimum: int
    maximum: int
    desired: float


def _auto(packing: Packing, ratios: Mapping[str, float]) -> tuple[Packing, str]:
    count = sum(1 for each in _present(packing) for _ in _ready(each))
    shares, problem = _shares(ratios, count)
    if not problem and any(not e.zone for each in _present(packing) for e in _ready(each)):
        problem = NO_ZONE
    if problem:
        return _each(packing, _without), problem
    allocated: Counter[str] = Counter()
    redone = [*packing.create, *packing.update]
    for each in packing.unchanged:
        if (found := _valid_hints(each, allocated, shares)) is None:
            redone.append(each)
        else:
            allocated += found
    allocated.update(e.zone or "" for each in redone for e in _ready(each))
    giving, receiving = _exchange(shares, allocated)
    edited = {id(each): _redistributed(each, giving, receiving) for each in redone}
    return _changed(packing, edited), ""


def _shares(ratios: Mapping[str, float], count: int) -> tuple[dict[str, _Share], str]:
    """Return shares by zone, or why there are none."""
    if not ratios:
        return {}, NODES_UNKNOWN
    counts = f"({count} endpoints, {len(ratios)} zones)"
    if len(ratios) > count:
        return {}, f"{TOO_FEW_ENDPOINTS} {counts}"
    # Written like this because it is rounded up, and 1 / 1.2 is a little more than five sixths.
    least = {
        zone: ceil(ratio * count * (1 / (1 + OVERLOAD_THRESHOLD))) for zone, ratio in ratios.items()
    }
    spare = count - sum(least.values())
    if spare < 0:
        return {}, f"{OVERLOAD} {counts}"
    return {
        zone: _Share(
            minimum=least[zone],
            maximum=least[zone] + spare,
            desired=max(ratio * count, least[zone]),
        )
        for zone, ratio in ratios.items()
    }, ""


def _valid_hints(
    endpoint_slice: EndpointSlice, allocated: Counter[str], shares: Mapping[str, _Share]
) -> Counter[str] | None:
    """Return a slice's hints by zone; None if one is missing or useless, or a zone has too many."""
    found: Counter[str] = Counter()
    for endpoint in _ready(endpoint_slice):
        if endpoint.hints is None or not endpoint.hints.for_zones:
            return None
        found.update(zone.name for zone in endpoint.hints.for_zones)
    for zone, count in found.items():
        if zone not in shares or count + allocated[zone] > shares[zone].maximum:
            return None
    return found


def _exchange(
    shares: Mapping[str, _Share], allocated: Mapping[str, int]
) -> tuple[Counter[str], Counter[str]]:
    """Return how many endpoints each zone gives and receives. Ties go to the first zone."""
    surplus = {zone: allocated[zone] - share.desired for zone, share in shares.items()}
    need = {zone: -number for zone, number in surplus.items()}
    giving: Counter[str] = Counter()
    receiving: Counter[str] = Counter()
    while True:
        giver, receiver = max(surplus, key=surplus.__getitem__), max(need, key=need.__getitem__)
        gives, receives = surplus[giver], need[receiver]
        if max(gives, receives) < 1 or min(gives, receives) < 0.5:
            return giving, receiving
        giving[giver] += 1
        surplus[giver] -= 1
        receiving[receiver] += 1
        need[receiver] -= 1


def _redistributed(
    endpoint_slice: EndpointSlice, giving: Counter[str], receiving: Counter[str]
) -> EndpointSlice:
    """Return the slice with new hints, and lower the numbers to give and to receive.

    An endpoint is for its own zone, unless that zone has endpoints to give.
    """
    edited = []
    for endpoint in endpoint_slice.endpoints:
        if not endpoint.conditions.ready:
            edited.append(_without(endpoint))
            continue
        zone = endpoint.zone or ""
        receiver = next((each for each in sorted(receiving) if receiving[each]), "")
        if giving[zone] and receiver:
            giving[zone] -= 1
            receiving[receiver] -= 1
            zone = receiver
        edited.append(_for(endpoint, zone=zone))
    return replace(endpoint_slice, endpoints=tuple(edited))


# --- slices --------------------------------------------------------------------------------------


def _present(packing: Packing) -> tuple[EndpointSlice, ...]:
    return packing.create + packing.update + packing.unchanged


def _ready(endpoint_slice: EndpointSlice) -> Iterable[Endpoint]:
    return (each for each in endpoint_slice.endpoints if each.conditions.ready)


def _changed(packing: Packing, edited: Mapping[int, EndpointSlice]) -> Packing:
    """Return the packing with slices replaced by `edited` (by `id` of the slice before).

    An edited slice that equals the former one counts as unchanged.
    """

    def after(each: EndpointSlice) -> EndpointSlice:
        return edited.get(id(each), each)

    return Packing(
        create=tuple(after(each) for each in packing.create),
        update=(
            *(after(each) for each in packing.update),
            *(after(each) for each in packing.unchanged if after(each) != each),
        ),
        delete=packing.delete,
        unchanged=tuple(each for each in packing.unchanged if after(each) == each),
    )


def _is_ready(node: Node) -> bool:
    return any(each.type == "Ready" and each.status == "True" for each in node.status.conditions)
