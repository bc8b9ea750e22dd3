"""Checks, by trying, that this kernel and the installed tools support the rules."""

from __future__ import annotations

from collections.abc import Iterator

from kproxy.address import Family
from kproxy.errors import KernelRefused, Unsupported
from kproxy.forwarding.plan import (
    DetectLocal,
    Endpoint,
    Frontend,
    FrontendKind,
    LocalDetector,
    Masquerade,
    NodeSettings,
    OnEmpty,
    Pool,
    ServicePlan,
    ServicePortName,
)
from kproxy.kernel.netlink import Request
from kproxy.kernel.nftables.listing import nft_version
from kproxy.kernel.nftables.objects import Table
from kproxy_nftables import flat_layout, kube_proxy_layout, transaction
from kproxy_nftables.contents import Contents
from kproxy_nftables.transaction import Fixed
from kproxy_nftables.wanted import NOTHING

MINIMUM_NFT = (1, 0, 1)  # kube-proxy's; older ones cannot print the rules
_REMEDY = "install nftables 1.0.1 or newer"


def require_nft() -> None:
    """Raise Unsupported if `nft` is missing or too old."""
    try:
        version = nft_version()
    except Unsupported as error:
        raise Unsupported(str(error), remedy=error.remedy or _REMEDY) from None
    except KernelRefused as error:  # the program failed, not the kernel
        raise Unsupported(str(error), remedy=_REMEDY) from None
    if version < MINIMUM_NFT:
        raise Unsupported(f"nft is {'.'.join(map(str, version))}", remedy=_REMEDY)


def rehearsal(family: Family) -> Iterator[Request]:
    """Yield a table of our own with all kinds of chains, sets and expressions of both layouts."""
    table = Table(family, "kproxy-rehearsal")
    settings = NodeSettings(
        family=family, node_name="", detector=LocalDetector(DetectLocal.PREFIX, "veth")
    )
    contents = Contents()
    remembering = _service("affinity", family, affinity_timeout_s=10)
    plain = _service("plain", family, affinity_timeout_s=0)
    contents.change(remembering.name, NOTHING, kube_proxy_layout.wanted(remembering, settings))
    contents.change(plain.name, NOTHING, flat_layout.wanted(plain, settings))
    fixed = Fixed(settings, flat=True)
    yield from transaction.from_nothing(table, fixed, contents.take_changes(), settings)


def _service(name: str, family: Family, affinity_timeout_s: int) -> ServicePlan:
    """Return a service at addresses for documentation (RFC 5737, 3849)."""
    net = "192.0.2." if family is Family.IPV4 else "2001:db8::"
    cidrs = (
        ("192.0.2.0/25", "198.51.100.0/24")
        if family is Family.IPV4
        else ("2001:db8::/64", "2001:db8:1::/64")
    )
    number = affinity_timeout_s
    endpoint = Endpoint(f"{net}{number + 3}", 80, local=True)
    frontends = tuple(
        Frontend(
            kind=kind,
            address=f"{net}{number + last}" if last else "",
            port=80 + number,
            pool=Pool.LOCAL,
            on_empty=OnEmpty.REJECT,
            masquerade=Masquerade.NEVER,
            short_circuit=kind is not FrontendKind.CLUSTER_IP,
            source_ranges=cidrs if kind is FrontendKind.LOAD_BALANCER else (),
        )
        for kind, last in (
            (FrontendKind.CLUSTER_IP, 1),
            (FrontendKind.LOAD_BALANCER, 2),
            (FrontendKind.NODE_PORT, 0),
        )
    )
    return ServicePlan(
        name=ServicePortName("kproxy", name, "", "TCP"),
        family=family,
        frontends=frontends,
        cluster=(endpoint,),
        local=(endpoint,),
        reachable=(endpoint,),
        has_endpoints=True,
        external_local=True,
        externally_accessible=True,
        affinity_timeout_s=affinity_timeout_s,
    )
