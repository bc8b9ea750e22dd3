"""The ports that a Pod serves in a lab. Pure.

What a container's program listens on is not in its manifest: `ports` is only informative, and
manifests as `kubectl create deployment` writes them have none. A Pod that names no port serves what
it would be asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import cast

from kproxy.api.types import Container, Pod, Protocol, Service
from kproxy.controlplane import members
from kproxy.lab.hosts import LabPod
from kproxy.lab.spec import PortSpec

DEFAULT = PortSpec(port=80)
_DNS_IMAGE = "coredns"


def is_dns_server(container: Container) -> bool:
    """Tell whether a container is the cluster's DNS, by its image's name (any registry or tag).

    It opens its own ports.
    """
    return container.image.rpartition("/")[2].partition(":")[0] == _DNS_IMAGE


def declared(pod: Pod) -> tuple[PortSpec, ...]:
    """Return the ports that the containers name."""
    return tuple(
        PortSpec(port=port.container_port, protocol=port.protocol, name=port.name)
        for container in pod.spec.containers
        if not is_dns_server(container)
        for port in container.ports
    )


def names_none(pod: Pod) -> bool:
    """Tell whether a Pod names no port although it may serve some."""
    containers = pod.spec.containers
    return not any(each.ports for each in containers) and not all(map(is_dns_server, containers))


def asked_for(pod: Pod, services: Iterable[Service]) -> tuple[PortSpec, ...]:
    """Return what a Pod that names no port serves: the target ports of those of the `services`
    that select it, else port 80; and the ports of its readiness probes.

    On the host network nothing is served unasked, as that would be a port of the node.
    """
    targets = list(_targets(pod, services))
    if not targets and not pod.spec.host_network:
        targets = [DEFAULT]
    return tuple(dict.fromkeys([*targets, *_probed(pod)]))


def unserved(service: Service, pods: Iterable[LabPod]) -> Iterator[str]:
    """Yield a warning for each target port that is none of those that the selected pods name.

    A program may listen there all the same in a cluster; in a lab it does not.
    """
    served = {(each.port, each.protocol) for pod in pods for each in pod.spec.ports}
    if not served or not members.has_controller(service):
        return
    named = ", ".join(f"{number}/{protocol}" for number, protocol in sorted(served))
    for i, port in enumerate(service.spec.ports):
        number = port.port if not port.target_port else port.target_port
        # Without SCTP in the kernel such ports are not served, which has a warning of its own.
        known = isinstance(number, str) or port.protocol == "SCTP"
        if not known and (number, port.protocol) not in served:
            yield (
                f"spec.ports[{i}].targetPort: no selected Pod names {number}/{port.protocol}, "
                f"so connections are refused; they name {named}"
            )


def _targets(pod: Pod, services: Iterable[Service]) -> Iterator[PortSpec]:
    for service in services:
        if members.has_controller(service) and members.selected(service, [pod]):
            for port in service.spec.ports:
                # A name is a port of no such Pod: then it is no endpoint, as in Kubernetes.
                if number := members.target_port(port, pod):
                    protocol = cast(Protocol, port.protocol)  # it was admitted
                    yield PortSpec(port=number, protocol=protocol)


def _probed(pod: Pod) -> Iterator[PortSpec]:
    for container in pod.spec.containers:
        probe = container.readiness_probe
        action = (probe.http_get or probe.tcp_socket) if probe else None
        if action and isinstance(action.port, int):
            yield PortSpec(port=action.port)
