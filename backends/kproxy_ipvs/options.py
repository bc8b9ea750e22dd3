"""The options of ipvs mode, and their effect on a plan. Pure."""

from __future__ import annotations

from typing import Literal

from kproxy.backend import BackendOptions, Endpoint, Frontend, NodeSettings, ServicePlan


class IpvsOptions(BackendOptions, frozen=True, kw_only=True):
    """The options of ipvs mode.

    Those without a description are fields of the configuration's section `ipvs`; times are seconds.
    """

    iptables_variant: Literal["auto", "nft", "legacy"] = "auto"
    """The variant of iptables. auto: the one in use in the namespace."""
    ipvs_local_fallback: bool = True
    """With a traffic policy Local and no endpoint on the node, virtual servers lead to all
    endpoints, as since Kubernetes 1.25; else they are empty and refuse, as before.
    """
    scheduler: str = ""
    exclude_cidrs: tuple[str, ...] = ()
    strict_arp: bool = False
    tcp_timeout: float = 0
    tcp_fin_timeout: float = 0
    udp_timeout: float = 0


def real_servers(
    service: ServicePlan, frontend: Frontend, settings: NodeSettings
) -> tuple[Endpoint, ...]:
    """Return the frontend's pool, or all endpoints if this node has none: IPVS never drops.

    Source: kube-proxy ipvs/proxier.go, syncEndpoint.
    """
    found = service.pool(frontend)
    options = settings.options
    falls_back = not isinstance(options, IpvsOptions) or options.ipvs_local_fallback
    return found or service.cluster if falls_back else found
