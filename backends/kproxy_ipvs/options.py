"""The options of ipvs mode, and what they decide of a plan. Pure."""

from __future__ import annotations

from typing import Literal

from kproxy.backend import BackendOptions, Endpoint, Frontend, NodeSettings, ServicePlan


class IpvsOptions(BackendOptions, frozen=True, kw_only=True):
    """`iptables_variant`: which iptables. auto: the one in use in the namespace.

    `ipvs_local_fallback`: with a traffic policy Local and no endpoint on the node, virtual servers
    lead to all endpoints, as since Kubernetes 1.25; else they are empty and refuse, as before.
    The others are the fields of section `ipvs` of the configuration; times are seconds.
    """

    iptables_variant: Literal["auto", "nft", "legacy"] = "auto"
    ipvs_local_fallback: bool = True
    scheduler: str = ""
    exclude_cidrs: tuple[str, ...] = ()
    strict_arp: bool = False
    tcp_timeout: float = 0
    tcp_fin_timeout: float = 0
    udp_timeout: float = 0


def real_servers(
    service: ServicePlan, frontend: Frontend, settings: NodeSettings
) -> tuple[Endpoint, ...]:
    """Return the frontend's pool; all endpoints where this node has none: IPVS never drops.

    Source: kube-proxy ipvs/proxier.go, syncEndpoint.
    """
    found = service.pool(frontend)
    options = settings.options
    falls_back = not isinstance(options, IpvsOptions) or options.ipvs_local_fallback
    return found or service.cluster if falls_back else found
