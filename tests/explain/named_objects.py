"""Objects with addresses."""

from __future__ import annotations

from kproxy.api.base_types import Metadata
from kproxy.api.types import (
    LoadBalancerIngress,
    LoadBalancerStatus,
    Node,
    NodeAddress,
    NodeStatus,
    Pod,
    PodIP,
    PodStatus,
    Service,
    ServicePort,
    ServiceSpec,
    ServiceStatus,
)


def service(
    name: str,
    addresses: list[str],
    port: ServicePort,
    *,
    namespace: str = "default",
    external: tuple[str, ...] = (),
    balancer: str = "",
) -> Service:
    ingress = (LoadBalancerIngress(ip=balancer),) if balancer else ()
    return Service(
        metadata=Metadata(name=name, namespace=namespace),
        spec=ServiceSpec(cluster_ips=tuple(addresses), ports=(port,), external_ips=external),
        status=ServiceStatus(load_balancer=LoadBalancerStatus(ingress=ingress)),
    )


def pod(name: str, *addresses: str, phase: str = "Running") -> Pod:
    return Pod(
        metadata=Metadata(name=name, namespace="default"),
        status=PodStatus(pod_ips=tuple(PodIP(ip=each) for each in addresses), phase=phase),
    )


def node(name: str, address: str) -> Node:
    addresses = (NodeAddress(type="InternalIP", address=address),)
    return Node(metadata=Metadata(name=name), status=NodeStatus(addresses=addresses))
