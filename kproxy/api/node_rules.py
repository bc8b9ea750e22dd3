"""What must hold in one Node or Pod; their defaults; their addresses made canonical."""

from __future__ import annotations

from kproxy.api.checks import (
    ZONE_LABEL,
    altered,
    check_cidr,
    check_ip,
    check_metadata,
    check_name,
    check_port,
)
from kproxy.api.names import label_value_problem, subdomain_problem
from kproxy.api.problems import Report, shown, step
from kproxy.api.quantities import milli_units
from kproxy.api.types import Node, NodeSpec, NodeStatus, Pod, PodIP, PodStatus, ResourceList

_IP_TYPES = ("InternalIP", "ExternalIP")  # the other addresses of a node are names


def check_node(node: Node, report: Report) -> Node:
    """The Node with canonical addresses. What is wrong goes to `report`."""
    check_name(report, "metadata.name", node.metadata.name, subdomain_problem)
    zone = node.metadata.labels.get(ZONE_LABEL, "")
    check_name(report, f"metadata.labels{step(ZONE_LABEL)}", zone, label_value_problem)
    addresses = tuple(
        altered(each, address=check_ip(report, f"status.addresses[{i}].address", each.address))
        if each.type in _IP_TYPES
        else each
        for i, each in enumerate(node.status.addresses)
    )
    return altered(
        node,
        metadata=altered(node.metadata, namespace=""),  # nodes are in none
        spec=_node_spec(node.spec, report),
        status=altered(
            node.status, addresses=addresses, allocatable=_allocatable(node.status, report)
        ),
    )


def check_pod(pod: Pod, report: Report) -> Pod:
    """The Pod with canonical addresses. What is wrong goes to `report`."""
    metadata = check_metadata(report, pod.metadata)
    if pod.spec.node_name:
        check_name(report, "spec.nodeName", pod.spec.node_name, subdomain_problem)
    for field in ("hostname", "subdomain"):
        if text := getattr(pod.spec, field):
            check_name(report, f"spec.{field}", text)
    for i, container in enumerate(pod.spec.containers):
        path = f"spec.containers[{i}]"
        check_name(report, f"{path}.name", container.name)
        for j, port in enumerate(container.ports):
            if port.name:
                check_name(report, f"{path}.ports[{j}].name", port.name)
            check_port(report, f"{path}.ports[{j}].containerPort", port.container_port)
    return altered(pod, metadata=metadata, status=_pod_status(pod.status, report))


def _allocatable(status: NodeStatus, report: Report) -> ResourceList:
    """What a node does not say of its allocatable resources is its capacity."""
    for field in ("capacity", "allocatable"):
        cpu = getattr(status, field).cpu
        if cpu != "" and milli_units(cpu) is None:
            report.add(f"status.{field}.cpu", f"{shown(cpu)} is not a quantity such as 4 or 3920m")
    return status.capacity if status.allocatable.cpu == "" else status.allocatable


def _node_spec(spec: NodeSpec, report: Report) -> NodeSpec:
    """`podCIDR` is the first of `podCIDRs`; either may be given alone."""
    if not spec.pod_cidrs:
        if not spec.pod_cidr:
            return spec
        cidrs: tuple[str, ...] = (check_cidr(report, "spec.podCIDR", spec.pod_cidr),)
    else:
        cidrs = tuple(
            check_cidr(report, f"spec.podCIDRs[{i}]", text) for i, text in enumerate(spec.pod_cidrs)
        )
        own = spec.pod_cidr
        if own and check_cidr(report, "spec.podCIDR", own) != cidrs[0]:
            report.add("spec.podCIDR", f"{shown(own)} is not the first of spec.podCIDRs")
    return altered(spec, pod_cidr=cidrs[0], pod_cidrs=cidrs)


def _pod_status(status: PodStatus, report: Report) -> PodStatus:
    """`podIP` is the first of `podIPs`; either may be given alone."""
    if not status.pod_ips:
        if not status.pod_ip:
            return status
        ips: tuple[str, ...] = (check_ip(report, "status.podIP", status.pod_ip),)
    else:
        ips = tuple(
            check_ip(report, f"status.podIPs[{i}].ip", each.ip)
            for i, each in enumerate(status.pod_ips)
        )
        own = status.pod_ip
        if own and check_ip(report, "status.podIP", own) != ips[0]:
            report.add("status.podIP", f"{shown(own)} is not the first of status.podIPs")
    return altered(status, pod_ip=ips[0], pod_ips=tuple(PodIP(ip=ip) for ip in ips))
