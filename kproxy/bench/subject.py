"""The proxy that is measured: a mode in one of its variants, on a node with a cluster."""

from __future__ import annotations

from collections.abc import Iterable

from kproxy.address import Family
from kproxy.api.types import KubernetesObject
from kproxy.backend import BackendOptions, Mode, complete_options, load
from kproxy.bench.cluster import CLUSTER_CIDR, NODE
from kproxy.bench.results import ProxySize
from kproxy.config import ProxyConfig
from kproxy.errors import BadInput
from kproxy.proxy import NodeProxy
from kproxy.store import Store

_AUTO = "auto"


def variants(mode: str, chosen: Iterable[str]) -> tuple[str, ...]:
    """Return the variants to measure: the chosen ones, else all of the mode.

    Raises BadInput for a mode that is not installed or a variant that it does not have.
    """
    known = load(mode).variants
    strange = [variant for variant in chosen if variant not in known]
    if strange:
        has = f"has {' and '.join(known)}" if known else "has no variants"
        raise BadInput([f"{mode} mode {has}, not {variant}" for variant in strange])
    return tuple(chosen) or known or (_AUTO,)


def new_proxy(size: ProxySize, objects: Iterable[KubernetesObject]) -> tuple[Store, NodeProxy]:
    """Return a proxy of IPv4 only that has not synced yet, and the store that it reads."""
    store = Store()
    store.replace(objects)
    config = ProxyConfig(
        mode=size.mode,
        hostname_override=NODE,
        cluster_cidr=CLUSTER_CIDR,
        emulate=size.emulate,
    )
    chosen = load(size.mode)
    options = complete_options(chosen, config, backend_options(chosen, size.variant))
    backends = {Family.IPV4: chosen.backend(Family.IPV4, options)}
    return store, NodeProxy(
        store, config, backends, mode=chosen.config, options=options, in_parts=chosen.in_parts
    )


def backend_options(mode: Mode, variant: str) -> BackendOptions:
    """Return the options that choose a variant of the mode; `auto` leaves it to the mode."""
    chosen = {} if variant == _AUTO else {mode.variant_option: variant}
    return mode.options_with(**chosen)
