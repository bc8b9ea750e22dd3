"""Endpoints (v1) read as EndpointSlices, as Kubernetes' mirroring controller would write them."""

from __future__ import annotations

from kproxy.address import Family, family_of
from kproxy.api.types import (
    SERVICE_NAME_LABEL,
    Endpoint,
    EndpointConditions,
    Endpoints,
    EndpointSlice,
    Metadata,
)


def mirror(endpoints: Endpoints) -> list[EndpointSlice]:
    """Return one slice for each subset and address family that has addresses.

    Source: https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/#endpointslice-mirroring
    """
    meta = endpoints.metadata
    slices = []
    for number, subset in enumerate(endpoints.subsets):
        families: dict[Family, list[Endpoint]] = {family: [] for family in Family}
        for ready, addresses in ((True, subset.addresses), (False, subset.not_ready_addresses)):
            for address in addresses:
                families[family_of(address.ip)].append(
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
                address_type=family.value,
                endpoints=tuple(members),
                ports=subset.ports,
            )
            for family, members in families.items()
            if members
        ]
    return slices
