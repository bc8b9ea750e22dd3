"""The proxy that is measured: a mode in one of its variants, on a node with a cluster."""

from __future__ import annotations

from collections.abc import Iterable

from kproxy.address import Family
from kproxy.api.types import KubernetesObject
from kproxy.backend import BackendOptions, load
from kproxy.bench.cluster import CLUSTER_CIDR, NODE
from kproxy.config import ProxyConfig
from kproxy.errors import BadInput
from kproxy.proxy import NodeProxy
from kproxy.store import Store

VARIANTS = {  # of a mode; other modes have the one that they choose themselves
    "iptables": ("nft", "legacy"),
    "nftables": ("kube-proxy", "flat"),
}
_AUTO = "auto"


def variants(mode: str, chosen: Iterable[str]) -> tuple[str, ...]:
    """Those to measure: the chosen ones, else all of the mode.

    Raises BadInput for a mode that is not installed or a variant that it does not have.
    """
    load(mode)
    known = VARIANTS.get(mode, ())
    strange = [variant for variant in chosen if variant not in known]
    if strange:
        has = f"has {' and '.join(known)}" if known else "has no variants"
        raise BadInput([f"{mode} mode {has}, not {variant}" for variant in strange])
    return tuple(chosen) or known or (_AUTO,)


def new_proxy(
    mode: str, variant: str, objects: Iterable[KubernetesObject]
) -> tuple[Store, NodeProxy]:
    """A proxy that has not synced yet, of IPv4 alone, and the store that it reads."""
    store = Store()
    store.replace(objects)
    config = ProxyConfig(mode=mode, hostname_override=NODE, cluster_cidr=CLUSTER_CIDR)
    backends = {Family.IPV4: load(mode)(Family.IPV4, backend_options(mode, variant))}
    return store, NodeProxy(store, config, backends)


def backend_options(mode: str, variant: str) -> BackendOptions:
    match mode:
        case "iptables":
            return BackendOptions(iptables_variant=variant)
        case "nftables":
            return BackendOptions(nftables_layout=variant)
        case _:
            return BackendOptions()
