"""An edge, a Service and its slices, for tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kproxy.address import Family, family_of
from kproxy.api.types import (
    Endpoint,
    EndpointConditions,
    EndpointPort,
    EndpointSlice,
    LoadBalancerIngress,
    LoadBalancerStatus,
    Metadata,
    Service,
    ServicePort,
    ServiceSpec,
    ServiceStatus,
)
from kproxy.edge.annotations import BalancerClass
from kproxy.edge.listeners import CheckTimes, Edge, Place

V4, V6 = Family.IPV4, Family.IPV6
TIMES = CheckTimes(interval_s=1.0, timeout_s=0.5, threshold=2)
NODES = {
    f"node-{name}": {V4: f"192.168.10.{number}", V6: f"fd00:192::{number}"}
    for name, number in (("a", 11), ("b", 12), ("c", 13))
}
PORTS = (ServicePort(name="http", port=80, target_port=8080, node_port=30080),)


def place(name: str, kind: BalancerClass, number: int) -> Place:
    public = {V4: f"203.0.113.{number}", V6: f"2001:db8:203::{number}"}
    own = {V4: f"192.168.20.{number}", V6: f"fd00:192:20::{number}"}
    return Place(
        name=name, kind=kind, address=public if kind is BalancerClass.DNAT else own, public=public
    )


LB = place("lb", BalancerClass.SHARED, 11)
LB2 = place("lb-2", BalancerClass.SHARED, 12)
ELB = place("elb", BalancerClass.DEDICATED, 13)
DNAT = place("dnat", BalancerClass.DNAT, 200)


def edge(*places: Place, reaches_pods: bool = False, passes_through_local: bool = False) -> Edge:
    return Edge(
        places=places or (LB, LB2, ELB, DNAT),
        nodes=NODES,
        reaches_pods=reaches_pods,
        passes_through_local=passes_through_local,
        times=TIMES,
    )


def service(
    name: str = "web",
    *,
    families: tuple[Family, ...] = (V4,),
    annotations: Mapping[str, str] | None = None,
    ingress: tuple[LoadBalancerIngress, ...] = (),
    **spec: Any,
) -> Service:
    fields: dict[str, Any] = {"type": "LoadBalancer", "ports": PORTS}
    return Service(
        metadata=Metadata(name=name, annotations=dict(annotations or {})),
        spec=ServiceSpec(ip_families=tuple(families), **(fields | spec)),
        status=ServiceStatus(load_balancer=LoadBalancerStatus(ingress=ingress)),
    )


def slice_of(
    pods: Mapping[str, str], *, unready: tuple[str, ...] = (), port: EndpointPort | None = None
) -> EndpointSlice:
    """Return the slice of the Service `web`. `pods`: address -> node."""
    return EndpointSlice(
        metadata=Metadata(name="web"),
        address_type=family_of(next(iter(pods), "")).value,
        ports=(port or EndpointPort(name="http", port=8080),),
        endpoints=tuple(
            Endpoint(
                addresses=(address,),
                node_name=node,
                conditions=EndpointConditions(ready=address not in unready),
            )
            for address, node in pods.items()
        ),
    )
