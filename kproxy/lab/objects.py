"""Kubernetes objects for a lab: its Nodes and Pods, and Services over its pods."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_address
from typing import Any

from kproxy.address import Family, family_of_parsed
from kproxy.api.checks import ZONE_LABEL
from kproxy.api.types import (
    Container,
    ContainerPort,
    Endpoint,
    EndpointConditions,
    EndpointHints,
    EndpointPort,
    EndpointSlice,
    LoadBalancerIngress,
    LoadBalancerStatus,
    Metadata,
    Node,
    NodeAddress,
    NodeCondition,
    NodeSpec,
    NodeStatus,
    Pod,
    PodCondition,
    PodIP,
    PodSpec,
    PodStatus,
    ResourceList,
    Service,
    ServicePort,
    ServiceSpec,
    ServiceStatus,
)
from kproxy.lab.hosts import LabNode, LabPod
from kproxy.store import SERVICE_NAME_LABEL

HOSTNAME_LABEL = "kubernetes.io/hostname"
# Of this machine, as Go names it.
ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
_SYSTEM_LABELS = {"kubernetes.io/os": "linux", "kubernetes.io/arch": ARCHITECTURE}
_CPUS = 4  # of every node: topology hints go by the zones' shares
READY = EndpointConditions(ready=True, serving=True, terminating=False)
NOT_READY = EndpointConditions(ready=False, serving=False, terminating=False)
TERMINATING = EndpointConditions(ready=False, serving=True, terminating=True)


def service(
    name: str,
    *,
    cluster_ips: Sequence[str],
    ports: Iterable[ServicePort],
    namespace: str = "default",
    load_balancer_ips: Iterable[str] = (),
    **spec: Any,
) -> Service:
    """Return a Service; `spec` takes other fields of `ServiceSpec`, such as `type` and `selector`.

    The families follow from `cluster_ips`, the first being the primary one. `load_balancer_ips`
    are the VIPs in its status.
    """
    families = tuple(family_of_parsed(ip_address(ip)) for ip in cluster_ips)
    return Service(
        metadata=Metadata(name=name, namespace=namespace),
        spec=ServiceSpec(
            cluster_ip=cluster_ips[0] if cluster_ips else "",
            cluster_ips=tuple(cluster_ips),
            ip_families=families,
            ip_family_policy="RequireDualStack" if len(families) == 2 else "SingleStack",
            ports=tuple(ports),
            **spec,
        ),
        status=ServiceStatus(
            load_balancer=LoadBalancerStatus(
                ingress=tuple(LoadBalancerIngress(ip=ip) for ip in load_balancer_ips)
            )
        ),
    )


def selected(of: Service, pods: Iterable[LabPod]) -> list[LabPod]:
    """Return the pods of a Service's namespace that its selector matches; none without one."""
    wanted = of.spec.selector.items()
    return [
        pod
        for pod in pods
        if wanted and pod.spec.namespace == of.metadata.namespace and wanted <= _labels(pod).items()
    ]


def slices_for(
    of: Service,
    pods: Iterable[LabPod],
    *,
    conditions: Mapping[str, EndpointConditions] | None = None,
    hints: Mapping[str, EndpointHints] | None = None,
) -> tuple[EndpointSlice, ...]:
    """Return the EndpointSlices of a Service over `pods`, in each family it has.

    `conditions` and `hints` are by pod name; a pod that is not in them is ready, without hints.
    Pods that resolve a named target port to different numbers share no slice; the port is missing
    in the slice of pods that do not have it. Without pods each family has one empty slice.
    """
    pods = list(pods)
    groups: dict[tuple[EndpointPort, ...], list[LabPod]] = {}
    for pod in pods:
        groups.setdefault(_ports(of, pod), []).append(pod)
    return tuple(
        EndpointSlice(
            metadata=Metadata(
                name="-".join([of.metadata.name, family.value.lower(), *([str(n)] if n else [])]),
                namespace=of.metadata.namespace,
                labels={SERVICE_NAME_LABEL: of.metadata.name},
            ),
            address_type=family.value,
            ports=ports,
            endpoints=tuple(
                Endpoint(
                    addresses=(pod.addresses[family],),
                    conditions=(conditions or {}).get(pod.name, READY),
                    node_name=pod.node,
                    zone=pod.zone or None,
                    hints=(hints or {}).get(pod.name),
                )
                for pod in members
                if family in pod.addresses
            ),
        )
        for family in map(Family, of.spec.ip_families)
        for n, (ports, members) in enumerate(groups.items() or [((), [])])
    )


def node_object(node: LabNode) -> Node:
    labels = {HOSTNAME_LABEL: node.name, **_SYSTEM_LABELS}
    labels |= {ZONE_LABEL: node.zone} if node.zone else {}
    return Node(
        metadata=Metadata(name=node.name, namespace="", labels=labels),
        spec=NodeSpec(
            pod_cidr=next(iter(node.subnets.values())), pod_cidrs=tuple(node.subnets.values())
        ),
        status=NodeStatus(
            addresses=tuple(
                NodeAddress(type="InternalIP", address=address)
                for address in node.addresses.values()
            ),
            conditions=(NodeCondition(type="Ready", status="True"),),
            allocatable=ResourceList(cpu=_CPUS),
        ),
    )


def pod_object(pod: LabPod) -> Pod:
    ips = tuple(pod.addresses.values())
    ports = tuple(
        ContainerPort(name=port.name, container_port=port.port, protocol=port.protocol)
        for port in pod.spec.ports
    )
    return Pod(
        metadata=Metadata(name=pod.name, namespace=pod.spec.namespace, labels=_labels(pod)),
        spec=PodSpec(node_name=pod.node, containers=(Container(name="answer", ports=ports),)),
        status=PodStatus(
            phase="Running",
            pod_ip=ips[0],
            pod_ips=tuple(PodIP(ip=ip) for ip in ips),
            conditions=(PodCondition(type="Ready", status="True"),),
        ),
    )


def _labels(pod: LabPod) -> dict[str, str]:
    return dict(pod.spec.labels)


def _ports(of: Service, pod: LabPod) -> tuple[EndpointPort, ...]:
    found = ((port, _target(port, pod)) for port in of.spec.ports)
    return tuple(
        EndpointPort(name=port.name, protocol=port.protocol, port=number)
        for port, number in found
        if number
    )


def _target(port: ServicePort, pod: LabPod) -> int:
    """Return the pod's port behind a Service port; 0 if it has none of that name and protocol."""
    if isinstance(port.target_port, str):
        for own in pod.spec.ports:
            if own.name == port.target_port and own.protocol == port.protocol:
                return own.port
        return 0
    return port.target_port or port.port
