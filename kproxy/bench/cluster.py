"""A cluster of any size for measurements: plain Services with one port and one slice each."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from kproxy.address import Family
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

NODE = "node-0"
CLUSTER_IPS = "10.96.0.0/12"  # of all Services
CLUSTER_CIDR = "10.128.0.0/9"  # all endpoints, including those added later
MOST_SERVICES = 60_000
MOST_ENDPOINTS = 50  # of each Service
MOST_CHANGES = 30_000  # of each kind
SERVICE_PORT = 80
ENDPOINT_PORT = 8080

_FAMILIES = (Family.IPV4,)
_READY = EndpointConditions(ready=True, serving=True, terminating=False)
_PORTS = (EndpointPort(name="http", port=ENDPOINT_PORT),)


def objects(services: int, endpoints: int) -> Iterator[KubernetesObject]:
    """Yield `services` Services and their slices with `endpoints` endpoints each."""
    for number in range(services):
        yield Service(
            metadata=Metadata(name=f"svc-{number}"),
            spec=ServiceSpec(
                cluster_ip=(ip := cluster_ip(number)),
                cluster_ips=(ip,),
                ip_families=_FAMILIES,
                ports=(ServicePort(name="http", port=SERVICE_PORT),),
            ),
        )
        yield endpoint_slice(number, endpoints)


def cluster_ip(number: int) -> str:
    """Return the cluster IP of Service `number`."""
    return f"10.96.{number // 250}.{number % 250 + 1}"


def endpoint_address(number: int) -> str:
    """Return the address of endpoint `number` of all, in 10.128.0.0/10."""
    high, low = divmod(number, 250)
    return f"10.{128 + high // 250}.{high % 250}.{low + 1}"


def endpoint_slice(number: int, endpoints: int) -> EndpointSlice:
    """Return the slice of Service `number`."""
    first = number * endpoints
    return EndpointSlice(
        metadata=Metadata(name=f"svc-{number}-1", labels={SERVICE_NAME_LABEL: f"svc-{number}"}),
        address_type="IPv4",
        ports=_PORTS,
        endpoints=tuple(_endpoint(first + index) for index in range(endpoints)),
    )


def with_another_endpoint(former: EndpointSlice, number: int) -> EndpointSlice:
    """Return the slice with its last endpoint replaced by a new one."""
    return replace(former, endpoints=(*former.endpoints[:-1], _later_endpoint(number)))


def with_one_endpoint_more(former: EndpointSlice, number: int) -> EndpointSlice:
    """Return the slice with a new endpoint added."""
    return replace(former, endpoints=(*former.endpoints, _later_endpoint(number)))


def with_one_endpoint_less(former: EndpointSlice) -> EndpointSlice:
    """Return the slice without its first endpoint."""
    return replace(former, endpoints=former.endpoints[1:])


def _endpoint(number: int) -> Endpoint:
    return Endpoint(
        addresses=(endpoint_address(number),),
        conditions=_READY,
        node_name=f"node-{number // 250 % 100}",
    )


def _later_endpoint(number: int) -> Endpoint:
    """Return an endpoint with an unused address; there are enough for two times MOST_CHANGES."""
    return Endpoint(
        addresses=(f"10.255.{number // 250}.{number % 250 + 1}",),
        conditions=_READY,
        node_name=NODE,
    )
