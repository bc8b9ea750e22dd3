"""The IP families of a Service, from what it requests and what the cluster has.

Source: pkg/registry/core/service/storage/alloc.go (initIPFamilyFields) of Kubernetes
"""

from __future__ import annotations

from kproxy.address import Family, family_of
from kproxy.api.addresses import canonical_ip
from kproxy.api.checks import altered
from kproxy.api.types import ServiceSpec
from kproxy.controlplane.cluster_ip_validation import (
    CLUSTER_IPS,
    FAMILIES,
    POLICY,
    cluster_ip_problems,
    is_headless,
)
from kproxy.controlplane.field_errors import invalid

Families = tuple[Family, ...]


def assign_families(
    spec: ServiceSpec, former: ServiceSpec | None, configured: Families, problems: list[str]
) -> ServiceSpec:
    """Return `spec` with its policy and its families; faults of them go to `problems`.

    `configured` are the cluster's families, the default first. A released secondary family is
    removed from `cluster_ips` too; an added one has no address there yet.
    """
    if spec.type == "ExternalName" or stays_as_preferred(spec, former):
        return spec
    spec = altered(spec, ip_family_policy=_policy(spec, former))
    single = spec.ip_family_policy == "SingleStack"
    problems += cluster_ip_problems(spec, former)
    if problems:
        return spec
    if former is not None:
        if single:
            spec = _downgraded(spec, former)
        else:
            _check_not_reduced(spec, former, problems)
    if single:
        _check_single(spec, problems)
    if not is_headless(spec):
        spec = _inferred(spec, configured, problems)
    if problems:
        return spec
    if is_headless(spec) and not spec.selector:
        return _extended(spec, configured[:1], extend=not single)
    if spec.ip_family_policy == "RequireDualStack" and len(configured) < 2:
        dual = "this cluster is not configured for dual-stack services"
        problems.append(invalid(POLICY, spec.ip_family_policy, dual))
    problems += [
        invalid(f"{FAMILIES}[{i}]", family, "not configured on this cluster")
        for i, family in enumerate(spec.ip_families)
        if family not in configured
    ]
    return _extended(spec, configured[:1], extend=not single and len(configured) == 2)


def stays_as_preferred(spec: ServiceSpec, former: ServiceSpec | None) -> bool:
    """Tell whether a PreferDualStack Service stays as it is, even if the cluster has changed."""
    return (
        former is not None
        and spec.type == former.type != "ExternalName"
        and spec.ip_family_policy == "PreferDualStack"
        and former.ip_family_policy in (None, "PreferDualStack")
        and spec.cluster_ips == former.cluster_ips
        and spec.ip_families == former.ip_families
    )


def _policy(spec: ServiceSpec, former: ServiceSpec | None) -> str:
    if spec.ip_family_policy is not None:
        return spec.ip_family_policy
    if former is not None and former.ip_family_policy:
        return former.ip_family_policy
    if is_headless(spec) and not spec.selector:
        return "RequireDualStack"  # whatever families its hand-written endpoints have
    return "SingleStack"


def _downgraded(spec: ServiceSpec, former: ServiceSpec) -> ServiceSpec:
    """Return `spec` for SingleStack: lists left as they were are cut to their first entry."""
    if spec.cluster_ips == former.cluster_ips:
        spec = altered(spec, cluster_ips=spec.cluster_ips[:1])
    if spec.ip_families == former.ip_families:
        spec = altered(spec, ip_families=spec.ip_families[:1])
    return spec


def _check_not_reduced(spec: ServiceSpec, former: ServiceSpec, problems: list[str]) -> None:
    for now, before, what in (
        (spec.cluster_ips, former.cluster_ips, "cluster IP"),
        (spec.ip_families, former.ip_families, "IP family"),
    ):
        if 0 < len(now) < len(before):
            needed = f"must be 'SingleStack' to release the secondary {what}"
            problems.append(invalid(POLICY, spec.ip_family_policy, needed))


def _check_single(spec: ServiceSpec, problems: list[str]) -> None:
    needed = "must be 'RequireDualStack' or 'PreferDualStack' when multiple"
    if len(spec.cluster_ips) == 2:
        told = f"{needed} cluster IPs are specified"
        problems.append(invalid(POLICY, spec.ip_family_policy, told))
    if len(spec.ip_families) == 2:
        told = f"{needed} IP families are specified"
        problems.append(invalid(POLICY, spec.ip_family_policy, told))


def _inferred(spec: ServiceSpec, configured: Families, problems: list[str]) -> ServiceSpec:
    """Return `spec` with the families of addresses that have none yet."""
    families = list(spec.ip_families)
    for i, address in enumerate(spec.cluster_ips[len(families) :], len(families)):
        family = family_of(canonical_ip(address))
        if family in configured:
            families.append(family)
        else:
            told = f"{family} is not configured on this cluster"
            problems.append(invalid(f"{CLUSTER_IPS}[{i}]", spec.cluster_ips, told))
    return altered(spec, ip_families=tuple(families))


def _extended(spec: ServiceSpec, default: Families, *, extend: bool) -> ServiceSpec:
    families = spec.ip_families or default
    if extend and len(families) == 1:
        families = (*families, Family(families[0]).other)
    return altered(spec, ip_families=families)
