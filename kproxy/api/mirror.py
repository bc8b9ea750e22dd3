"""Endpoints (v1) read as EndpointSlices, as Kubernetes' mirroring controller would write them."""

from __future__ import annotations

from collections.abc import Iterable

from kproxy.address import Family, family_of
from kproxy.api.addresses import canonical_ip
from kproxy.api.repack import repacked
from kproxy.api.types import (
    SERVICE_NAME_LABEL,
    Endpoint,
    EndpointConditions,
    Endpoints,
    EndpointSlice,
    EndpointSubset,
    Metadata,
)


def mirror(endpoints: Endpoints) -> list[EndpointSlice]:
    """Return the slices that mirror `endpoints`.

    Source: https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/#endpointslice-mirroring
    """
    return slices_of(endpoints.metadata, repacked(endpoints.subsets))


def slices_of(meta: Metadata, subsets: Iterable[EndpointSubset]) -> list[EndpointSlice]:
    """Return one slice for each subset and address family that has addresses, made canonical."""
    slices = []
    for number, subset in enumerate(subsets):
        families: dict[Family, list[Endpoint]] = {family: [] for family in Family}
        for ready, addresses in ((True, subset.addresses), (False, subset.not_ready_addresses)):
            for address in addresses:
                ip = canonical_ip(address.ip)
                families[family_of(ip)].append(
                    Endpoint(
                        addresses=(ip,),
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
