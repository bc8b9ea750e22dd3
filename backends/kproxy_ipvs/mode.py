"""The `Mode` of ipvs mode."""

from __future__ import annotations

from kproxy.backend import Mode, ModeConfig
from kproxy_ipvs import oracle
from kproxy_ipvs.backend import IpvsBackend
from kproxy_ipvs.options import IpvsOptions

MODE = Mode(
    name=IpvsBackend.name,
    backend=IpvsBackend,
    description="Virtual servers of IPVS; on user-mode Linux where the kernel has none.",
    options=IpvsOptions,
    config=ModeConfig(
        timing="ipvs",
        section="ipvs",
        service_cidrs=False,
        full_sync_each_period=True,
        warning="ipvs mode is deprecated in kube-proxy and may be removed; nftables replaces it",
    ),
    rules=oracle,
    needs_ip_vs=True,
    traced=False,
    affinity_follows_connections=True,
    look="ipvsadm -Ln",
)
