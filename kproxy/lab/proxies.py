"""The proxies of a lab: one for each node, with a store of its own, in its node's namespace.

One thread answers at the health check node ports of all nodes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from threading import Lock
from typing import Any, NoReturn

from msgspec import Struct
from msgspec.structs import replace

from kproxy.address import Family
from kproxy.backend import (
    Backend,
    BackendOptions,
    Listing,
    Mode,
    SyncReport,
    complete_options,
    listing_of,
)
from kproxy.config import ProxyConfig
from kproxy.config.decode import from_values, to_values
from kproxy.config.defaults import fill_platform
from kproxy.config.validation import problems
from kproxy.errors import BadInput, Unsupported
from kproxy.forwarding.plan import Plan
from kproxy.lab.hosts import LabNode
from kproxy.lab.layout import by_family
from kproxy.lab.other_proxies import Bystander
from kproxy.lab.profiles import PROFILES
from kproxy.lab.spec import LabSpec
from kproxy.proxy import NodeProxy
from kproxy.proxy.leftovers import Leftovers
from kproxy.proxy.setup import close, set_conntrack
from kproxy.proxy.udp_flows import cut_stale_flows
from kproxy.serve import HttpServer, ServiceHealth
from kproxy.store import Store, Update
from kproxy.versions import Version

SyncReports = Mapping[str, list[SyncReport]]
NO_PROXIES = "this lab has no proxies: it was made with mode None, or is not up"


class _Node(Struct):
    """A node with its proxy, or with its last one if it is not `running`."""

    lab_node: LabNode
    config: ProxyConfig
    store: Store
    proxy: NodeProxy
    service_health: ServiceHealth
    backends: Mapping[Family, Backend]
    lock: Lock
    """Held while the proxy works: objects and repairs may come at the same time."""
    unrepaired: frozenset[Family] = frozenset()
    running: bool = True
    leftovers: Leftovers | None = None
    """Those of another mode that open connections still need."""


class Proxies:
    """The proxies of all nodes, which have the same objects. Nodes are synced in parallel."""

    def __init__(
        self,
        spec: LabSpec,
        nodes: Iterable[LabNode],
        mode: Mode,
        config: ProxyConfig,
        options: BackendOptions,
        *,
        write: bool = True,
        fed: bool = True,
    ) -> None:
        """Make a proxy for each node; `options` are those of the mode. Unless they `write`, they
        only plan. Unless they are `fed`, they have their objects by `sync_node` only.

        Raises BadInput if a node's configuration is invalid, Unsupported if this machine lacks
        something that the mode needs, BackendFault.
        """
        self._spec = spec
        self._config = config
        self._families = spec.families
        self._mode = mode
        self._options = options
        self._write = write
        self._fed = fed
        self.on_synced: Callable[[Update], None] = lambda _: None  # called after each `sync`
        self._server = HttpServer()
        self._nodes: dict[str, _Node] = {}
        try:
            for node in nodes:
                own = node_config(spec, node, mode, config)
                self._nodes[node.name] = self._new(node, own, Store())
        except BaseException:
            for each in self._nodes.values():
                _close_backends(each.backends)
            self._server.close()
            raise
        self._pool = ThreadPoolExecutor(len(self._nodes), thread_name_prefix="kproxy-node")

    def sync(self, update: Update, rest: Callable[[], None] | None = None) -> SyncReports:
        """Apply an update to every node's store and sync all nodes; return reports by node name.
        If they are not fed, there are none: only `on_synced` is called.

        With `rest`, one node is synced after the other, and it is called after each.
        A node whose proxy is stopped has no report. An error of one node does not prevent the sync
        of the others; the first error is raised afterwards.
        """
        fed = self._nodes if self._fed else {}
        for node in fed.values():
            if not node.running:
                node.store.apply(update)
        tasks: dict[str, Future[list[SyncReport]]] = {}
        for name, node in fed.items():
            if node.running:
                tasks[name] = self._pool.submit(self._sync_node, node, update)
                if rest:
                    wait([tasks[name]])
                    rest()
        for name, task in tasks.items():
            if error := task.exception():  # waits
                error.add_note(f"while syncing {name}")
        self.on_synced(update)
        return {name: task.result() for name, task in tasks.items()}

    def sync_node(self, name: str, update: Update) -> list[SyncReport]:
        """Apply an update to one node's store and sync it, if its proxy runs.

        Raises BadInput if there is no such node, and what `NodeProxy.sync` raises.
        """
        node = self._node(name)
        if node.running:
            return self._pool.submit(self._sync_node, node, update).result()
        node.store.apply(update)
        return []

    def repair(self) -> Mapping[str, tuple[Family, ...]]:
        """Check all nodes, and write their rules again where another process has changed them.

        Returns the families that were repaired, by node. Raises what `NodeProxy.sync` raises, after
        all nodes were tried.
        """
        tasks = {
            name: self._pool.submit(self._repair_node, node)
            for name, node in self._nodes.items()
            if node.running
        }
        for task in tasks.values():
            task.exception()  # waits
        return {name: found for name, task in tasks.items() if (found := task.result())}

    def plans(self, family: Family) -> dict[str, Plan]:
        """Return the plans by node name, also those that stopped proxies have left in force."""
        return {name: node.proxy.plans[family] for name, node in self._nodes.items()}

    def listing(self, name: str, family: Family) -> Listing:
        """Return the rules that are in force on a node, with counters where they have some.

        Raises BadInput if there is no such node, and what `Backend.read` raises.
        """
        node = self._node(name)
        with node.lock, node.lab_node.namespace.entered():
            return listing_of(node.backends[family])

    def remove_leftovers(self, name: str) -> None:
        """Remove what another mode has left on a node, once its proxy has synced.

        Raises BadInput if there is no such node, KernelRefused.
        """
        self._remove_leftovers(self._node(name))

    def proxy(self, node: str) -> NodeProxy:
        return self._nodes[node].proxy

    def stop(self, node: str) -> None:
        """Stop a node's proxy as a kill would: its rules stay, its health checks are not answered.

        A stopped proxy is left as it is. Raises BadInput if there is no such node.
        """
        found = self._node(node)
        found.running = False
        found.service_health.close()
        _close_backends(found.backends)

    def start(self, node: str) -> list[SyncReport]:
        """Replace a stopped proxy by a new one and sync that to the present objects.

        Nothing is done if it runs. Raises BadInput if there is no such node, and what
        `NodeProxy.sync` raises.
        """
        found = self._node(node)
        return [] if found.running else self._start(found).result()

    def restart(self, options: BackendOptions | None, emulate: Version | None) -> SyncReports:
        """Replace all proxies by new ones with other options of the mode, or of another version,
        and sync those. What is None stays.

        Health checks are answered all the time, so that load balancers take no node out.
        Returns reports by node name. Raises what `NodeProxy.sync` raises, BackendFault.
        """
        self._options = options or self._options
        for each in self._nodes.values():
            _close_backends(each.backends)
            if emulate:
                each.config = replace(each.config, emulate=emulate)
        tasks = {
            name: self._start(each, each.service_health) for name, each in [*self._nodes.items()]
        }
        return {name: task.result() for name, task in tasks.items()}

    def switch(self, mode: Mode, options: BackendOptions) -> SyncReports:
        """Replace all proxies by those of another mode, and sync those; then remove the rules that
        the former ones have left. So no connection meets a gap.

        Raises BadInput and Unsupported before anything has changed, then what `NodeProxy.sync`
        raises.
        """
        fresh: list[_Node] = []
        with ExitStack() as undo:
            undo.callback(self._set_mode, self._mode, self._options)
            self._set_mode(mode, options)
            for each in self._nodes.values():
                own = node_config(self._spec, each.lab_node, mode, self._config)
                own = replace(own, emulate=each.config.emulate)
                health = each.service_health if each.running else None
                fresh.append(self._new(each.lab_node, own, each.store, health))
                undo.callback(_close_backends, fresh[-1].backends)
            undo.pop_all()
        replaced = [self._nodes[each.lab_node.name] for each in fresh]
        for old, new in zip(replaced, fresh, strict=True):
            with old.lock:  # from now on an update that has waited is the new one's
                self._nodes[new.lab_node.name] = new
        tasks = {
            each.lab_node.name: self._pool.submit(self._sync_node, each, Update()) for each in fresh
        }
        reports = {name: task.result() for name, task in tasks.items()}
        for old in replaced:
            _close_backends(old.backends)
        for task in [self._pool.submit(self._remove_leftovers, each) for each in fresh]:
            task.result()
        return reports

    def close(self) -> None:
        """Stop the threads. The rules stay, until the namespaces are removed."""
        self._pool.shutdown()
        for node in self._nodes.values():
            if node.leftovers:
                node.leftovers.close()
            _close_backends(node.backends)
        self._server.close()

    def _start(
        self, former: _Node, service_health: ServiceHealth | None = None
    ) -> Future[list[SyncReport]]:
        """Replace a node's proxy by a new one, and begin its sync; `service_health` is kept."""
        fresh = self._new(former.lab_node, former.config, former.store, service_health)
        self._nodes[former.lab_node.name] = fresh
        return self._pool.submit(self._sync_node, fresh, Update())

    def _node(self, name: str) -> _Node:
        if name not in self._nodes:
            raise BadInput([f"{name!r} is not a node; there are: {', '.join(self._nodes)}"])
        return self._nodes[name]

    def _new(
        self,
        node: LabNode,
        config: ProxyConfig,
        store: Store,
        service_health: ServiceHealth | None = None,
    ) -> _Node:
        """Return a node with a proxy that has not synced yet."""
        mode = self._mode
        options = complete_options(mode, config, self._options)
        with node.namespace.entered():
            if self._write and not mode.forwards_itself:
                set_conntrack(config.conntrack, config.emulate)
            backends = self._make_backends(options)
        proxy = NodeProxy(
            store, config, backends, mode=mode.config, options=options, in_parts=mode.in_parts
        )
        if service_health is None:
            service_health = ServiceHealth(
                self._server, lambda: self._nodes[node.name].proxy.health.healthy
            )
        if self._write:
            proxy.on_synced = service_health.update
        if self._write and not mode.forwards_itself:
            proxy.on_udp_changed = cut_stale_flows
        return _Node(node, config, store, proxy, service_health, backends, Lock())

    def _set_mode(self, mode: Mode, options: BackendOptions) -> None:
        self._mode, self._options = mode, options

    def _make_backends(self, options: BackendOptions) -> dict[Family, Backend]:
        mode = self._mode
        backends: dict[Family, Backend] = {}
        with ExitStack() as undo:
            undo.callback(_close_backends, backends)
            for family in self._families:
                make = mode.backend if self._write else Bystander
                backends[family] = make(family, options)
                support = backends[family].support()
                if not support.ok:
                    raise Unsupported(f"mode {mode.name}: {support.missing}", remedy=support.remedy)
            undo.pop_all()
        return backends

    def _sync_node(self, node: _Node, update: Update) -> list[SyncReport]:
        with node.lock:
            present = self._nodes[node.lab_node.name]
            if present is node:
                node.store.apply(update)
                with node.lab_node.namespace.entered():
                    return node.proxy.sync()
        return self._sync_node(present, update)  # it was replaced while we waited

    def _remove_leftovers(self, node: _Node) -> None:
        """Remove what another mode has left; what connections need is looked at by `repair`."""
        if not self._write:
            return
        with node.lock, node.lab_node.namespace.entered():
            if node.leftovers is None:
                options = complete_options(self._mode, node.config, self._options)
                node.leftovers = Leftovers(node.proxy, node.backends, node.config, options)
            if not node.leftovers.remove():
                node.leftovers.close()
                node.leftovers = None

    def _repair_node(self, node: _Node) -> tuple[Family, ...]:
        if node.leftovers:
            self._remove_leftovers(node)
        with node.lock, node.lab_node.namespace.entered():
            if self._nodes[node.lab_node.name] is not node:  # it was replaced meanwhile
                return ()
            # A proxy that could not repair its rules does not look for damage any more.
            node.unrepaired |= {*node.proxy.damaged()}
            if not node.unrepaired:
                return ()
            node.proxy.sync()
            repaired, node.unrepaired = node.unrepaired, frozenset()
            return tuple(sorted(repaired))


def _close_backends(backends: Mapping[Family, Backend]) -> None:
    """Close the backends. Harmless when repeated, as `Backend.close` is."""
    for backend in backends.values():
        close(backend)


class NoProxies:
    """The proxies of a lab that has none, or is not up: there is no plan, and nothing to do."""

    on_synced: Callable[[Update], None]

    def sync(self, _update: Update, _rest: Callable[[], None] | None = None) -> SyncReports:
        return {}

    def repair(self) -> Mapping[str, tuple[Family, ...]]:
        return {}

    def restart(self, _options: BackendOptions | None, _emulate: Version | None) -> SyncReports:
        raise BadInput([NO_PROXIES])

    def switch(self, _mode: Mode, _options: BackendOptions) -> SyncReports:
        raise BadInput([NO_PROXIES])

    def plans(self, _family: Family) -> dict[str, Plan]:
        return {}

    def sync_node(self, _node: str, _update: Update) -> list[SyncReport]:
        raise BadInput([NO_PROXIES])

    def listing(self, _node: str, _family: Family) -> Listing:
        raise BadInput([NO_PROXIES])

    def _refuse(self, _node: str) -> NoReturn:
        raise BadInput([NO_PROXIES])

    proxy = stop = start = remove_leftovers = _refuse


def node_config(spec: LabSpec, node: LabNode, mode: Mode, config: ProxyConfig) -> ProxyConfig:
    """Return a node's configuration: the lab's, with the profile, the node's name and overrides.

    conntrack.maxPerCore is 0: only the machine's first namespace may change the table's size.
    Raises BadInput if the result is not a valid configuration.
    """
    profile = PROFILES[spec.profile]
    values = _merged(to_values(config), profile.config)
    if profile.detects_local:
        pod_cidrs = by_family(spec.families, spec.pod_cidrs).values()
        values["clusterCIDR"] = values["clusterCIDR"] or ",".join(map(str, pod_cidrs))
    if spec.emulate:
        values["emulate"] = spec.emulate.value
    values = _merged(values, node.spec.config)
    values = _merged(values, {"conntrack": {"maxPerCore": 0}})
    values |= {"hostnameOverride": node.name, "mode": mode.name}
    del values["apiVersion"], values["kind"]
    read = from_values(values)
    modes = {mode.name: mode.config}
    found = (*read.problems, *problems(read.config, modes))
    if found:
        raise BadInput([problem.at(f"configuration of {node.name}") for problem in found])
    return fill_platform(read.config, modes)


def _merged(values: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    return {**values} | {
        key: _merged(values[key], value)
        if isinstance(value, Mapping) and isinstance(values.get(key), Mapping)
        else value
        for key, value in overrides.items()
    }
