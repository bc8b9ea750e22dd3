"""Small Kubernetes objects."""

from __future__ import annotations

from kproxy.api.types import (
    Endpoint,
    EndpointPort,
    EndpointSlice,
    Metadata,
    Node,
    NodeSpec,
    Service,
    ServicePort,
    ServiceSpec,
)


def service(name: str, cluster_ip: str, port: int = 80) -> Service:
    return Service(
        metadata=Metadata(name=name),
        spec=ServiceSpec(
            cluster_ip=cluster_ip,
            cluster_ips=(cluster_ip,),
            ports=(ServicePort(name="http", port=port),),
        ),
    )


def endpoints(of: str, *addresses: str) -> EndpointSlice:
    return EndpointSlice(
        metadata=Metadata(name=f"{of}-1", labels={"kubernetes.io/service-name": of}),
        address_type="IPv4",
        endpoints=tuple(Endpoint(addresses=(address,)) for address in addresses),
        ports=(EndpointPort(name="http", port=8080),),
    )


def node(name: str = "node-a", zone: str = "zone-a", pod_cidr: str = "10.244.1.0/24") -> Node:
    return Node(
        metadata=Metadata(name=name, labels={"topology.kubernetes.io/zone": zone}),
        spec=NodeSpec(pod_cidr=pod_cidr, pod_cidrs=(pod_cidr,)),
    )


WEB = service("web", "10.96.0.1")
WEB_ELSEWHERE = service("web", "10.96.0.7")
WEB_SLICE = endpoints("web", "10.244.1.5", "10.244.2.5")
DNS = service("dns", "10.96.0.10", 53)
