"""The `Mode` of ipvs mode."""

from __future__ import annotations

from kproxy.address import Family
from kproxy.backend import Backend, Mode, ModeConfig, Ruleset
from kproxy.backend.late import late
from kproxy_ipvs import oracle
from kproxy_ipvs.options import IpvsOptions


def comparable(ruleset: Ruleset) -> dict[str, dict[str, tuple[str, ...]]]:
    """Return the ruleset without real servers that only keep the connections which they have."""
    return {
        table: {
            name: tuple(line for line in lines if table != "ipvs" or not line.endswith(" -w 0"))
            for name, lines in objects.items()
        }
        for table, objects in ruleset.items()
    }


def services(ruleset: Ruleset) -> int:
    """Count the cluster IPs: a Service has one of each family."""
    from kproxy_ipvs.names import set_name

    sets = ruleset.get("ipset", {})
    names = (set_name(family, "CLUSTER-IP") for family in Family)
    return len({entry.partition(",")[0] for name in names for entry in sets.get(name, ())})


def backend(family: Family, options: IpvsOptions) -> Backend:
    """Return a new backend. Questions on paper do not pay for the import of what it needs."""
    from kproxy_ipvs.backend import IpvsBackend

    return IpvsBackend(family, options)


MODE = Mode(
    name="ipvs",
    backend=backend,
    description="Virtual servers of IPVS; on user-mode Linux where the kernel has none.",
    options=IpvsOptions,
    config=ModeConfig(
        timing="ipvs",
        section="ipvs",
        gate="KubeProxyIPVS",
        service_cidrs=False,
        full_sync_each_period=True,
        warning="ipvs mode is deprecated in kube-proxy and may be removed; nftables replaces it",
    ),
    rules=oracle,
    comparable=comparable,
    render=late("kproxy_ipvs.rendering", "render"),
    inputs=late("kproxy_ipvs.rendering", "inputs"),
    service_rules=late("kproxy_ipvs.service_rules", "service_rules"),
    services=services,
    in_parts=True,
    needs_ip_vs=True,
    falls_back=True,
    traced=False,
    partial_syncs=False,
    policies_by_service=True,
    affinity_follows_connections=True,
    chains={
        "KUBE-MARK-MASQ": "marks it to be masqueraded",
        "KUBE-LOAD-BALANCER": "for clients of a load balancer's address",
        "KUBE-SOURCE-RANGES-FIREWALL": "lets in only loadBalancerSourceRanges",
    },
    look="ipvsadm -Ln",
)
