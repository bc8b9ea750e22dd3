"""The API server's checks of new and updated Services, where kube-proxy would ignore the fault.

Fields that do not belong to the type cannot be checked earlier: an update may state what its former
type needed, and loses it then.
Source: pkg/apis/core/validation/validation.go (ValidateService) of Kubernetes
"""

from __future__ import annotations

from kproxy.api.addresses import canonical_cidr, special_problem
from kproxy.api.names import (
    MAX_LABEL,
    label_value_problem,
    port_name_problem,
    qualified_name_problem,
)
from kproxy.api.service_rules import reachable_from_outside
from kproxy.api.types import Service, ServiceSpec
from kproxy.controlplane.families import CLUSTER_IPS, FAMILIES, POLICY, is_headless
from kproxy.controlplane.field_errors import forbidden, invalid
from kproxy.controlplane.hints import TOPOLOGY_MODE
from kproxy.controlplane.metadata_validation import metadata_problems
from kproxy.controlplane.service_updates import (
    BALANCER_CLASS,
    HEALTH_CHECK,
    needs_health_check,
    needs_node_ports,
)

TOPOLOGY_HINTS = "service.kubernetes.io/topology-aware-hints"
SOURCE_RANGES = "service.beta.kubernetes.io/load-balancer-source-ranges"
KUBELET_PORT = 10250

_ONLY_BALANCERS = "may only be used when `type` is 'LoadBalancer'"


def name_problems(service: Service) -> list[str]:
    """Return the problems of `metadata`."""
    problems = [*metadata_problems(service.metadata)]
    name = service.metadata.name
    if len(name) > MAX_LABEL:
        told = f"must be no more than {MAX_LABEL} characters"
        problems.append(invalid("metadata.name", name, told))
    annotations = service.metadata.annotations
    mode, hints = annotations.get(TOPOLOGY_MODE), annotations.get(TOPOLOGY_HINTS)
    if mode is not None and hints is not None and mode != hints:
        told = f"must match annotations[{TOPOLOGY_HINTS}] when both are specified"
        problems.append(invalid(f"metadata.annotations[{TOPOLOGY_MODE}]", mode, told))
    ranges = annotations.get(SOURCE_RANGES)
    if ranges is not None and not service.spec.load_balancer_source_ranges:
        field = f"metadata.annotations[{SOURCE_RANGES}]"
        if service.spec.type != "LoadBalancer":
            problems.append(forbidden(field, _ONLY_BALANCERS))
        elif ranges.strip() and not all(canonical_cidr(each.strip()) for each in ranges.split(",")):
            told = "must be a list of CIDRs such as 10.0.0.0/8,192.0.2.0/24"
            problems.append(invalid(field, ranges, told))
    return problems


def spec_problems(spec: ServiceSpec) -> list[str]:
    """Return the problems of a spec as it would be stored."""
    problems: list[str] = []
    if needs_node_ports(spec) and is_headless(spec):
        none = f"may not be set to 'None' for {spec.type} services"
        problems.append(invalid(f"{CLUSTER_IPS}[0]", spec.cluster_ips[0], none))
    if spec.type == "ExternalName":
        problems += [
            forbidden(field, "may not be set for ExternalName services")
            for field, value in (
                (CLUSTER_IPS, spec.cluster_ips),
                (FAMILIES, spec.ip_families),
                (POLICY, spec.ip_family_policy),
            )
            if value
        ]
    for key, value in spec.selector.items():
        if told := qualified_name_problem(key):
            problems.append(invalid("spec.selector", key, told))
        if told := label_value_problem(value):
            problems.append(invalid("spec.selector", value, told))
    for i, address in enumerate(spec.external_ips):
        if told := special_problem(address):
            problems.append(invalid(f"spec.externalIPs[{i}]", address, told))
    for i, port in enumerate(spec.ports):
        if isinstance(port.target_port, str) and (told := port_name_problem(port.target_port)):
            problems.append(invalid(f"spec.ports[{i}].targetPort", port.target_port, told))
        if port.app_protocol is not None and (told := qualified_name_problem(port.app_protocol)):
            problems.append(invalid(f"spec.ports[{i}].appProtocol", port.app_protocol, told))
        if spec.type == "LoadBalancer" and port.port == KUBELET_PORT:
            told = f"may not expose port {KUBELET_PORT} externally since it is used by kubelet"
            problems.append(invalid(f"spec.ports[{i}].port", port.port, told))
    if spec.session_affinity == "None" and spec.session_affinity_config is not None:
        told = "must not be set when session affinity is None"
        problems.append(forbidden("spec.sessionAffinityConfig", told))
    balancer_class = spec.load_balancer_class
    if balancer_class is not None and (told := qualified_name_problem(balancer_class)):
        problems.append(invalid(BALANCER_CLASS, balancer_class, told))
    if spec.type == "ClusterIP":
        problems += [
            forbidden(f"spec.ports[{i}].nodePort", "may not be used when `type` is 'ClusterIP'")
            for i, port in enumerate(spec.ports)
            if port.node_port
        ]
    if spec.type != "LoadBalancer":
        problems += _balancer_fields(spec)
    if spec.external_traffic_policy is not None and not reachable_from_outside(spec):
        only = "may only be set for externally-accessible services"
        policy = spec.external_traffic_policy
        problems.append(invalid("spec.externalTrafficPolicy", policy, only))
    if spec.health_check_node_port and not needs_health_check(spec):
        only = (
            "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"
        )
        problems.append(invalid(HEALTH_CHECK, spec.health_check_node_port, only))
    return problems


def _balancer_fields(spec: ServiceSpec) -> list[str]:
    return [
        forbidden(field, _ONLY_BALANCERS)
        for field, given in (
            ("spec.loadBalancerSourceRanges", bool(spec.load_balancer_source_ranges)),
            (
                "spec.allocateLoadBalancerNodePorts",
                spec.allocate_load_balancer_node_ports is not None,
            ),
            (BALANCER_CLASS, spec.load_balancer_class is not None),
        )
        if given
    ]
