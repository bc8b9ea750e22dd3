"""Profiles: how a distribution of Kubernetes sets up kube-proxy and its load balancers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A named set of settings.

    `config` has fields of KubeProxyConfiguration, spelled and nested alike. With `detects_local`,
    proxies know the pod CIDRs, and so which traffic comes from a pod. With `passes_through_local`,
    nodes do not intercept traffic to the load balancers of Services with externalTrafficPolicy
    Local (`ipMode: Proxy` in the status).
    """

    name: str
    summary: str
    config: Mapping[str, object] = field(default_factory=dict)
    detects_local: bool = True
    passes_through_local: bool = False


_MASQUERADE_ALL = {"masqueradeAll": True}
_DECLARED = (
    Profile(name="upstream", summary="the defaults of kube-proxy, with the pods' CIDRs known"),
    Profile(
        name="cce",
        summary="no local detector, everything masqueraded, load balancers passed through",
        # In ipvs mode kube-proxy reads the setting of the section for iptables.
        config={"iptables": _MASQUERADE_ALL, "nftables": _MASQUERADE_ALL},
        detects_local=False,
        passes_through_local=True,
    ),
)
PROFILES = {profile.name: profile for profile in _DECLARED}
