"""The endpoints of a service port from EndpointSlices, and the selection of those to use.

Source: kube-proxy endpointslicecache.go, topology.go (CategorizeEndpoints, topologyModeFromHints).
"""

from __future__ import annotations

import enum
from collections.abc import Iterable

from msgspec import Struct

from kproxy.address import Family
from kproxy.api.checks import MAX_PORT
from kproxy.api.types import HEADLESS_LABEL, EndpointSlice
from kproxy.api.types import Endpoint as SliceEndpoint
from kproxy.forwarding.plan import Endpoint, NodeSettings


class Pools(Struct, frozen=True, gc=False):
    """The result of `categorize`: see the fields of the same names in `ServicePlan`."""

    cluster: tuple[Endpoint, ...] = ()
    local: tuple[Endpoint, ...] = ()
    reachable: tuple[Endpoint, ...] = ()
    has_endpoints: bool = False


_TEXTS = {Family.IPV4: "%s:%d", Family.IPV6: "[%s]:%d"}  # as str(Endpoint)


class TopologyMode(enum.Enum):
    ANYWHERE = "anywhere"
    SAME_ZONE = "PreferSameZone"
    SAME_NODE = "PreferSameNode"


def endpoints_of(
    slices: Iterable[EndpointSlice], settings: NodeSettings
) -> dict[tuple[str, str], list[Endpoint]]:
    """Return endpoints by (port name, protocol), sorted by their text, without duplicates.

    Of two with the same address and port, one that is not terminating wins, else the later.
    """
    # Most of a cold start is spent here, so few functions are called per endpoint.
    found: dict[tuple[str, str], dict[str, Endpoint]] = {}
    address_type, text = settings.family.value, _TEXTS[settings.family]
    for endpoint_slice in slices:
        if endpoint_slice.address_type != address_type:
            continue
        if HEADLESS_LABEL in endpoint_slice.metadata.labels:  # kube-proxy does not watch them
            continue
        for port in endpoint_slice.ports:
            number, node_name = port.port or 0, settings.node_name
            if not 0 < number <= MAX_PORT:
                continue
            members = found.setdefault((port.name, port.protocol), {})
            for entry in endpoint_slice.endpoints:
                if not entry.addresses:
                    continue
                key = text % (entry.addresses[0], number)
                if key not in members or entry.conditions.terminating is not True:
                    members[key] = _endpoint(entry, number, node_name)
    return {port: [members[key] for key in sorted(members)] for port, members in found.items()}


def categorize(
    endpoints: list[Endpoint], settings: NodeSettings, *, uses_cluster: bool, uses_local: bool
) -> Pools:
    """Return the endpoints of the cluster pool and of the local pool.

    A pool has ready endpoints or, if it has no ready one, those that are serving but terminating;
    this is decided per pool. Topology hints apply only to the cluster pool.
    """
    if not endpoints:
        return Pools()
    cluster: tuple[Endpoint, ...] = ()
    if uses_cluster:
        ready = [e for e in endpoints if e.ready]
        cluster = tuple(_nearest(ready, topology_mode(ready, settings), settings))
        if not cluster:
            cluster = tuple([e for e in endpoints if e.serving and e.terminating])
    if not uses_local:
        return Pools(cluster, (), cluster, bool(cluster))

    usable = any(e.ready or (e.serving and e.terminating) for e in endpoints)
    local = tuple(e for e in endpoints if e.local and e.ready)
    if not local:
        local = tuple(e for e in endpoints if e.local and e.serving and e.terminating)
    has_endpoints = usable or bool(cluster)
    if not uses_cluster:
        return Pools((), local, local, has_endpoints)
    extra = [e for e in local if e not in cluster]
    reachable = tuple(sorted((*cluster, *extra), key=str)) if extra else cluster
    return Pools(cluster, local, reachable, has_endpoints)


def topology_mode(ready: list[Endpoint], settings: NodeSettings) -> TopologyMode:
    """Return the mode to use: hints count only if all ready endpoints have them, one for here."""
    if not ready:
        return TopologyMode.ANYWHERE
    if all(e.node_hints for e in ready) and any(settings.node_name in e.node_hints for e in ready):
        return TopologyMode.SAME_NODE
    if (
        settings.zone
        and all(e.zone_hints for e in ready)
        and any(settings.zone in e.zone_hints for e in ready)
    ):
        return TopologyMode.SAME_ZONE
    return TopologyMode.ANYWHERE


def _nearest(
    endpoints: list[Endpoint], mode: TopologyMode, settings: NodeSettings
) -> list[Endpoint]:
    match mode:
        case TopologyMode.SAME_NODE:
            return [e for e in endpoints if settings.node_name in e.node_hints]
        case TopologyMode.SAME_ZONE:
            return [e for e in endpoints if settings.zone in e.zone_hints]
        case TopologyMode.ANYWHERE:
            return endpoints


def _endpoint(entry: SliceEndpoint, port: int, node_name: str) -> Endpoint:
    conditions = entry.conditions
    node = entry.node_name or ""
    hints = entry.hints
    return Endpoint(
        entry.addresses[0],
        port,
        node,
        bool(node) and node == node_name,
        conditions.ready is not False,
        conditions.serving is not False,
        conditions.terminating is True,
        tuple(hint.name for hint in hints.for_zones) if hints else (),
        tuple(hint.name for hint in hints.for_nodes) if hints else (),
    )
