"""The objects that the API server stores when a user creates or updates one.

A user's write changes no status, and keeps what the system has added unless it mentions it: the
Node of a Pod, its owner.
Source: pkg/apis/core/validation (ValidatePodUpdate), pkg/apis/apps/validation
(ValidateDeploymentUpdate) and the strategies in pkg/registry of Kubernetes
"""

from __future__ import annotations

from typing import TypeVar

from msgspec import Struct, to_builtins
from msgspec.structs import fields, replace

from kproxy.api.checks import altered
from kproxy.api.types import (
    Deployment,
    DeploymentStatus,
    Endpoints,
    EndpointSlice,
    EndpointSubset,
    IPAddress,
    KubernetesObject,
    Pod,
    PodSpec,
    PodStatus,
    Service,
    ServiceCIDR,
    ServiceStatus,
)
from kproxy.controlplane.deployments import replicas_of
from kproxy.controlplane.endpoint_validation import endpoints_problems, slice_problems
from kproxy.controlplane.field_errors import forbidden, invalid, refusal
from kproxy.controlplane.metadata_validation import metadata_problems, stored_metadata
from kproxy.controlplane.pod_spec_validation import POD_FIXED
from kproxy.controlplane.service_cidrs import ip_address, service_cidr

_T = TypeVar("_T", bound=KubernetesObject)


def stored(
    wanted: KubernetesObject, former: KubernetesObject | None, *, elsewhere: bool
) -> KubernetesObject:
    """Return the object to store, of any kind but Service, which needs to be admitted.

    Raises BadInput if it is invalid. `elsewhere` is for Pods.
    """
    match wanted, former:
        case Pod(), Pod() | None:
            return pod(wanted, former, elsewhere=elsewhere)
        case Deployment(), Deployment() | None:
            return deployment(wanted, former)
        case EndpointSlice(), EndpointSlice() | None:
            return endpoint_slice(wanted, former)
        case Endpoints(), Endpoints() | None:
            return endpoints(wanted, former)
        case ServiceCIDR(), ServiceCIDR() | None:
            return service_cidr(wanted, former)
        case IPAddress(), IPAddress() | None:
            return ip_address(wanted, former)
    return other(wanted, former)


def pod(wanted: Pod, former: Pod | None, *, elsewhere: bool) -> Pod:
    """Return the Pod to store. Raises BadInput if immutable fields change.

    A Pod that runs `elsewhere` takes status and deletion timestamp from its manifest.
    """
    _check_metadata(wanted, former)
    if former is None:
        status = wanted.status if elsewhere else PodStatus(phase="Pending")
        ended = wanted.metadata.deletion_timestamp if elsewhere else None
        metadata = altered(wanted.metadata, deletion_timestamp=ended)
        return altered(wanted, metadata=metadata, status=status)
    spec = altered(wanted.spec, node_name=wanted.spec.node_name or former.spec.node_name)
    if found := _fixed(spec, former.spec):
        raise refusal(wanted, [forbidden(each, POD_FIXED) for each in found])
    said = elsewhere and bool(wanted.status.pod_ips)
    ended = (wanted if said else former).metadata.deletion_timestamp
    owners = wanted.metadata.owner_references or former.metadata.owner_references
    metadata = altered(wanted.metadata, owner_references=owners, deletion_timestamp=ended)
    return replace(wanted, metadata=metadata, spec=spec, status=(wanted if said else former).status)


def deployment(wanted: Deployment, former: Deployment | None) -> Deployment:
    """Return the Deployment to store. Raises BadInput if its selector changes."""
    _check_metadata(wanted, former)
    metadata = stored_metadata(wanted.metadata, former.metadata if former else None)
    status = former.status if former else DeploymentStatus()
    if former and wanted.spec.selector != former.spec.selector:
        selector = to_builtins(wanted.spec.selector)
        raise refusal(wanted, [invalid("spec.selector", selector, "field is immutable")])
    spec = wanted.spec
    if spec.replicas is None:
        spec = altered(spec, replicas=replicas_of(former or wanted))
    return altered(wanted, metadata=metadata, spec=spec, status=status)


def endpoint_slice(wanted: EndpointSlice, former: EndpointSlice | None) -> EndpointSlice:
    """Return the slice to store. Raises BadInput if it is invalid, or its family changes."""
    if problems := [*slice_problems(wanted, former)]:
        raise refusal(wanted, problems)
    return _stored(wanted, former)


def endpoints(wanted: Endpoints, former: Endpoints | None) -> Endpoints:
    """Return the object to store. Raises BadInput if it is invalid."""
    wanted = altered(wanted, subsets=tuple(map(_with_protocols, wanted.subsets)))
    if problems := [*endpoints_problems(wanted, former)]:
        raise refusal(wanted, problems)
    return _stored(wanted, former)


def service(wanted: Service, former: Service | None) -> Service:
    """Return the Service to admit. A new one may have the status that a load balancer gave it."""
    status = former.status if former else wanted.status
    if wanted.spec.type != "LoadBalancer":
        status = ServiceStatus()
    return altered(wanted, status=status)


def other(wanted: _T, former: KubernetesObject | None) -> _T:
    """Return an object of another kind to store. Raises BadInput if its metadata is invalid."""
    _check_metadata(wanted, former)
    return _stored(wanted, former)


def _stored(wanted: _T, former: KubernetesObject | None) -> _T:
    metadata = stored_metadata(wanted.metadata, former.metadata if former else None)
    return altered(wanted, metadata=metadata)


def _with_protocols(subset: EndpointSubset) -> EndpointSubset:
    ports = tuple(altered(port, protocol=port.protocol or "TCP") for port in subset.ports)
    return altered(subset, ports=ports)


def _check_metadata(wanted: KubernetesObject, former: KubernetesObject | None) -> None:
    if problems := [*metadata_problems(wanted, former)]:
        raise refusal(wanted, problems)


def _fixed(spec: PodSpec, former: PodSpec) -> list[str]:
    """Return the immutable fields that differ. Tolerations may be added."""
    if {*former.tolerations} <= {*spec.tolerations}:
        spec = altered(spec, tolerations=former.tolerations)
    if len(spec.containers) != len(former.containers):
        return ["spec.containers"]
    found = _differing("spec", altered(spec, containers=former.containers), former)
    for i, (new, old) in enumerate(zip(spec.containers, former.containers, strict=True)):
        found += _differing(f"spec.containers[{i}]", altered(new, image=old.image), old)
    return found


def _differing(path: str, one: Struct, other: Struct) -> list[str]:
    return [
        f"{path}.{each.encode_name}"
        for each in fields(one)
        if getattr(one, each.name) != getattr(other, each.name)
    ]
