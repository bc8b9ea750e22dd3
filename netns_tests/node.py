"""A node to sync rules into: a namespace, a store, a proxy for both families."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

from msgspec.structs import replace

from kproxy.address import Family
from kproxy.api.types import KubernetesObject
from kproxy.backend import Backend, complete_options, load
from kproxy.config import ProxyConfig
from kproxy.config.types import IpvsSection
from kproxy.kernel.addresses import all_addresses
from kproxy.kernel.xtables import Xtables
from kproxy.proxy import NodeProxy
from kproxy.store import Store
from kproxy.testing.node import CONFIG, new_node
from kproxy.testing.random_cluster import RandomCluster
from netns_tests.conformance.comparison import State, parse
from netns_tests.modes import Mode

_SLOT = re.compile(r"(table \S+ \S+ map \S*endpoints-\S+ (?:.* \. )?\d+) \. (\d+) : (.+)")


class Bench:
    """One namespace with a proxy in it; made by `bench`, used by the thread that made it."""

    def __init__(
        self,
        mode: Mode,
        ipvs: IpvsSection | None = None,
        families: Iterable[Family] = Family,
    ) -> None:
        self.mode = mode
        self.store = Store()
        chosen = load(mode.name)
        config = replace(CONFIG, mode=mode.name, ipvs=ipvs or IpvsSection())
        options = complete_options(chosen, config, mode.options)
        self.backends = {family: chosen.backend(family, options) for family in families}
        self.proxy = NodeProxy(
            self.store, config, self.backends, mode=chosen.config, options=options
        )

    def sync(self, objects: Iterable[KubernetesObject] | None = None) -> None:
        if objects is not None:
            self.store.replace(objects)
        self.proxy.sync()

    def tables(self, family: Family = Family.IPV4) -> Xtables:
        return Xtables(family, self.mode.variant)

    def state(self) -> State:
        """Return what the kernel's own tools print, in a form where only meaningful order counts.

        That includes the slots of the flat layout, provided that they are 0 to N-1.
        """
        return _without_slots(parse(self.mode.dump()))


def _without_slots(state: State) -> State:
    """Return the state with each frontend's slots sorted, whatever order its history left."""
    frontends: dict[str, dict[int, str]] = {}
    others: State = {}
    for name, lines in state.items():
        if found := _SLOT.fullmatch(name):
            frontends.setdefault(found[1], {})[int(found[2])] = found[3]
        else:
            others[name] = lines
    assert all(sorted(slots) == [*range(len(slots))] for slots in frontends.values()), frontends
    return others | {
        frontend: tuple(sorted(slots.values())) for frontend, slots in frontends.items()
    }


@contextmanager
def bench(mode: Mode) -> Iterator[Bench]:
    """Let the calling thread be on a new node, which has addresses, inside the block."""
    with new_node():
        yield Bench(mode)


def random_cluster(edits: int = 40) -> RandomCluster:
    """Return a cluster with some history."""
    cluster = RandomCluster(11)
    for _ in range(edits):
        cluster.edit()
    return cluster


def filled(node: Bench, edits: int = 40) -> RandomCluster:
    """Return a cluster with some history, after syncing the node to it."""
    cluster = random_cluster(edits)
    node.sync(cluster.objects.values())
    return cluster


def fresh_state(mode: Mode, objects: Iterable[KubernetesObject]) -> State:
    """Return the state that a new proxy makes of these objects on a new node."""
    with bench(mode) as fresh:
        fresh.sync(objects)
        return fresh.state()


class Synced(NamedTuple):
    """A proxy, its backends, and the addresses that its node had before the sync."""

    proxy: NodeProxy
    backends: Mapping[Family, Backend]
    addresses: frozenset[str]


@contextmanager
def synced(
    mode: Mode, config: ProxyConfig, objects: Iterable[KubernetesObject]
) -> Iterator[Synced]:
    """Yield the proxy of a fresh node, in its namespace, that has synced these objects."""
    chosen = load(mode.name)
    config = replace(config, mode=mode.name)
    options = complete_options(chosen, config, mode.options)
    store = Store()
    store.replace(objects)
    with new_node(), ExitStack() as stack:
        backends = {family: chosen.backend(family, options) for family in Family}
        for backend in backends.values():
            stack.callback(backend.close)
        proxy = NodeProxy(store, config, backends, mode=chosen.config, options=options)
        addresses = frozenset(all_addresses())
        proxy.sync()
        yield Synced(proxy, backends, addresses)
