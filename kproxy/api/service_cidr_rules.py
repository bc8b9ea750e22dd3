"""Checks of one stored ServiceCIDR or IPAddress: of what a proxy reads of them.

What users submit is judged by `kproxy.controlplane.service_cidr_validation`.
"""

from __future__ import annotations

from kproxy.api.checks import altered, check_cidr, check_name, in_namespace
from kproxy.api.names import subdomain_problem
from kproxy.api.problems import Report
from kproxy.api.types import IPAddress, ServiceCIDR


def check_service_cidr(obj: ServiceCIDR, report: Report) -> ServiceCIDR:
    """Return the ServiceCIDR with canonical ranges. Faults go to `report`."""
    check_name(report, "metadata.name", obj.metadata.name, subdomain_problem)
    cidrs = tuple(
        check_cidr(report, f"spec.cidrs[{i}]", text) for i, text in enumerate(obj.spec.cidrs)
    )
    return in_namespace(altered(obj, spec=altered(obj.spec, cidrs=cidrs)))


def check_ip_address(obj: IPAddress, report: Report) -> IPAddress:
    """Return the IPAddress, which no proxy reads. Faults go to `report`."""
    check_name(report, "metadata.name", obj.metadata.name, lambda _: "")
    return in_namespace(obj)
