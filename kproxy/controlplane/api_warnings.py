"""The warnings that the API server gives when a user writes an object, in its words and order.

    object as stored, former one -> texts, which kubectl shows behind "Warning: "

Source: the functions WarningsOnCreate and WarningsOnUpdate in pkg/registry of Kubernetes v1.36,
with pkg/api/service/warnings.go and pkg/api/pod/warnings.go
"""

from __future__ import annotations

from collections.abc import Iterator

from kproxy.api.types import (
    Deployment,
    EndpointAddress,
    Endpoints,
    EndpointSlice,
    Ingress,
    KubernetesObject,
    Node,
    OwnerReference,
    Pod,
    Service,
)
from kproxy.controlplane import endpoint_slices, endpoints, mirroring
from kproxy.controlplane.address_warnings import cidr_list_warnings, ip_list_warnings, ip_warnings
from kproxy.controlplane.hints import TOPOLOGY_AWARE_HINTS, TOPOLOGY_MODE
from kproxy.controlplane.packing import MANAGED_BY_LABEL
from kproxy.controlplane.pod_warnings import name_warnings, template_warnings

INGRESS_CLASS = "kubernetes.io/ingress.class"
_ENDPOINTS = "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"
_OWNERS = (
    ".metadata.ownerReferences contains duplicate entries; API server dedups owner references in"
    " 1.20+, and may reject such requests as early as 1.24; please fix your requests"
)
_OWN_SLICES = (endpoint_slices.CONTROLLER, mirroring.CONTROLLER)


def api_warnings(obj: KubernetesObject, former: KubernetesObject | None) -> tuple[str, ...]:
    """Return the warnings about `obj`, as stored; `former` is None if it is new.

    Addresses are to be as the user wrote them. There are none about objects of other kinds.
    """
    told = [_ENDPOINTS] if isinstance(obj, Endpoints) else []
    return (*told, *_owners(obj), *_of_kind(obj, former))


def _of_kind(obj: KubernetesObject, former: KubernetesObject | None) -> Iterator[str]:
    match obj:
        case Service():
            found = _service(obj)
        case EndpointSlice():
            found = _endpoint_slice(obj, new=former is None)
        case Endpoints():
            found = _endpoints(obj)
        case Ingress():
            found = _ingress(obj, new=former is None)
        case Pod():
            found = _pod(obj, new=former is None)
        case Node():
            found = _node(obj)
        case Deployment():
            found = _deployment(obj, former if isinstance(former, Deployment) else None)
        case _:
            found = iter(())
    return found


def _owners(obj: KubernetesObject) -> Iterator[str]:
    seen, twice = set[OwnerReference](), list[str]()
    for each in obj.metadata.owner_references:
        if each in seen:
            twice.append(each.uid)
        seen.add(each)
    if twice:
        yield f"{_OWNERS}; duplicate UID(s) observed: {', '.join(twice)}"


def _service(service: Service) -> Iterator[str]:
    spec = service.spec
    external_name = spec.type == "ExternalName"
    headless = spec.type == "ClusterIP" and spec.cluster_ip == "None"
    if TOPOLOGY_AWARE_HINTS in service.metadata.annotations:
        yield (
            f"annotation {TOPOLOGY_AWARE_HINTS} is deprecated, please use {TOPOLOGY_MODE} instead"
        )
    if not external_name and spec.cluster_ip not in ("", "None"):
        yield from ip_list_warnings("spec.clusterIPs", spec.cluster_ips)
    if headless:
        if spec.load_balancer_ip:
            yield "spec.loadBalancerIP is ignored for headless services"
        if spec.external_ips:
            yield "spec.externalIPs is ignored for headless services"
        if spec.session_affinity != "None":
            yield "spec.SessionAffinity is ignored for headless services"
    yield from ip_list_warnings("spec.externalIPs", spec.external_ips)
    if spec.external_ips and not headless and not external_name:
        yield "spec.externalIPs is deprecated and may no longer be implemented in some clusters"
    if spec.load_balancer_ip:
        yield from ip_warnings("spec.loadBalancerIP", spec.load_balancer_ip)
    yield from cidr_list_warnings("spec.loadBalancerSourceRanges", spec.load_balancer_source_ranges)
    if external_name and spec.external_ips:
        yield 'spec.externalIPs is ignored when spec.type is "ExternalName"'
    if not external_name and spec.external_name:
        yield 'spec.externalName is ignored when spec.type is not "ExternalName"'
    if spec.traffic_distribution == "PreferClose":
        yield 'spec.trafficDistribution: "PreferClose" is deprecated; use "PreferSameZone"'


def _endpoint_slice(endpoint_slice: EndpointSlice, *, new: bool) -> Iterator[str]:
    if new and endpoint_slice.address_type == "FQDN":
        yield "spec.addressType: FQDN endpoints are deprecated"
    if endpoint_slice.metadata.labels.get(MANAGED_BY_LABEL) in _OWN_SLICES:
        return
    for i, endpoint in enumerate(endpoint_slice.endpoints):
        yield from ip_list_warnings(f"endpoints[{i}].addresses", endpoint.addresses)


def _endpoints(obj: Endpoints) -> Iterator[str]:
    if obj.metadata.labels.get(endpoints.MANAGED_BY_LABEL) == endpoints.CONTROLLER:
        return
    for i, subset in enumerate(obj.subsets):
        yield from _addresses(f"subsets[{i}].addresses", subset.addresses)
        yield from _addresses(f"subsets[{i}].notReadyAddresses", subset.not_ready_addresses)


def _ingress(ingress: Ingress, *, new: bool) -> Iterator[str]:
    named = ingress.spec.ingress_class_name is not None
    if new and not named and INGRESS_CLASS in ingress.metadata.annotations:
        instead = "please use 'spec.ingressClassName' instead"
        yield f'annotation "{INGRESS_CLASS}" is deprecated, {instead}'


def _node(node: Node) -> Iterator[str]:
    if node.spec.external_id:
        yield "spec.externalID: this field is deprecated, and is unused by Kubernetes"


def _pod(pod: Pod, *, new: bool) -> Iterator[str]:
    if new:
        yield from name_warnings(pod.metadata.name, "the Pod's hostname")
        yield from template_warnings("", pod.metadata, pod.spec)


def _deployment(deployment: Deployment, former: Deployment | None) -> Iterator[str]:
    if former is None:
        yield from name_warnings(deployment.metadata.name, "Pod names and hostnames")
    elif (former.spec, former.metadata.annotations) == (
        deployment.spec,
        deployment.metadata.annotations,
    ):
        return
    template = deployment.spec.template
    yield from template_warnings("spec.template.", template.metadata, template.spec)


def _addresses(field: str, addresses: tuple[EndpointAddress, ...]) -> Iterator[str]:
    for i, address in enumerate(addresses):
        yield from ip_warnings(f"{field}[{i}].ip", address.ip)
