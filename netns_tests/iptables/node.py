"""A node to sync rules into: a namespace, a store, a proxy for both families."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from kproxy_iptables import IptablesBackend

from kproxy.api.types import KubernetesObject
from kproxy.backend import BackendOptions
from kproxy.config import ProxyConfig
from kproxy.forwarding.plan import Family
from kproxy.kernel.netns import Namespace
from kproxy.kernel.xtables import Variant, Xtables
from kproxy.proxy import NodeProxy
from kproxy.store import Store
from netns_tests.conformance import dump
from netns_tests.conformance.comparison import State, parse

CONFIG = ProxyConfig(
    mode="iptables",
    hostname_override="node-0",
    bind_address="192.168.10.10",
    cluster_cidr="10.244.0.0/16,fd00:10:244::/56",
    detect_local_mode="ClusterCIDR",
)


class Bench:
    """One namespace with a proxy in it; made by `bench`, used by the thread that made it."""

    def __init__(self, variant: Variant) -> None:
        self.variant = variant
        self.store = Store()
        self.backends = {
            family: IptablesBackend(family, BackendOptions(iptables_variant=variant))
            for family in Family
        }
        self.proxy = NodeProxy(self.store, CONFIG, self.backends)

    def sync(self, objects: Iterable[KubernetesObject] | None = None) -> None:
        if objects is not None:
            self.store.replace(objects)
        self.proxy.sync()

    def tables(self, family: Family = Family.IPV4) -> Xtables:
        return Xtables(family, self.variant)

    def state(self) -> State:
        """What the kernel's own tools print, in a form where only meaningful order counts."""
        return parse(dump.iptables(self.variant))


@contextmanager
def bench(variant: Variant) -> Iterator[Bench]:
    """The calling thread is in a new namespace for the duration of the block."""
    with Namespace.create("bench") as namespace, namespace.entered():
        yield Bench(variant)


def fresh_state(variant: Variant, objects: Iterable[KubernetesObject]) -> State:
    """What a new proxy makes of these objects in a new namespace."""
    with bench(variant) as fresh:
        fresh.sync(objects)
        return fresh.state()
