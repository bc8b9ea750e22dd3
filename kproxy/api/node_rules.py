"""Checks of one Node, its defaults, and its addresses made canonical."""

from __future__ import annotations

from kproxy.api.addresses import canonical_ip
from kproxy.api.checks import altered, check_cidr, check_ip, check_labels, check_name
from kproxy.api.names import subdomain_problem
from kproxy.api.problems import Report, shown
from kproxy.api.quantities import milli_units
from kproxy.api.types import Node, NodeSpec, NodeStatus, ResourceList

_IP_TYPES = ("InternalIP", "ExternalIP")  # the other addresses of a node are names


def check_node(node: Node, report: Report) -> Node:
    """Return the Node with canonical addresses. Faults go to `report`."""
    check_name(report, "metadata.name", node.metadata.name, subdomain_problem)
    check_labels(report, "metadata.labels", node.metadata.labels)
    addresses = tuple(
        altered(each, address=check_ip(report, f"status.addresses[{i}].address", each.address))
        if each.type in _IP_TYPES and each.address  # clouds write "" where there is no external one
        else each
        for i, each in enumerate(node.status.addresses)
    )
    return altered(
        node,
        metadata=altered(node.metadata, namespace=""),  # nodes have no namespace
        spec=_node_spec(node.spec, report),
        status=altered(
            node.status, addresses=addresses, allocatable=_allocatable(node.status, report)
        ),
    )


def check_served_node(node: Node, report: Report) -> Node:
    """Return a Node of an API server as `check_node` does, without addresses that are none.

    A server takes any text there, and kube-proxy passes over what is no address.
    Source: pkg/util/node, GetNodeHostIPs
    """
    usable = tuple(
        each
        for each in node.status.addresses
        if each.type not in _IP_TYPES or canonical_ip(each.address)
    )
    return check_node(altered(node, status=altered(node.status, addresses=usable)), report)


def _allocatable(status: NodeStatus, report: Report) -> ResourceList:
    """Return the node's allocatable resources, which default to its capacity."""
    for field in ("capacity", "allocatable"):
        for name, example in (("cpu", "4 or 3920m"), ("pods", "110")):
            value = getattr(getattr(status, field), name)
            if value != "" and milli_units(value) is None:
                report.add(
                    f"status.{field}.{name}", f"{shown(value)} is not a quantity such as {example}"
                )
    capacity, found = status.capacity, status.allocatable
    return altered(
        found,
        cpu=capacity.cpu if found.cpu == "" else found.cpu,
        pods=capacity.pods if found.pods == "" else found.pods,
    )


def _node_spec(spec: NodeSpec, report: Report) -> NodeSpec:
    """Return the spec with both fields set: `podCIDR` is the first of `podCIDRs`."""
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
