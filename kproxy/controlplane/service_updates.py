"""Updates of a Service: what it keeps of its former version and loses, and what is immutable.

Source: pkg/registry/core/service/storage/storage.go (patchAllocatedValues, normalizeClusterIPs),
pkg/registry/core/service/strategy.go (dropTypeDependentFields) and
pkg/apis/core/validation/validation.go (ValidateServiceUpdate) of Kubernetes
"""

from __future__ import annotations

from msgspec.structs import replace

from kproxy.api.checks import altered
from kproxy.api.service_rules import reachable_from_outside
from kproxy.api.types import ServicePort, ServiceSpec
from kproxy.controlplane.families import CLUSTER_IPS, FAMILIES, POLICY, is_headless
from kproxy.controlplane.field_errors import FieldValue, forbidden, invalid

HEALTH_CHECK = "spec.healthCheckNodePort"
BALANCER_CLASS = "spec.loadBalancerClass"
FIXED = "may not change once set"


def needs_cluster_ip(spec: ServiceSpec) -> bool:
    """Tell whether the type has a cluster IP. Headless Services have one: "None" is a value."""
    return spec.type != "ExternalName"


def needs_node_ports(spec: ServiceSpec) -> bool:
    return spec.type in ("NodePort", "LoadBalancer")


def needs_health_check(spec: ServiceSpec) -> bool:
    return spec.type == "LoadBalancer" and spec.external_traffic_policy == "Local"


def node_port_numbers(spec: ServiceSpec) -> frozenset[int]:
    return frozenset(port.node_port for port in spec.ports if port.node_port)


def keep_allocated(spec: ServiceSpec, former: ServiceSpec | None) -> ServiceSpec:
    """Return `spec` with what was allocated to `former` and is not mentioned now.

    So the manifest that created a Service can be applied again. If it gives only the first cluster
    IP (as `clusterIP`), the other one stays: only the policy can release that.
    """
    addresses = spec.cluster_ips or ((spec.cluster_ip,) if spec.cluster_ip else ())
    if former is None:
        return altered(spec, cluster_ips=addresses)
    both_have_ips = needs_cluster_ip(spec) and needs_cluster_ip(former)
    if both_have_ips and addresses in ((), former.cluster_ips[:1]):
        addresses = former.cluster_ips
    ports = spec.ports
    if needs_node_ports(spec) and needs_node_ports(former):
        ports = _with_former_node_ports(spec, former)
    health_check = spec.health_check_node_port
    if needs_health_check(spec) and needs_health_check(former):
        health_check = health_check or former.health_check_node_port
    return altered(spec, cluster_ips=addresses, ports=ports, health_check_node_port=health_check)


def _with_former_node_ports(spec: ServiceSpec, former: ServiceSpec) -> tuple[ServicePort, ...]:
    """Return the ports with former node ports, by name: number and protocol may have changed."""
    used = node_port_numbers(former) & node_port_numbers(spec)
    known = {port.name: port.node_port for port in former.ports if port.node_port not in used}
    return tuple(
        replace(port, node_port=known[port.name])
        if not port.node_port and known.get(port.name)
        else port
        for port in spec.ports
    )


def drop_unused(spec: ServiceSpec, former: ServiceSpec | None) -> ServiceSpec:
    """Return `spec` without unchanged values that `former` needed and the new type does not."""
    if former is None:
        return spec
    if needs_cluster_ip(former) and not needs_cluster_ip(spec):
        if spec.cluster_ips == former.cluster_ips:
            spec = altered(spec, cluster_ips=())
        if spec.ip_families == former.ip_families:
            spec = altered(spec, ip_families=())
        if spec.ip_family_policy == former.ip_family_policy:
            spec = altered(spec, ip_family_policy=None)
    if (
        needs_node_ports(former)
        and not needs_node_ports(spec)
        and node_port_numbers(spec) <= node_port_numbers(former)
    ):
        spec = altered(spec, ports=tuple(altered(port, node_port=0) for port in spec.ports))
    if (
        needs_health_check(former)
        and not needs_health_check(spec)
        and spec.health_check_node_port == former.health_check_node_port
    ):
        spec = altered(spec, health_check_node_port=0)
    if spec.type != "LoadBalancer":
        for field in ("allocate_load_balancer_node_ports", "load_balancer_class"):
            if getattr(spec, field) == getattr(former, field):
                spec = altered(spec, **{field: None})
    unreachable = not reachable_from_outside(spec)
    if unreachable and spec.external_traffic_policy == former.external_traffic_policy:
        spec = altered(spec, external_traffic_policy=None)
    return spec


def update_problems(spec: ServiceSpec, former: ServiceSpec) -> list[str]:
    """Return the problems of changes that are forbidden, or need another field to be set."""
    problems: list[str] = []
    if needs_cluster_ip(spec) and needs_cluster_ip(former):
        if not (is_headless(spec) and is_headless(former)):
            problems += _changed_addresses(spec, former)
        if not (is_headless(spec) or is_headless(former)):
            problems += _changed_families(spec, former)
    name = spec.load_balancer_class
    both_balanced = spec.type == former.type == "LoadBalancer"
    if both_balanced and name != former.load_balancer_class:
        problems.append(invalid(BALANCER_CLASS, name, FIXED))
    if (
        needs_health_check(spec)
        and needs_health_check(former)
        and spec.health_check_node_port != former.health_check_node_port
    ):
        problems.append(forbidden(HEALTH_CHECK, "field is immutable"))
    return problems


def _changed_addresses(spec: ServiceSpec, former: ServiceSpec) -> list[str]:
    now, before = spec.cluster_ips, former.cluster_ips
    compared = len(before) if len(now) == len(before) else 1
    problems = [
        invalid(f"{CLUSTER_IPS}[{i}]", now, FIXED)
        for i, (old, new) in enumerate(zip(before[:compared], now, strict=False))
        if old != new
    ]
    if len(now) < len(before) and spec.ip_family_policy != "SingleStack":
        needed = "must be set to 'SingleStack' when releasing the secondary clusterIP"
        problems.append(invalid(POLICY, spec.ip_family_policy, needed))
    return problems


def _changed_families(spec: ServiceSpec, former: ServiceSpec) -> list[str]:
    now, before = spec.ip_families, former.ip_families
    # The API server names the first family whichever changed, and shows the addresses if the number
    # of families changed too.
    compared = len(before) if len(now) == len(before) else 1
    shown: FieldValue = now if len(now) == len(before) else spec.cluster_ips
    return [
        invalid(f"{FAMILIES}[0]", shown, FIXED)
        for old, new in zip(before[:compared], now, strict=False)
        if old != new
    ]
