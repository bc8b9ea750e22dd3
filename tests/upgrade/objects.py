"""EndpointSlices in short."""

from __future__ import annotations

from kproxy.api.types import (
    Endpoint,
    EndpointConditions,
    EndpointPort,
    EndpointSlice,
    Metadata,
    Service,
)
from kproxy.store import SERVICE_NAME_LABEL


def endpoints(of: Service, *places: str) -> list[EndpointSlice]:
    """Return the IPv4 slice of a Service; each place is `NODE ADDRESS`."""
    listed = [place.split() for place in places]
    return [
        EndpointSlice(
            metadata=Metadata(
                name=f"{of.metadata.name}-1",
                namespace=of.metadata.namespace,
                labels={SERVICE_NAME_LABEL: of.metadata.name},
            ),
            address_type="IPv4",
            ports=tuple(
                EndpointPort(name=port.name, protocol=port.protocol, port=8080)
                for port in of.spec.ports
            ),
            endpoints=tuple(
                Endpoint(
                    addresses=(address,),
                    node_name=node,
                    conditions=EndpointConditions(ready=True),
                )
                for node, address in listed
            ),
        )
    ]
