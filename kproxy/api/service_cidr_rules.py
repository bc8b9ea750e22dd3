"""Checks of one ServiceCIDR.

Its CIDRs must be canonical, unlike those of older fields, which are read liberally.
Source: k8s.io/kubernetes pkg/apis/networking/validation, validateServiceCIDRSpec; IsValidCIDR.
"""

from __future__ import annotations

from kproxy.address import family_of
from kproxy.api.addresses import canonical_cidr
from kproxy.api.checks import altered, check_cidr, check_name, check_unique
from kproxy.api.names import subdomain_problem
from kproxy.api.problems import Report, shown
from kproxy.api.types import ServiceCIDR

_FIELD = "spec.cidrs"


def check_service_cidr(obj: ServiceCIDR, report: Report) -> ServiceCIDR:
    """Return the ServiceCIDR without a namespace. Faults go to `report`."""
    check_name(report, "metadata.name", obj.metadata.name, subdomain_problem)
    cidrs = obj.spec.cidrs
    if not cidrs:
        report.add(_FIELD, "at least one CIDR is needed")
    elif len(cidrs) > 2:
        report.add(_FIELD, f"has {len(cidrs)} CIDRs; one of each family is allowed")
    else:
        _check_cidrs(cidrs, report)
    return altered(obj, metadata=altered(obj.metadata, namespace=""))


def _check_cidrs(cidrs: tuple[str, ...], report: Report) -> None:
    families: dict[str, str] = {}
    for i, text in enumerate(cidrs):
        field = f"{_FIELD}[{i}]"
        network = canonical_cidr(check_cidr(report, field, text))
        if network:
            if text != network:
                report.add(field, f"{shown(text)} is not canonical, as {shown(network)} is")
            family = family_of(network)
            check_unique(report, field, families, family, family)
