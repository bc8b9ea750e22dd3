"""The proxies of a lab: one for each node, with a store of its own, in its node's namespace."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from msgspec.structs import replace

from kproxy import backend
from kproxy.api.types import KubernetesObject
from kproxy.backend import BackendOptions, SyncReport
from kproxy.config import ProxyConfig
from kproxy.config.decode import from_values, to_values
from kproxy.config.defaults import fill_platform
from kproxy.config.validation import problems
from kproxy.errors import BadInput, Unsupported
from kproxy.forwarding.plan import Family, Plan
from kproxy.lab.hosts import LabNode
from kproxy.lab.layout import by_family
from kproxy.lab.spec import LabSpec
from kproxy.proxy import NodeProxy
from kproxy.proxy.setup import set_conntrack
from kproxy.store import Store

SyncReports = Mapping[str, list[SyncReport]]


class Proxies:
    """Keeps all nodes on the same objects. Nodes are synced in parallel."""

    def __init__(
        self,
        spec: LabSpec,
        nodes: Iterable[LabNode],
        mode: str,
        config: ProxyConfig,
        options: BackendOptions,
    ) -> None:
        """Raises BadInput for a configuration or mode that cannot be, Unsupported if this machine
        lacks something the mode needs.
        """
        factory = backend.load(mode)
        self._nodes = tuple(nodes)
        self._stores: dict[str, Store] = {}
        self._proxies: dict[str, NodeProxy] = {}
        for node in self._nodes:
            store = self._stores[node.name] = Store()
            own = node_config(spec, node, mode, config)
            with node.namespace.entered():
                set_conntrack(own.conntrack)
                own_options = replace(options, ipvs=own.ipvs)
                backends = {family: factory(family, own_options) for family in spec.families}
                for each in backends.values():
                    support = each.support()
                    if not support.ok:
                        raise Unsupported(f"mode {mode}: {support.missing}", remedy=support.remedy)
            self._proxies[node.name] = NodeProxy(store, own, backends)
        self._pool = ThreadPoolExecutor(len(self._nodes), thread_name_prefix="kproxy-node")

    def sync(self, change: Callable[[Store], None]) -> SyncReports:
        """Change every node's store alike and sync them all. Reports by node name.

        An error of one node does not keep the others from being synced; the first is raised then.
        """
        tasks = {
            node.name: self._pool.submit(self._sync_node, node, change) for node in self._nodes
        }
        for name, task in tasks.items():
            if error := task.exception():  # waits
                error.add_note(f"while syncing {name}")
        return {name: task.result() for name, task in tasks.items()}

    def plans(self, family: Family) -> dict[str, Plan]:
        return {name: proxy.plans[family] for name, proxy in self._proxies.items()}

    def proxy(self, node: str) -> NodeProxy:
        return self._proxies[node]

    def close(self) -> None:
        """Stop the threads. The rules stay; they go away with the namespaces."""
        self._pool.shutdown()

    def _sync_node(self, node: LabNode, change: Callable[[Store], None]) -> list[SyncReport]:
        change(self._stores[node.name])
        with node.namespace.entered():
            return self._proxies[node.name].sync()


def upsert(objects: Iterable[KubernetesObject]) -> Callable[[Store], None]:
    wanted = tuple(objects)

    def change(store: Store) -> None:
        for obj in wanted:
            store.upsert(obj)

    return change


def node_config(spec: LabSpec, node: LabNode, mode: str, config: ProxyConfig) -> ProxyConfig:
    """The lab's configuration as it is on one node: its name, the cluster's CIDRs, its overrides.

    conntrack.maxPerCore is 0: only the machine's first namespace may change the table's size.
    Raises BadInput if that is not a valid configuration.
    """
    values = to_values(config)
    pod_cidrs = by_family(spec.families, spec.pod_cidrs).values()
    values["clusterCIDR"] = values["clusterCIDR"] or ",".join(map(str, pod_cidrs))
    values = _merged(values, node.spec.config)
    values = _merged(values, {"conntrack": {"maxPerCore": 0}})
    values |= {"hostnameOverride": node.name, "mode": mode}
    del values["apiVersion"], values["kind"]
    read = from_values(values)
    found = (*read.problems, *problems(read.config, modes=(mode,)))
    if found:
        raise BadInput([problem.at(f"configuration of {node.name}") for problem in found])
    return fill_platform(read.config)


def _merged(values: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    return {**values} | {
        key: _merged(values[key], value)
        if isinstance(value, Mapping) and isinstance(values.get(key), Mapping)
        else value
        for key, value in overrides.items()
    }
