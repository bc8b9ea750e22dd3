"""A cluster of any size for measurements: plain Services of one port, a slice each."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from kproxy.api.types import (
    Endpoint,
    EndpointConditions,
    EndpointPort,
    EndpointSlice,
    KubernetesObject,
    Metadata,
    Service,
    ServicePort,
    ServiceSpec,
)
from kproxy.store import SERVICE_NAME_LABEL

_READY = EndpointConditions(ready=True, serving=True, terminating=False)
_PORTS = (EndpointPort(name="http", port=8080),)


def objects(services: int, endpoints: int) -> Iterator[KubernetesObject]:
    """`services` Services (at most 65,000) and their slices of `endpoints` endpoints each."""
    for number in range(services):
        yield Service(
            metadata=Metadata(name=f"svc-{number}"),
            spec=ServiceSpec(
                cluster_ip=(ip := f"10.96.{number // 250}.{number % 250 + 1}"),
                cluster_ips=(ip,),
                ip_families=("IPv4",),
                ports=(ServicePort(name="http", port=80),),
            ),
        )
        yield endpoint_slice(number, endpoints)


def endpoint_slice(number: int, endpoints: int) -> EndpointSlice:
    """The slice of Service `number`."""
    first = number * endpoints
    return EndpointSlice(
        metadata=Metadata(name=f"svc-{number}-1", labels={SERVICE_NAME_LABEL: f"svc-{number}"}),
        address_type="IPv4",
        ports=_PORTS,
        endpoints=tuple(_endpoint(first + index) for index in range(endpoints)),
    )


def with_another_endpoint(former: EndpointSlice, number: int) -> EndpointSlice:
    """The slice with its last endpoint replaced by one that was not there before."""
    fresh = Endpoint(
        addresses=(f"10.255.{number // 250}.{number % 250 + 1}",),
        conditions=_READY,
        node_name="node-0",
    )
    return replace(former, endpoints=(*former.endpoints[:-1], fresh))


def _endpoint(number: int) -> Endpoint:
    high, low = divmod(number, 250)
    return Endpoint(
        addresses=(f"10.{128 + high // 250}.{high % 250}.{low + 1}",),
        conditions=_READY,
        node_name=f"node-{high % 100}",
    )
