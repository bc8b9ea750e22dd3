"""Updates of a Service: what it keeps of its former version, and what it loses.

Source: pkg/registry/core/service/storage/storage.go (patchAllocatedValues, normalizeClusterIPs)
and pkg/registry/core/service/strategy.go (dropTypeDependentFields) of Kubernetes
"""

from __future__ import annotations

from msgspec.structs import replace

from kproxy.api.checks import altered
from kproxy.api.service_rules import reachable_from_outside
from kproxy.api.types import ServicePort, ServiceSpec


def needs_cluster_ip(spec: ServiceSpec) -> bool:
    """Tell whether the type has a cluster IP. Headless Services have one: "None" is a value."""
    return spec.type != "ExternalName"


def needs_node_ports(spec: ServiceSpec) -> bool:
    return spec.type in ("NodePort", "LoadBalancer")


def allocates_node_ports(spec: ServiceSpec) -> bool:
    """Tell whether node ports are allocated; a load balancer may do without."""
    return spec.type == "NodePort" or (
        spec.type == "LoadBalancer" and spec.allocate_load_balancer_node_ports is not False
    )


def needs_health_check(spec: ServiceSpec) -> bool:
    return spec.type == "LoadBalancer" and spec.external_traffic_policy == "Local"


def node_port_numbers(spec: ServiceSpec) -> frozenset[int]:
    return frozenset(port.node_port for port in spec.ports if port.node_port)


def keep_allocated(spec: ServiceSpec, former: ServiceSpec | None) -> ServiceSpec:
    """Return `spec` with what was allocated to `former` and is not mentioned now.

    So the manifest that created a Service can be applied again. If it gives only the first cluster
    IP (as `clusterIP`), the other one stays: only the policy can release that.
    """
    if former is None:
        return _with_linked_addresses(spec, None)
    if needs_cluster_ip(spec) and needs_cluster_ip(former):
        spec = altered(
            spec,
            cluster_ip=spec.cluster_ip or former.cluster_ip,
            cluster_ips=spec.cluster_ips or former.cluster_ips,
        )
    if allocates_node_ports(spec) and allocates_node_ports(former):
        spec = altered(spec, ports=_with_former_node_ports(spec, former))
    if needs_health_check(spec) and needs_health_check(former):
        number = spec.health_check_node_port or former.health_check_node_port
        spec = altered(spec, health_check_node_port=number)
    return _with_linked_addresses(spec, former)


def _with_linked_addresses(spec: ServiceSpec, former: ServiceSpec | None) -> ServiceSpec:
    """Return `spec` with `clusterIPs` for clients that know only `clusterIP`."""
    first, addresses = spec.cluster_ip, spec.cluster_ips
    if former is None:
        return altered(spec, cluster_ips=(first,)) if first and not addresses else spec
    if former.cluster_ip == first:
        return altered(spec, cluster_ips=addresses or former.cluster_ips)
    if addresses == former.cluster_ips:  # only the first one was changed
        return altered(spec, cluster_ips=(first,) if first or not former.cluster_ip else ())
    return spec


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
        if (spec.cluster_ip, spec.cluster_ips) == (former.cluster_ip, former.cluster_ips):
            spec = altered(spec, cluster_ip="", cluster_ips=())
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
