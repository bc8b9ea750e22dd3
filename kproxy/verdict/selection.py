"""Sentences about endpoints that readiness and hints leave to choose from. Pure.

The plan has only the result; this words how it came about.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from kproxy.forwarding.endpoints import TopologyMode, topology_mode
from kproxy.forwarding.plan import Endpoint, Frontend, NodeSettings, Pool, ServicePlan


def selection(
    service: ServicePlan,
    frontend: Frontend,
    by_port: Mapping[tuple[str, str], Sequence[Endpoint]],
    settings: NodeSettings,
    used: frozenset[str],
) -> Iterator[str]:
    """Yield why a new client gets only `used` of the endpoints that are known, or none of them.

    `by_port`: those of the Service by port name and protocol, as EndpointSlices have them.
    """
    port = (service.name.port, service.protocol)
    known = by_port.get(port, ())
    ready = [each for each in known if each.ready]
    chosen = [each for each in known if str(each) in used]
    if by_port and port not in by_port and not used:
        others = ", ".join(map(_named, sorted(by_port)))
        yield f"its EndpointSlices have the ports {others}, and not {_named(port)}"
    elif known and not used and not service.has_endpoints:
        yield f"{service.name} has endpoints, {len(known)} of them, but none is ready"
    elif chosen and not any(each.ready for each in chosen):
        where = "" if used == _texts(service.cluster) else f" on {settings.node_name}"
        yield f"none of its endpoints{where} is ready: used are those that still serve as they end"
    elif used == _texts(service.cluster) and len(used) < len(ready):
        if frontend.pool is Pool.LOCAL and service.cluster == service.local:
            return  # by policy, whatever the hints are
        what = {
            TopologyMode.SAME_NODE: f"node {settings.node_name} (forNodes)",
            TopologyMode.SAME_ZONE: f"zone {settings.zone} (forZones)",
        }.get(topology_mode(ready, settings))
        if what:
            yield f"of {len(ready)} ready endpoints, only those that hints give to {what} are used"


def _named(port: tuple[str, str]) -> str:
    name, protocol = port
    return f"{name or '(no name)'}/{protocol}"


def _texts(endpoints: Sequence[Endpoint]) -> frozenset[str]:
    return frozenset(map(str, endpoints))
