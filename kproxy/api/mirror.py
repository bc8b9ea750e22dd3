"""Endpoints (v1) read as EndpointSlices, as Kubernetes' mirroring controller would write them."""

from __future__ import annotations

import ipaddress
from typing import Literal

from kproxy.api.types import (
    SERVICE_NAME_LABEL,
    Endpoint,
    EndpointAddress,
    EndpointConditions,
    Endpoints,
    EndpointSlice,
    Metadata,
)


def mirror(endpoints: Endpoints) -> list[EndpointSlice]:
    """One slice for each subset and address family that has addresses.

    Source: https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/#endpointslice-mirroring
    """
    meta = endpoints.metadata
    slices = []
    for number, subset in enumerate(endpoints.subsets):
        families: dict[Literal["IPv4", "IPv6"], list[Endpoint]] = {"IPv4": [], "IPv6": []}
        for ready, addresses in ((True, subset.addresses), (False, subset.not_ready_addresses)):
            for address in addresses:
                families[_family(address)].append(
                    Endpoint(
                        addresses=(address.ip,),
                        conditions=EndpointConditions(ready=ready),
                        hostname=address.hostname or None,
                        target_ref=address.target_ref,
                        node_name=address.node_name,
                    )
                )
        slices += [
            EndpointSlice(
                metadata=Metadata(
                    name=f"{meta.name}-mirror-{number}-{family.lower()}",
                    namespace=meta.namespace,
                    labels={SERVICE_NAME_LABEL: meta.name},
                ),
                address_type=family,
                endpoints=tuple(members),
                ports=subset.ports,
            )
            for family, members in families.items()
            if members
        ]
    return slices


def _family(address: EndpointAddress) -> Literal["IPv4", "IPv6"]:
    return "IPv6" if ipaddress.ip_address(address.ip).version == 6 else "IPv4"
