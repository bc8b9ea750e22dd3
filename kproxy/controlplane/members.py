"""The Pods that are endpoints of a Service, and their ports: for slices and Endpoints alike.

Source: k8s.io/endpointslice util/controller_utils.go and utils.go, v1.36
"""

from __future__ import annotations

from collections.abc import Iterable

from kproxy.address import Family, family_of
from kproxy.api.service_rules import HEADLESS
from kproxy.api.types import (
    EndpointPort,
    ObjectReference,
    Pod,
    Service,
    ServicePort,
)

_TERMINAL = ("Failed", "Succeeded")


def has_controller(service: Service) -> bool:
    """Tell whether endpoints are made from Pods; otherwise they are written by hand, or absent."""
    return bool(service.spec.selector) and service.spec.type != "ExternalName"


def selected(service: Service, pods: Iterable[Pod]) -> list[Pod]:
    """Return the Pods of the Service's namespace that its selector matches; none without one."""
    wanted, namespace = service.spec.selector.items(), service.metadata.namespace
    return [
        pod
        for pod in pods
        if wanted and pod.metadata.namespace == namespace and wanted <= pod.metadata.labels.items()
    ]


def is_terminal(pod: Pod) -> bool:
    """Tell whether a Pod's containers have ended for good, whether or not it is being deleted."""
    return pod.status.phase in _TERMINAL


def is_ready(pod: Pod) -> bool:
    return any(each.type == "Ready" and each.status == "True" for each in pod.status.conditions)


def is_terminating(pod: Pod) -> bool:
    return pod.metadata.deletion_timestamp is not None


def addresses(pod: Pod, family: Family) -> tuple[str, ...]:
    return tuple(each.ip for each in pod.status.pod_ips if family_of(each.ip) is family)


def families(service: Service) -> tuple[Family, ...]:
    """Return the Service's families; by default that of its cluster IP, or both if headless."""
    if service.spec.ip_families:
        return tuple(map(Family, service.spec.ip_families))
    if is_headless(service):
        return (Family.IPV4, Family.IPV6)
    return (family_of(service.spec.cluster_ip),)


def is_headless(service: Service) -> bool:
    """Tell whether a Service has no cluster IP; as for the controllers, also if it is pending."""
    return service.spec.cluster_ip in ("", HEADLESS)


def hostname(service: Service, pod: Pod) -> str:
    """Return the name that the Pod has below the Service's in DNS, "" if none."""
    return pod.spec.hostname if pod.spec.subdomain == service.metadata.name else ""


def reference(pod: Pod) -> ObjectReference:
    return ObjectReference(kind="Pod", namespace=pod.metadata.namespace, name=pod.metadata.name)


def endpoint_ports(service: Service, pod: Pod) -> tuple[EndpointPort, ...]:
    """Return the Pod's ports behind those of the Service, without named ones that it lacks."""
    found = ((port, target_port(port, pod)) for port in service.spec.ports)
    return tuple(
        EndpointPort(name=port.name, protocol=port.protocol, port=number)
        for port, number in found
        if number
    )


def target_port(port: ServicePort, pod: Pod) -> int:
    """Return the target port as a number; 0 if the Pod has no port of that name and protocol."""
    if not isinstance(port.target_port, str) or not port.target_port:
        return port.target_port or port.port
    for container in pod.spec.containers:
        for own in container.ports:
            if own.name == port.target_port and own.protocol == port.protocol:
                return own.container_port
    return 0
