"""The Service `kubernetes`, by which Pods find the API server.

What is deleted of it comes back, and changed endpoints are put right. A changed Service stays as it
is until the API server starts again.
Source: pkg/controlplane/controller/kubernetesservice and pkg/controlplane/reconcilers of Kubernetes
v1.36
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

from msgspec.structs import replace

from kproxy.address import family_of
from kproxy.api.addresses import parse_cidr
from kproxy.api.types import (
    SERVICE_NAME_LABEL,
    Endpoint,
    EndpointAddress,
    EndpointConditions,
    EndpointPort,
    Endpoints,
    EndpointSlice,
    EndpointSubset,
    KubernetesObject,
    Metadata,
    Service,
    ServicePort,
    ServiceSpec,
)
from kproxy.controlplane import members
from kproxy.controlplane.mirroring import SKIP_MIRROR_LABEL
from kproxy.controlplane.registry import Registry
from kproxy.errors import BadInput
from kproxy.store import object_key

NAME = "kubernetes"
PORT = 443


def api_service(
    service_cidrs: Sequence[str], addresses: Sequence[str], port: int
) -> list[KubernetesObject]:
    """Return the Service and its endpoints, which are `addresses` of the first range's family.

    Its cluster IP is the first of the first range.
    """
    network = parse_cidr(service_cidrs[0])
    if network is None:
        return []
    family = family_of(str(network.network_address))
    own = [each for each in addresses if family_of(each) is family]
    address = str(network.network_address + 1)
    target = EndpointPort(name="https", port=port, protocol="TCP")
    labels = {SERVICE_NAME_LABEL: NAME}
    ready = EndpointConditions(ready=True)
    return [
        Service(
            metadata=Metadata(
                name=NAME, labels={"component": "apiserver", "provider": "kubernetes"}
            ),
            spec=ServiceSpec(
                cluster_ip=address,
                cluster_ips=(address,),
                ports=(ServicePort(name="https", port=PORT, target_port=port, protocol="TCP"),),
            ),
        ),
        Endpoints(
            metadata=Metadata(name=NAME, labels={SKIP_MIRROR_LABEL: "true"}),
            subsets=(
                EndpointSubset(
                    addresses=tuple(EndpointAddress(ip=each) for each in own), ports=(target,)
                ),
            ),
        ),
        EndpointSlice(
            metadata=Metadata(name=NAME, labels=labels),
            address_type=family.value,
            endpoints=tuple(Endpoint(addresses=(each,), conditions=ready) for each in own),
            ports=(target,),
        ),
    ]


def restore(
    objects: Iterable[KubernetesObject],
    registry: Registry,
    write: Callable[[Iterable[KubernetesObject]], object],
) -> None:
    """Write those of the objects of `api_service` again that are no longer as they should be.

    One that `write` refuses with BadInput, because another Service has its address, is left out.
    """
    for each in objects:
        key = object_key(each)
        stored = registry.get(key)
        service = registry.service((key[1], key[2]))
        if stored is None:
            right = each
        elif service and members.has_controller(service):
            continue  # its endpoints are another controller's
        else:
            right = _corrected(each, stored)
        if right != stored:
            with suppress(BadInput):
                write([right])


def _corrected(wanted: KubernetesObject, stored: KubernetesObject) -> KubernetesObject:
    """Return stored endpoints as they should be, and anything else as it is."""
    metadata = stored.metadata
    metadata = replace(metadata, labels=metadata.labels | wanted.metadata.labels)
    match wanted, stored:
        case Endpoints(), Endpoints():
            return replace(stored, metadata=metadata, subsets=wanted.subsets)
        case EndpointSlice(), EndpointSlice():
            found = {"endpoints": wanted.endpoints, "ports": wanted.ports}
            return replace(stored, metadata=metadata, **found)
    return stored
