"""A cluster of any size for measurements: plain Services with one port and one slice each.

Its addresses are of 10.0.0.0/8, 250 of each /24, in ranges that do not meet:

    10.96.0.0/12                     cluster IPs
    10.128.0.0/10 and 10.192.0.0/11  endpoints
    10.255.0.0/16                    endpoints added later
"""

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
from kproxy.errors import BadInput
from kproxy.store import SERVICE_NAME_LABEL

NODE = "node-0"
CLUSTER_IPS = "10.96.0.0/12"  # of all Services
CLUSTER_CIDR = "10.128.0.0/9"  # all endpoints, including those added later
ENDPOINTS = ("10.128.0.0/10", "10.192.0.0/11")
MOST_SERVICES = 1_000_000
MOST_ENDPOINTS = 50  # of each Service
MOST_ENDPOINTS_IN_ALL = 6_000_000
MOST_CHANGES = 30_000  # of each kind
SERVICE_PORT = 80
ENDPOINT_PORT = 8080

_OF_A_24 = 250  # addresses of each /24 that are used
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


def require_addresses(services: int, endpoints: int) -> None:
    """Raise BadInput if there are fewer addresses than endpoints of all Services."""
    wanted, most = services * endpoints, MOST_ENDPOINTS_IN_ALL
    if wanted > most:
        problem = f"--services {services} with --endpoints {endpoints}: {wanted:,} endpoints"
        reason = f"there are addresses for {most:,} in {' and '.join(ENDPOINTS)}"
        instead = f"for so many Services at most --endpoints {most // services}"
        raise BadInput([f"{problem}, but {reason}; {instead}"])


def cluster_ip(number: int) -> str:
    """Return the cluster IP of Service `number`."""
    return _address(96, number)


def endpoint_address(number: int) -> str:
    """Return the address of endpoint `number` of all."""
    return _address(128, number)


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
        node_name=f"node-{number // _OF_A_24 % 100}",
    )


def _later_endpoint(number: int) -> Endpoint:
    """Return an endpoint with an unused address; there are enough for two times MOST_CHANGES."""
    return Endpoint(
        addresses=(_address(255, number),),
        conditions=_READY,
        node_name=NODE,
    )


def _address(second: int, number: int) -> str:
    """Return address `number` of those from 10.SECOND.0.1 on."""
    network, host = divmod(number, _OF_A_24)
    return f"10.{second + network // 256}.{network % 256}.{host + 1}"
