"""The API server's checks of a Service as it would be stored, in the server's order.

Source: pkg/apis/core/validation/validation.go (ValidateServiceCreate, ValidateServiceUpdate,
validateService, ValidateLoadBalancerStatus) of Kubernetes
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from kproxy.api import service_rules
from kproxy.api.service_rules import MAX_AFFINITY_TIMEOUT_S, reachable_from_outside
from kproxy.api.types import LoadBalancerStatus, Service, ServicePort, ServiceSpec
from kproxy.controlplane.cluster_ip_validation import (
    CLUSTER_IPS,
    FAMILIES,
    POLICY,
    cluster_ip_problems,
    is_headless,
    legacy_ip_problems,
    update_problems,
)
from kproxy.controlplane.field_errors import (
    duplicate,
    forbidden,
    invalid,
    required,
    unsupported,
)
from kproxy.controlplane.hints import TOPOLOGY_MODE
from kproxy.controlplane.metadata_validation import label_map_problems, metadata_problems
from kproxy.controlplane.service_updates import needs_health_check
from kproxy.controlplane.status_validation import hostname_problems
from kproxy.controlplane.value_problems import (
    cidr_problems,
    endpoint_ip_problems,
    label_problems,
    port_name_problems,
    port_problems,
    qualified_name_problems,
    subdomain_problems,
)

TOPOLOGY_HINTS = "service.kubernetes.io/topology-aware-hints"
SOURCE_RANGES = "service.beta.kubernetes.io/load-balancer-source-ranges"
PROTOCOLS = sorted(service_rules.PROTOCOLS)

_HEALTH_CHECK = "spec.healthCheckNodePort"
_BALANCER_CLASS = "spec.loadBalancerClass"
_ONLY_LOCAL = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"
_ONLY_BALANCERS = "may only be used when `type` is 'LoadBalancer'"


def service_problems(service: Service, former: Service | None) -> Iterator[str]:
    """Yield the problems of a Service with all that was allocated; `former` is the stored one."""
    yield from metadata_problems(service, former)
    before = former.spec if former else None
    if before:
        yield from update_problems(service.spec, before)
        yield from _changed_balancer_class(service.spec, before)
        yield from _changed_health_check(service.spec, before)
    annotations = service.metadata.annotations
    mode, hints = annotations.get(TOPOLOGY_MODE), annotations.get(TOPOLOGY_HINTS)
    if mode is not None and hints is not None and mode != hints:
        told = f"must match annotations[{TOPOLOGY_HINTS}] when both are specified"
        yield invalid(f"metadata.annotations[{TOPOLOGY_MODE}]", mode, told)
    yield from _spec(service, former)


def status_problems(status: LoadBalancerStatus, former: LoadBalancerStatus | None) -> Iterator[str]:
    """Yield the problems of the status of a Service of type LoadBalancer."""
    old = tuple(each.ip for each in former.ingress if each.ip) if former else ()
    for i, each in enumerate(status.ingress):
        field = f"status.loadBalancer.ingress[{i}]"
        if each.ip:
            yield from _invalid(f"{field}.ip", each.ip, legacy_ip_problems(each.ip, old))
        if each.ip_mode is None:
            if each.ip:
                yield required(f"{field}.ipMode", "must be specified when `ip` is set")
        elif not each.ip:
            yield forbidden(f"{field}.ipMode", "may not be specified when `ip` is not set")
        elif each.ip_mode not in service_rules.IP_MODES:
            modes = sorted(service_rules.IP_MODES)
            yield unsupported(f"{field}.ipMode", each.ip_mode, modes)
        yield from hostname_problems(f"{field}.hostname", each.hostname)


def _changed_balancer_class(spec: ServiceSpec, former: ServiceSpec) -> Iterator[str]:
    name = spec.load_balancer_class
    if spec.type == former.type == "LoadBalancer" and name != former.load_balancer_class:
        yield invalid(_BALANCER_CLASS, name, "may not change once set")
    yield from _balancer_class(spec)


def _changed_health_check(spec: ServiceSpec, former: ServiceSpec) -> Iterator[str]:
    numbers = {each.health_check_node_port for each in (spec, former) if needs_health_check(each)}
    if len(numbers) > 1:
        yield forbidden(_HEALTH_CHECK, "field is immutable")


def _spec(service: Service, former: Service | None) -> Iterator[str]:
    spec, before = service.spec, former.spec if former else None
    if not spec.ports and not is_headless(spec) and spec.type != "ExternalName":
        yield required("spec.ports")
    yield from _type(spec)
    yield from _ports(spec.ports)
    yield from label_map_problems("spec.selector", spec.selector)
    yield from _affinity(spec)
    yield from cluster_ip_problems(spec, before)
    old_ips = before.external_ips if before else ()
    for i, address in enumerate(spec.external_ips):
        field = f"spec.externalIPs[{i}]"
        told = legacy_ip_problems(address, old_ips) or endpoint_ip_problems(address)
        yield from _invalid(field, address, told)
    yield from _choice("spec.type", spec.type, service_rules.TYPES)
    if spec.type == "ClusterIP":
        for i, port in enumerate(spec.ports):
            if port.node_port:
                only = "may not be used when `type` is 'ClusterIP'"
                yield forbidden(f"spec.ports[{i}].nodePort", only)
    if len(spec.ports) > 1:
        yield from _repeated_ports(spec.ports)
    yield from _source_ranges(service, former)
    if spec.allocate_load_balancer_node_ports is not None and spec.type != "LoadBalancer":
        yield forbidden("spec.allocateLoadBalancerNodePorts", _ONLY_BALANCERS)
    yield from _balancer_class(spec)
    yield from _traffic_policies(spec)


def _type(spec: ServiceSpec) -> Iterator[str]:
    if spec.type in ("LoadBalancer", "NodePort") and is_headless(spec):
        told = f"may not be set to 'None' for {spec.type} services"
        yield invalid(f"{CLUSTER_IPS}[0]", spec.cluster_ips[0], told)
    if spec.type != "ExternalName":
        return
    for field, value in (
        (CLUSTER_IPS, bool(spec.cluster_ips)),
        (FAMILIES, bool(spec.ip_families)),
        (POLICY, spec.ip_family_policy is not None),
    ):
        if value:
            yield forbidden(field, "may not be set for ExternalName services")
    name = spec.external_name.removesuffix(".")
    if name:
        yield from _invalid("spec.externalName", name, subdomain_problems(name))
    else:
        yield required("spec.externalName")


def _ports(ports: tuple[ServicePort, ...]) -> Iterator[str]:
    names = set[str]()
    for i, port in enumerate(ports):
        field = f"spec.ports[{i}]"
        if port.name:
            yield from _invalid(f"{field}.name", port.name, label_problems(port.name))
            if port.name in names:
                yield duplicate(f"{field}.name", port.name)
            names.add(port.name)
        elif len(ports) > 1:
            yield required(f"{field}.name")
        yield from _invalid(f"{field}.port", port.port, port_problems(port.port))
        yield from _choice(f"{field}.protocol", port.protocol, PROTOCOLS)
        # Without one, the default is the port.
        target = port.target_port or port.port
        judged = port_problems(target) if isinstance(target, int) else port_name_problems(target)
        yield from _invalid(f"{field}.targetPort", target, judged)
        if port.app_protocol is not None:
            told = qualified_name_problems(port.app_protocol)
            yield from _invalid(f"{field}.appProtocol", port.app_protocol, told)


def _affinity(spec: ServiceSpec) -> Iterator[str]:
    yield from _choice("spec.sessionAffinity", spec.session_affinity, service_rules.AFFINITIES)
    config = spec.session_affinity_config
    if spec.session_affinity == "ClientIP" and config and config.client_ip:
        timeout_s = config.client_ip.timeout_seconds
        if not 0 < timeout_s <= MAX_AFFINITY_TIMEOUT_S:
            field = "spec.sessionAffinityConfig.clientIP.timeoutSeconds"
            told = f"must be greater than 0 and less than {MAX_AFFINITY_TIMEOUT_S}"
            yield invalid(field, timeout_s, told)


def _repeated_ports(ports: tuple[ServicePort, ...]) -> Iterator[str]:
    def repeated(number_of: Callable[[ServicePort], int]) -> Iterator[tuple[int, ServicePort]]:
        seen = set[tuple[str, int]]()
        for i, port in enumerate(ports):
            key = (port.protocol, number_of(port))
            if key in seen:
                yield i, port
            seen.add(key)

    for i, port in repeated(lambda port: port.node_port):
        if port.node_port:
            yield duplicate(f"spec.ports[{i}].nodePort", port.node_port)
    for i, port in repeated(lambda port: port.port):
        # The server shows its own type, whose fields it spells so.
        key = {"Name": "", "Protocol": port.protocol, "AppProtocol": None}
        numbers = {"Port": port.port, "TargetPort": 0, "NodePort": 0}
        yield duplicate(f"spec.ports[{i}]", {**key, **numbers})


def _source_ranges(service: Service, former: Service | None) -> Iterator[str]:
    spec, ranges = service.spec, service.spec.load_balancer_source_ranges
    note = service.metadata.annotations.get(SOURCE_RANGES)
    if ranges:
        field = "spec.LoadBalancerSourceRanges"  # so spelled by the server
        if spec.type != "LoadBalancer":
            yield forbidden(field, _ONLY_BALANCERS)
        old = former.spec.load_balancer_source_ranges if former else ()
        kept = {each.strip() for each in old}
        for i, text in enumerate(ranges):
            value = text.strip()
            if value not in kept:
                yield from _invalid(f"{field}[{i}]", value, cidr_problems(value))
    elif note is not None:
        field = f"metadata.annotations[{SOURCE_RANGES}]"
        if spec.type != "LoadBalancer":
            yield forbidden(field, _ONLY_BALANCERS)
        if note.strip() and not (former and former.metadata.annotations.get(SOURCE_RANGES) == note):
            for value in map(str.strip, note.strip().split(",")):
                yield from _invalid(field, value, cidr_problems(value))


def _balancer_class(spec: ServiceSpec) -> Iterator[str]:
    name = spec.load_balancer_class
    if name is None:
        return
    if spec.type == "LoadBalancer":
        yield from _invalid(_BALANCER_CLASS, name, qualified_name_problems(name))
    else:
        yield forbidden(_BALANCER_CLASS, _ONLY_BALANCERS)


def _traffic_policies(spec: ServiceSpec) -> Iterator[str]:
    external, field = spec.external_traffic_policy, "spec.externalTrafficPolicy"
    if reachable_from_outside(spec):
        yield from _choice(field, external, service_rules.POLICIES)
    elif external is not None:
        yield invalid(field, external, "may only be set for externally-accessible services")
    number = spec.health_check_node_port
    if needs_health_check(spec):
        if number:
            yield from _invalid(_HEALTH_CHECK, number, port_problems(number))
        else:
            yield required(_HEALTH_CHECK)
    elif number:
        yield invalid(_HEALTH_CHECK, number, _ONLY_LOCAL)
    internal = spec.internal_traffic_policy
    yield from _choice("spec.internalTrafficPolicy", internal, service_rules.POLICIES)
    distribution = spec.traffic_distribution
    if distribution is not None and distribution not in service_rules.DISTRIBUTIONS:
        field = "spec.trafficDistribution"
        yield unsupported(field, distribution, service_rules.DISTRIBUTIONS)  # in this order


def _choice(field: str, value: str | None, choices: Iterable[str]) -> Iterator[str]:
    if value is not None and value not in choices:
        yield unsupported(field, value, sorted(choices))


def _invalid(field: str, value: str | int, problems: Iterable[str]) -> Iterator[str]:
    return (invalid(field, value, told) for told in problems)
