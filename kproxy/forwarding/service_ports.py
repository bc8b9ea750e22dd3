"""The service ports of a Service: names, frontends and policies of one family, not endpoints.

Source: kube-proxy servicechangetracker.go (serviceToServiceMap), util/utils.go (ShouldSkipService,
GetClusterIPByFamily), serviceport.go (newBaseServiceInfo).
"""

from __future__ import annotations

import ipaddress

from msgspec import Struct

from kproxy.address import Family, family_of
from kproxy.api.types import PROXY_NAME_LABEL, Service, ServicePort
from kproxy.forwarding.plan import (
    Frontend,
    FrontendKind,
    Masquerade,
    NodeSettings,
    OnEmpty,
    Pool,
    ServicePortName,
)


class ServicePolicy(Struct, frozen=True, gc=False, kw_only=True):
    """Fields that all ports of one Service share in one family. Tuples keep the object's order."""

    cluster_ip: str
    external_ips: tuple[str, ...]
    load_balancer_ips: tuple[str, ...]
    source_ranges: tuple[str, ...]  # empty: all; VIPs appended if this node's IP is allowed
    internal_local: bool
    external_local: bool
    affinity_timeout_s: int
    health_check_node_port: int


def is_proxied(service: Service) -> bool:
    """Tell whether kube-proxy serves this Service: it has a cluster IP and is no mere DNS name.

    A Service that names another proxy is left to that one; kube-proxy does not watch it.
    """
    return (
        PROXY_NAME_LABEL not in service.metadata.labels
        and service.spec.cluster_ip not in ("", "None")
        and service.spec.type != "ExternalName"
    )


def cluster_ip_of(service: Service, family: Family) -> str:
    """Return the Service's cluster IP in `family`, or ""."""
    spec = service.spec
    if not spec.ip_families:
        return spec.cluster_ip if family_of(spec.cluster_ip) is family else ""
    for ip_family, address in zip(spec.ip_families, spec.cluster_ips, strict=False):
        if ip_family == family:
            return address
    return ""


def policy_of(service: Service, settings: NodeSettings) -> ServicePolicy | None:
    """Return the policy of `service` in the family of `settings`; None if it is not in it."""
    if not is_proxied(service):
        return None
    family = settings.family
    cluster_ip = cluster_ip_of(service, family)
    if not cluster_ip:
        return None
    spec = service.spec
    external_ips = tuple([ip for ip in spec.external_ips if family_of(ip) is family])
    vips = tuple(
        [
            ingress.ip
            for ingress in service.status.load_balancer.ingress
            if ingress.ip and ingress.ip_mode in (None, "VIP") and family_of(ingress.ip) is family
        ]
    )
    external_local = spec.external_traffic_policy == "Local" and (
        spec.type in ("LoadBalancer", "NodePort") or bool(spec.external_ips)
    )
    affinity_timeout_s = 0
    if spec.session_affinity == "ClientIP":
        config = spec.session_affinity_config
        # The API server's default is 10800 s (core/v1 DefaultClientIPServiceAffinitySeconds).
        affinity_timeout_s = (
            config.client_ip.timeout_seconds if config and config.client_ip else 10800
        )
    return ServicePolicy(
        cluster_ip=cluster_ip,
        external_ips=external_ips,
        load_balancer_ips=vips,
        source_ranges=_source_ranges(spec.load_balancer_source_ranges, vips, settings),
        internal_local=spec.internal_traffic_policy == "Local",
        external_local=external_local,
        affinity_timeout_s=affinity_timeout_s,
        health_check_node_port=(
            spec.health_check_node_port if spec.type == "LoadBalancer" and external_local else 0
        ),
    )


def port_name(service: Service, port: ServicePort) -> ServicePortName:
    meta = service.metadata
    return ServicePortName(meta.namespace, meta.name, port.name, port.protocol)


def externally_accessible(policy: ServicePolicy, port: ServicePort) -> bool:
    """Tell whether outside clients may reach the port, whatever the external IPs feature gate."""
    return bool(port.node_port or policy.load_balancer_ips or policy.external_ips)


def frontends_of(
    policy: ServicePolicy, port: ServicePort, settings: NodeSettings, on_empty: OnEmpty
) -> tuple[Frontend, ...]:
    """Return the addresses and ports of one service port, and how each is treated."""
    if settings.masquerade_all:
        internal_masquerade = Masquerade.ALWAYS
    elif settings.detector:
        internal_masquerade = Masquerade.OFF_CLUSTER
    else:
        internal_masquerade = Masquerade.NEVER
    frontends = [
        Frontend(
            kind=FrontendKind.CLUSTER_IP,
            address=policy.cluster_ip,
            port=port.port,
            pool=Pool.LOCAL if policy.internal_local else Pool.CLUSTER,
            on_empty=on_empty,
            masquerade=internal_masquerade,
        )
    ]

    def external(
        kind: FrontendKind, address: str, number: int, ranges: tuple[str, ...] = ()
    ) -> None:
        frontends.append(
            Frontend(
                kind=kind,
                address=address,
                port=number,
                pool=Pool.LOCAL if policy.external_local else Pool.CLUSTER,
                on_empty=on_empty,
                # With Local the reply leaves by the node the client asked: its address can stay.
                masquerade=Masquerade.NEVER if policy.external_local else Masquerade.ALWAYS,
                short_circuit=policy.external_local,
                source_ranges=ranges,
            )
        )

    if settings.allow_external_ips:
        for address in policy.external_ips:
            external(FrontendKind.EXTERNAL_IP, address, port.port)
    for address in policy.load_balancer_ips:
        external(FrontendKind.LOAD_BALANCER, address, port.port, policy.source_ranges)
    if port.node_port:
        external(FrontendKind.NODE_PORT, "", port.node_port)
    return tuple(frontends)


def _source_ranges(
    entries: tuple[str, ...], vips: tuple[str, ...], settings: NodeSettings
) -> tuple[str, ...]:
    if not entries:
        return ()
    ranges = tuple(cidr for cidr in entries if family_of(cidr) is settings.family)
    if any(cidr.endswith("/0") for cidr in ranges):
        return ()
    if ranges and settings.node_ip:
        node_ip = ipaddress.ip_address(settings.node_ip)
        if any(node_ip in ipaddress.ip_network(cidr) for cidr in ranges):
            # A process of this node that asks a VIP has it as source if the VIP is bound here.
            return ranges + vips
    return ranges
