"""A lab as it is built: its hosts and addresses, its routes, its proxies and load balancers."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from ipaddress import ip_network
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from kproxy.address import Family
from kproxy.errors import BadInput
from kproxy.lab.hosts import LabBalancer, LabClient, LabHost, LabNode, LabPod
from kproxy.lab.spec import LabSpec
from kproxy.lab.spec_file import load_spec

if TYPE_CHECKING:
    from kproxy.api.types import KubernetesObject
    from kproxy.backend import BackendOptions, Listing, SyncReport
    from kproxy.config import ProxyConfig
    from kproxy.edge import ListenerState
    from kproxy.forwarding.network import Network
    from kproxy.forwarding.plan import Plan
    from kproxy.kernel.iptables_programs import Variant
    from kproxy.lab.left_out import LeftOut
    from kproxy.lab.object_source import ObjectSource
    from kproxy.lab.other_proxies import OtherProxies
    from kproxy.proxy import NodeProxy
    from kproxy.store import ObjectKey, Update
    from kproxy.versions import Version

_DEFAULT_MODE = "iptables"  # kproxy.backend.DEFAULT_MODE


class BuiltLab:
    """A `Lab` without the verbs for objects."""

    def __init__(
        self,
        spec: LabSpec | str | Path,
        mode: str | None = _DEFAULT_MODE,
        *,
        config: ProxyConfig | None = None,
        options: BackendOptions | None = None,
        publish: bool = False,
        check_interval_s: float = 1.0,
        drain_s: float = 300.0,
        fed: bool = True,
        others: OtherProxies | None = None,
        source: ObjectSource | None = None,
    ) -> None:
        """Check the spec, or read its file; the lab is built when the block is entered.

        Raises BadInput.

        With `mode` None there are no proxies. `publish` makes the namespaces visible to `ip netns`.
        `options` has the mode's own type, such as `IptablesOptions`.

        `check_interval_s` is the interval of load balancers' health checks, unless a Service asks
        for another. `drain_s` is how long the connections of a removed backend may continue.
        Unless the proxies are `fed` with the lab's objects, somebody else calls `sync_proxy`.
        With `others`, these proxies run on the nodes, and the lab's own only plan in that `mode`.
        With `source`, verbs write objects there, and the proxies have them from there only.
        """
        # What builds labs is loaded with the first one: it is most of what a lab needs, and a
        # program that imports labs may not make one.
        from kproxy.config import ProxyConfig
        from kproxy.lab import validation
        from kproxy.lab.building import Builder

        if not isinstance(spec, LabSpec):
            spec = load_spec(spec)
        if found := validation.problems(spec):
            raise BadInput(found)
        if others and mode is None:
            raise BadInput(["other proxies need a mode to be compared with"])
        if source and (others or mode is None):
            raise BadInput(["a source of objects is for the lab's own proxies"])
        self.spec = spec
        self.mode = mode
        self._others, self._source = others, source
        self.config = config or ProxyConfig()
        self._builder = Builder(
            spec,
            mode,
            config=self.config,
            options=options,
            publish=publish,
            check_interval_s=check_interval_s,
            drain_s=drain_s,
            fed=fed and source is None,
            write=others is None,
        )
        self._parts = self._builder.nothing()
        self._undo = ExitStack()
        self._left_out: dict[ObjectKey, tuple[LeftOut, ...]] = {}

    def __enter__(self) -> Self:
        """Build the lab.

        Raises Unsupported, KernelRefused, BadInput, and NamespaceBusy if a name is taken.
        """
        from kproxy.lab import leftovers

        if self.hosts:
            raise RuntimeError(f"lab {self.spec.name} is up already")
        leftovers.sweep()
        with ExitStack() as undo:
            undo.callback(self._forget)
            self._parts = self._builder.build(undo)
            self._complete(undo)
            self._undo = undo.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._undo.close()

    @property
    def nodes(self) -> Mapping[str, LabNode]:
        return self._parts.inventory.nodes

    @property
    def pods(self) -> Mapping[str, LabPod]:
        """The running pods by host name: a Pod `web-1` of the namespace `prod` is `web-1.prod`."""
        return {**self._parts.inventory.pods, **self._parts.objects.pods}

    @property
    def clients(self) -> Mapping[str, LabClient]:
        return self._parts.inventory.clients

    @property
    def balancers(self) -> Mapping[str, LabBalancer]:
        return self._parts.inventory.balancers

    @property
    def hosts(self) -> Mapping[str, LabHost]:
        found = self._parts.inventory
        return {**found.nodes, **self.pods, **found.clients, **found.balancers, **found.between}

    @property
    def network(self) -> Network:
        """The oracle's view of the lab: all hosts' addresses and the router's present routes."""
        from kproxy.lab.inventory import oracle_network

        parts = self._parts
        return oracle_network(
            self.spec, self._builder.layout, parts.inventory, self.pods, parts.router.routes
        )

    @property
    def public(self) -> Mapping[str, Mapping[Family, str]]:
        """Public addresses of nodes, load balancers and `dnat`, by name; empty without an edge."""
        return self._builder.layout.public

    @property
    def options(self) -> BackendOptions:
        """The options of the proxies' present mode."""
        return self._builder.chosen

    def iptables_variant(self, family: Family) -> Variant:
        """Return the variant of iptables that the rules on the lab's hosts are written with."""
        from kproxy.kernel.xtables import choose_variant

        match self._builder.variant:
            case "nft" | "legacy" as variant:
                return variant
            case _:
                node = next(iter(self.nodes.values()))
                return node.namespace.run(lambda: choose_variant(family))

    def plans(self, family: Family) -> dict[str, Plan]:
        """Return each node's last plan by node name; empty without proxies."""
        return self._parts.proxies.plans(family)

    def proxy(self, node: str) -> NodeProxy:
        """Return a node's proxy, to be used in a thread that is in the node's namespace."""
        return self._parts.proxies.proxy(node)

    def listing(self, node: str, family: Family) -> Listing:
        """Return the rules that are in force on a node, with counters where they have some.

        Raises BadInput if there is no such node or proxy, and what `Backend.read` raises.
        """
        return self._parts.proxies.listing(node, family)

    def node_config(self, node: str) -> ProxyConfig:
        """Return the configuration of a node's proxy, also if that is another program: its name,
        the CIDRs of the pods, and all that the spec says. Raises BadInput if it is invalid.
        """
        return self._builder.node_config(self.nodes[node])

    def sync_proxy(self, node: str, update: Update) -> list[SyncReport]:
        """Apply an update to what a node's proxy knows, and sync it.

        Raises BadInput if there is no such node or proxy, and what `NodeProxy.sync` raises.
        """
        return self._parts.proxies.sync_node(node, update)

    def repair(self) -> Mapping[str, tuple[Family, ...]]:
        """Let every proxy check its rules once, as `kproxy run` does every second, and write all of
        them again if another process has changed them.

        Returns the families that were repaired, by node. Raises what `NodeProxy.sync` raises.
        """
        return self._parts.proxies.repair()

    def remove_leftovers(self, node: str) -> None:
        """Let a node's proxy remove the rules of other modes there, as `kproxy run` does when it
        starts. What open connections need stays until a `repair` after they have ended.

        Raises BadInput if there is no such node or proxy, KernelRefused.
        """
        self._parts.proxies.remove_leftovers(node)

    def stop_proxy(self, node: str) -> None:
        """Stop a node's proxy as a kill would: it no longer syncs or answers health checks.

        Its rules stay. A stopped proxy is left as it is. Raises BadInput if there is no such node.
        """
        self._parts.proxies.stop(node)

    def start_proxy(self, node: str) -> list[SyncReport]:
        """Start a node's proxy again after `stop_proxy` and sync it to the present objects.

        Nothing is done if it runs. Raises BadInput if there is no such node, and what
        `NodeProxy.sync` raises.
        """
        return self._parts.proxies.start(node)

    def restart_proxies(
        self, options: BackendOptions | None = None, *, emulate: Version | None = None
    ) -> None:
        """Replace every proxy by a new one with other options, or one that behaves like another
        kube-proxy, as after an upgrade or a change of its configuration. Hosts and objects stay.

        What is None stays as it is, also where a node has a version of its own.
        Raises BadInput if the options belong to another mode or there are no proxies, and what
        `NodeProxy.sync` raises.
        """
        chosen = None if options is None else self._builder.options(options)
        self._parts.proxies.restart(chosen, emulate)
        self._builder.chosen = chosen or self._builder.chosen

    def switch_mode(self, mode: str, options: BackendOptions | None = None) -> None:
        """Replace every proxy by one of another mode. Hosts, objects and open connections stay;
        in the end all rules are those of the new mode (docs/switching.md).

        Raises BadInput if there are no proxies or the options belong to another mode, Unsupported
        if this machine lacks something that the mode needs; nothing has changed then. Raises what
        `NodeProxy.sync` raises.
        """
        chosen, its_options = self._builder.of_mode(mode, options)
        self._parts.proxies.switch(chosen, its_options)
        self._builder.take_mode(chosen, its_options)
        self.mode = mode

    def balancer_state(self) -> tuple[ListenerState, ...]:
        """Return the listeners of load balancers and the DNAT gateway, as last health-checked."""
        return self._parts.edge.state

    def own_objects(self) -> tuple[KubernetesObject, ...]:
        """Return the Node objects that describe the lab, and the Pod objects of its spec's pods."""
        return self._parts.inventory.objects()

    def route(self, cidr: str, *, via: str) -> None:
        """Let the router send `cidr` to the node `via` from now on. Raises BadInput."""
        from kproxy.lab import validation

        found = list(validation.route_problems(self.spec, "route", cidr))
        if via not in self.nodes:
            found.append(f"route: {via!r} is not a node")
        if found:
            raise BadInput(found)
        self._parts.router.add(str(ip_network(cidr)), via)

    def unroute(self, cidr: str) -> None:
        """Let the router refuse `cidr` again. Raises BadInput if it has no such route."""
        self._parts.router.remove(cidr)

    def _complete(self, _undo: ExitStack) -> None:
        """Start what there is besides the parts, when all of them are built."""

    def _forget(self) -> None:
        self._parts = self._builder.nothing()
        self._left_out.clear()
