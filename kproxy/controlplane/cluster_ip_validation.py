"""The API server's checks of cluster IPs, IP families and their policy, and of changes to them.

Source: pkg/apis/core/validation/validation.go (ValidateServiceClusterIPsRelatedFields,
validateUpgradeDowngradeClusterIPs, validateUpgradeDowngradeIPFamilies) of Kubernetes
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from kproxy.address import family_of
from kproxy.api import service_rules
from kproxy.api.addresses import canonical_ip
from kproxy.api.service_rules import HEADLESS
from kproxy.api.types import ServiceSpec
from kproxy.controlplane.field_errors import FieldValue, duplicate, invalid, required, unsupported
from kproxy.controlplane.value_problems import ip_problems

FAMILIES = "spec.ipFamilies"
POLICY = "spec.ipFamilyPolicy"
CLUSTER_IPS = "spec.clusterIPs"
FIXED = "may not change once set"

_FAMILY_NAMES = sorted(service_rules.FAMILIES)
_POLICIES = sorted(service_rules.FAMILY_POLICIES)


def is_headless(spec: ServiceSpec) -> bool:
    return spec.cluster_ips == (HEADLESS,)


def legacy_ip_problems(text: str, old: Iterable[str]) -> tuple[str, ...]:
    """Judge an address of a field older than strict checks: values that were stored may stay."""
    return () if text in old else ip_problems(text)


def cluster_ip_problems(spec: ServiceSpec, former: ServiceSpec | None) -> Iterator[str]:
    if spec.type == "ExternalName":  # it has none, which is checked elsewhere
        return
    addresses = spec.cluster_ips
    if spec.cluster_ip:
        if not addresses:
            yield required(CLUSTER_IPS)
        elif addresses[0] != spec.cluster_ip:
            yield invalid(CLUSTER_IPS, addresses, "first value must match `clusterIP`")
    elif addresses:
        yield invalid(CLUSTER_IPS, addresses, "must be empty when `clusterIP` is not specified")
    for i, family in enumerate(spec.ip_families):
        if family not in _FAMILY_NAMES:
            yield unsupported(f"{FAMILIES}[{i}]", family, _FAMILY_NAMES)
        if family in spec.ip_families[:i]:
            yield duplicate(f"{FAMILIES}[{i}]", family)
    if spec.ip_family_policy is not None and spec.ip_family_policy not in _POLICIES:
        yield unsupported(POLICY, spec.ip_family_policy, _POLICIES)
    faulty = False
    for i, address in enumerate(addresses):
        if i == 0 and address == HEADLESS:
            if len(addresses) > 1:
                faulty = True
                yield invalid(CLUSTER_IPS, addresses, "'None' must be the first and only value")
            continue
        for told in legacy_ip_problems(address, former.cluster_ips if former else ()):
            faulty = True
            yield invalid(f"{CLUSTER_IPS}[{i}]", address, told)
    if len(addresses) > 2:
        yield invalid(CLUSTER_IPS, addresses, "may only hold up to 2 values")
    if faulty or is_headless(spec):
        return
    families = [family_of(canonical_ip(each)) for each in addresses]
    if len(families) > 1 and len(set(families)) < 2:
        told = "may specify no more than one IP for each IP family"
        yield invalid(CLUSTER_IPS, addresses, told)
    for i, (wanted, own) in enumerate(zip(spec.ip_families, families, strict=False)):
        if wanted in _FAMILY_NAMES and wanted != own:
            told = f"expected an {wanted} value as indicated by `ipFamilies[{i}]`"
            yield invalid(f"{CLUSTER_IPS}[{i}]", addresses[i], told)


def update_problems(spec: ServiceSpec, former: ServiceSpec) -> Iterator[str]:
    """Yield the problems of changes that are forbidden, or need another field to be set."""
    if "ExternalName" in (spec.type, former.type):
        return
    if not (is_headless(spec) and is_headless(former)):
        yield from _changed_addresses(spec, former)
    if not (is_headless(spec) or is_headless(former)):
        yield from _changed_families(spec, former)


def _changed_addresses(spec: ServiceSpec, former: ServiceSpec) -> Iterator[str]:
    now, before = spec.cluster_ips, former.cluster_ips
    if not now and before:
        yield invalid(f"{CLUSTER_IPS}[0]", now, "primary clusterIP can not be unset")
    compared = len(before) if len(now) == len(before) else 1
    for i, (old, new) in enumerate(zip(before[:compared], now, strict=False)):
        if old != new:
            yield invalid(f"{CLUSTER_IPS}[{i}]", now, FIXED)
    if len(now) == 1 < len(before) and spec.ip_family_policy != "SingleStack":
        needed = "must be set to 'SingleStack' when releasing the secondary clusterIP"
        yield invalid(POLICY, spec.ip_family_policy, needed)


def _changed_families(spec: ServiceSpec, former: ServiceSpec) -> Iterator[str]:
    now, before = spec.ip_families, former.ip_families
    # The server names the first family whichever changed, and shows the addresses if the number of
    # families changed, too.
    compared = len(before) if len(now) == len(before) else 1
    shown: FieldValue = now if len(now) == len(before) else spec.cluster_ips
    for old, new in zip(before[:compared], now, strict=False):
        if old != new:
            yield invalid(f"{FAMILIES}[0]", shown, FIXED)
    if len(now) == 1 < len(before) and spec.ip_family_policy != "SingleStack":
        needed = "must be set to 'SingleStack' when releasing the secondary ipFamily"
        yield invalid(POLICY, spec.ip_family_policy, needed)
