"""A running lab: build it, feed it objects, ask it what is where, take it down."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from ipaddress import ip_network
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from kproxy.address import Family
from kproxy.api.decode import load
from kproxy.api.types import Deployment, EndpointSlice, KubernetesObject, Service
from kproxy.backend import DEFAULT_MODE, BackendOptions, Mode, SyncReport
from kproxy.backend import load as load_mode
from kproxy.config import ProxyConfig
from kproxy.edge import CHECK_INTERVAL_S, DRAIN_S, EdgeController, ListenerState
from kproxy.errors import BadInput
from kproxy.forwarding.network import Network
from kproxy.forwarding.plan import Plan
from kproxy.kernel.links import Links, apart
from kproxy.kernel.netns import Namespace
from kproxy.kernel.ownership import claim_namespace
from kproxy.lab import leftovers, names, topology, validation
from kproxy.lab.cluster.control_plane import ControlPlane
from kproxy.lab.cluster.pod_handle import PodHandle
from kproxy.lab.cluster.setup import pod_manifest, set_up_control_plane, without_pods
from kproxy.lab.edge import edge_controller
from kproxy.lab.hosts import LabBalancer, LabClient, LabHost, LabNode, LabPod
from kproxy.lab.inventory import Inventory, oracle_network
from kproxy.lab.layout import Layout
from kproxy.lab.models import MODELS
from kproxy.lab.objects import node_object, pod_object, selected, slices_for
from kproxy.lab.pods.ingress import IngressController
from kproxy.lab.pods.runtime import PodRuntime
from kproxy.lab.pods.server import PodServer
from kproxy.lab.proxies import Proxies, SyncReports
from kproxy.lab.publishing import Publisher
from kproxy.lab.spec import LabSpec
from kproxy.proxy import NodeProxy
from kproxy.store import ObjectKey, Store, Update, object_key

Objects = Iterable[KubernetesObject]
log = logging.getLogger("kproxy")
_T = TypeVar("_T", bound=KubernetesObject)


class Lab:
    """A cluster of network namespaces with a proxy on each node. A context manager.

    It exists inside the `with` block only; leaving the block, or an error on the way in, removes
    all of it. Several labs, also with the same addresses, do not notice each other.
    The lab's own Node and Pod objects are in the proxies' stores from the start.

    `hosts` holds everything by name (router included); `nodes`, `pods`, `clients` and `balancers`
    are its parts. Where there is a control plane (`LabSpec.control_plane`), it runs the pods, those
    of the spec, too, and they come and go.
    """

    def __init__(
        self,
        spec: LabSpec,
        mode: str | None = DEFAULT_MODE,
        *,
        config: ProxyConfig | None = None,
        options: BackendOptions | None = None,
        publish: bool = False,
        check_interval_s: float = CHECK_INTERVAL_S,
        drain_s: float = DRAIN_S,
    ) -> None:
        """`mode` None: no proxies. `publish`: make the namespaces visible to `ip netns`.

        `options`: of the mode's own type, such as `IptablesOptions`.

        `check_interval_s`: of load balancers' health checks, where a Service asks for no other.
        `drain_s`: how long connections of a backend go on that is none any more.

        Raises BadInput if the spec is wrong; nothing is built before the block is entered.
        """
        if found := validation.problems(spec):
            raise BadInput(found)
        self.spec = spec
        self.mode = mode
        self._inventory = Inventory()
        self._config = config or ProxyConfig()
        self._mode = load_mode(mode) if mode is not None else None
        self._options = _options_of(self._mode, options)
        # Of what a lab writes itself: the same iptables as the proxies', where these have a choice.
        self._variant: str = getattr(self._options, "iptables_variant", "auto")
        self._publisher = Publisher(spec.name) if publish else None
        self._built = without_pods(spec) if spec.control_plane else spec
        self._layout = Layout.of(self._built)
        self._model = MODELS[spec.network]
        self._routes: dict[str, str] = {}
        self._proxies: Proxies | None = None
        self._ingress: IngressController | None = None
        self._check_interval_s, self._drain_s = check_interval_s, drain_s
        self._edge: EdgeController | None = None
        self._plane: ControlPlane | None = None
        self._store = Store()
        self._undo = ExitStack()

    def __enter__(self) -> Self:
        """Raises Unsupported, KernelRefused, BadInput, and NamespaceBusy if a name is taken."""
        if self.hosts:
            raise RuntimeError(f"lab {self.spec.name} is up already")
        leftovers.sweep()
        with ExitStack() as undo:
            undo.callback(self._forget)
            self._build(undo)
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
        return self._inventory.nodes

    @property
    def pods(self) -> Mapping[str, LabPod]:
        """Those that run, by host name: a Pod `web-1` of the namespace `prod` is `web-1.prod`."""
        if self._plane is None:
            return self._inventory.pods
        return {**self._inventory.pods, **self._plane.pods}

    @property
    def clients(self) -> Mapping[str, LabClient]:
        return self._inventory.clients

    @property
    def balancers(self) -> Mapping[str, LabBalancer]:
        return self._inventory.balancers

    @property
    def hosts(self) -> Mapping[str, LabHost]:
        found = self._inventory
        return {**found.nodes, **self.pods, **found.clients, **found.balancers, **found.between}

    @property
    def network(self) -> Network:
        """What the oracle must know: everybody's addresses and the router's present routes."""
        return oracle_network(self.spec, self._layout, self._inventory, self.pods, self._routes)

    @property
    def public(self) -> Mapping[str, Mapping[Family, str]]:
        """Public addresses by name: of nodes, load balancers, and `dnat`; empty without an edge."""
        return self._layout.public

    def plans(self, family: Family) -> dict[str, Plan]:
        """Node name -> what its proxy was last told to be. Empty without proxies."""
        return self._proxies.plans(family) if self._proxies else {}

    def proxy(self, node: str) -> NodeProxy:
        """The proxy of a node, to be used in a thread that is in the node's namespace."""
        return self._require_proxies().proxy(node)

    def stop_proxy(self, node: str) -> None:
        """Let a node's proxy end as by a kill: it syncs no more and answers no health check.

        Its rules stay. Harmless if it is stopped. Raises BadInput if there is no such node.
        """
        self._require_proxies().stop(node)

    def start_proxy(self, node: str) -> list[SyncReport]:
        """Start a node's proxy again after `stop_proxy` and sync it to the present objects.

        Nothing is done if it runs. Raises BadInput if there is no such node, and what
        `NodeProxy.sync` raises.
        """
        return self._require_proxies().start(node)

    def apply(self, objects: Objects | str | Path) -> SyncReports:
        """Add or alter objects (given, or in a manifest file or folder) and sync all nodes.

        Returns when every node has its rules, with its reports by node name, and load balancers
        have theirs. With a control plane also when all Pods run that can, and are ready if they
        have no probe or it succeeds at once; without one, objects are taken as they are.
        Raises BadInput; nothing is changed then. Raises what `NodeProxy.sync` raises; all nodes
        have had their turn then.
        """
        wanted = _objects(objects)
        if self._plane:
            return self._plane.apply(wanted)
        self._require_proxies()
        wanted = tuple(wanted)
        if workloads := [each for each in wanted if isinstance(each, Deployment)]:
            raise BadInput(
                [f"Deployment {each.metadata.name}: nobody runs it" for each in workloads],
                remedy="a lab with a control plane: LabSpec(control_plane=True, ...)",
            )
        return self._change(Update(upserts=wanted))

    def delete(self, objects: Iterable[ObjectKey] | Objects | str | Path) -> SyncReports:
        """Remove objects, by (kind, namespace, name) or as `apply` takes them, and sync all nodes.

        A Pod that terminates gracefully goes on after that for as long as it wants to. Raises
        BadInput if a control plane has no such object; nothing is changed then.
        """
        given = objects if isinstance(objects, str | Path) else tuple(objects)
        doomed = [
            each if isinstance(each, tuple) else object_key(each)
            for each in (_objects(given) if isinstance(given, str | Path) else given)
        ]
        if self._plane:
            return self._plane.delete(doomed)
        return self._change(Update(deletes=tuple(doomed)))

    def scale(self, name: str, replicas: int, *, namespace: str = "default") -> SyncReports:
        """Let a Deployment have so many Pods. Returns when they are as with `apply`.

        Raises BadInput if there is no such Deployment, or no control plane.
        """
        return self._require_plane().scale(namespace, name, replicas)

    def pod(self, name: str, *, namespace: str = "default") -> PodHandle:
        """A pod of the control plane, to be tampered with. Raises BadInput if none runs so."""
        plane = self._require_plane()
        host = names.host_name(name, namespace)
        if host not in plane.pods:
            running = ", ".join(plane.pods) or "none"
            raise BadInput([f"no pod {name} of namespace {namespace} runs; there are: {running}"])
        return PodHandle(plane, host)

    def get(self, kind: str, name: str, *, namespace: str = "default") -> KubernetesObject:
        """An object as the control plane has stored it: with what was allocated, and its status.

        `namespace` of a Node is "". Raises BadInput if there is none, or no control plane.
        """
        found = self._require_plane().object((kind, namespace, name))
        if found is None:
            raise BadInput([f"there is no {kind} {name} in namespace {namespace!r}"])
        return found

    def objects(self, kind: type[_T]) -> list[_T]:
        """All objects of a kind that the control plane has, by namespace and name."""
        return self._require_plane().objects(kind)

    @property
    def warnings(self) -> Mapping[ObjectKey, tuple[str, ...]]:
        """What may surprise about objects of the control plane; it goes away with its cause."""
        return self._plane.warnings if self._plane else {}

    def wait_for(self, comes_true: Callable[[], bool], *, timeout_s: float = 30) -> bool:
        """Whether something comes true in time. It is asked whenever an object has changed.

        Raises what has gone wrong meanwhile, and BadInput without a control plane.
        """
        return self._require_plane().wait_for(comes_true, timeout_s)

    def replace(self, objects: Objects | str | Path) -> SyncReports:
        """Make `objects` all there is besides the lab's own nodes and pods, and sync all nodes."""
        if self._plane:
            return self._plane.replace(_objects(objects))
        self._require_proxies()
        wanted: tuple[KubernetesObject, ...] = (*self.own_objects(), *_objects(objects))
        return self._change(self._store.replacement(wanted))

    def balancer_state(self) -> tuple[ListenerState, ...]:
        """The listeners of load balancers and the DNAT gateway, as of their last health checks."""
        return self._edge.state if self._edge else ()

    def own_objects(self) -> tuple[KubernetesObject, ...]:
        """The Node objects that describe the lab, and those of the Pods of its spec."""
        return (
            *(node_object(node) for node in self.nodes.values()),
            *(pod_object(pod) for pod in self._inventory.pods.values()),
        )

    def slices(self, service: Service) -> tuple[EndpointSlice, ...]:
        """The EndpointSlices of a Service: all pods that its selector matches, ready."""
        return slices_for(service, selected(service, self.pods.values()))

    def route(self, cidr: str, *, via: str) -> None:
        """Let the router send `cidr` to the node `via` from now on. Raises BadInput."""
        found = list(validation.route_problems(self.spec, "route", cidr))
        if via not in self.nodes:
            found.append(f"route: {via!r} is not a node")
        if found:
            raise BadInput(found)
        self._add_route(str(ip_network(cidr)), via)

    def unroute(self, cidr: str) -> None:
        """Let the router refuse `cidr` again. Raises BadInput if it has no such route."""
        if cidr not in self._routes:
            raise BadInput([f"unroute: the router has no route to {cidr!r}"])
        self._delete_route(cidr, self._routes[cidr])

    def _change(self, update: Update) -> SyncReports:
        self._require_proxies()
        if self._edge:
            update = self._edge.admit(update)
        self._store.apply(update)
        return self._spread(update)

    def _spread(self, update: Update) -> SyncReports:
        """First the nodes, then the ingress pods, then the load balancers, which ask them."""
        proxies = self._require_proxies()
        with ExitStack() as others:
            if self._edge:
                others.callback(self._edge.follow, update)
            if self._ingress:
                others.callback(self._ingress.follow, update)
            return proxies.sync(update)

    def _add_route(self, cidr: str, node: str) -> None:
        route = topology.route_to_node(self._layout, cidr, node, self._model)
        self._on_router(lambda links: links.add_route(route))
        self._routes[cidr] = node

    def _delete_route(self, cidr: str, node: str) -> None:
        route = topology.route_to_node(self._layout, cidr, node, self._model)
        self._on_router(lambda links: links.delete_route(route))
        del self._routes[cidr]

    def _on_router(self, change: Callable[[Links], None]) -> None:
        def enter_and_change() -> None:
            with self.hosts[names.ROUTER].namespace.entered(), Links() as links:
                change(links)

        apart(enter_and_change)

    def _build(self, undo: ExitStack) -> None:
        namespaces = {
            name: undo.enter_context(Namespace.create(f"{self.spec.name}-{name}"))
            for name in self._host_names()
        }
        if self._publisher:
            undo.callback(self._publisher.close)
            self._publisher.add(namespaces)
        variant = self._variant
        apart(lambda: topology.build(self._built, self._layout, namespaces, variant))
        self._inventory = Inventory.of(self._built, self._layout, namespaces)
        self._routes = {str(ip_network(cidr)): node for cidr, node in self.spec.routes.items()}
        pod_server = PodServer()
        undo.callback(pod_server.close)
        for pod in self.pods.values():
            if not pod.spec.runs:
                pod_server.listen(pod)
        pod_server.start()
        self._ingress = IngressController(pod for pod in self.pods.values() if pod.spec.runs)
        undo.callback(self._ingress.close)
        if self._mode is not None:
            for node in self.nodes.values():
                with node.namespace.entered():
                    undo.enter_context(claim_namespace())
            self._proxies = Proxies(
                self.spec, self.nodes.values(), self._mode, self._config, self._options
            )
            undo.callback(self._proxies.close)
            if self.spec.edge:
                self._edge = edge_controller(
                    self.spec,
                    self._layout,
                    self.nodes.values(),
                    self.balancers.values(),
                    self.hosts[names.GATEWAY],
                    variant,
                    self._check_interval_s,
                    self._drain_s,
                )
                undo.callback(self._edge.close)
        if self.spec.control_plane:
            self._plane = self._start_control_plane(undo, pod_server, namespaces)
        elif self.mode is not None:
            self.apply(self.own_objects())

    def _start_control_plane(
        self, undo: ExitStack, pod_server: PodServer, namespaces: Mapping[str, Namespace]
    ) -> ControlPlane:
        runtime = PodRuntime(self._built, self._layout, namespaces, self._variant, pod_server)
        undo.callback(runtime.close)
        pods = [
            pod_manifest(pod, node.name)
            for node in self.spec.nodes
            for pod in node.pods
            if not pod.runs
        ]
        return set_up_control_plane(
            undo,
            self.spec,
            self.nodes,
            runtime,
            spread=self._spread if self._proxies else lambda _change: {},
            cloud=self._edge,
            own=(*self.own_objects(), *pods),
            publisher=self._publisher,
            route=self._add_route,
            unroute=self._delete_route,
        )

    def _host_names(self) -> list[str]:
        """Of all hosts that have a namespace of their own from the start."""
        spec = self._built
        clients = (client.name for client in spec.clients)
        nodes = (node.name for node in spec.nodes)
        pods = (pod.name for pod in spec.pods if not pod.host_network)
        balancers = (each.name for each in spec.edge.balancers) if spec.edge else ()
        edge = [names.GATEWAY, *balancers] if spec.edge else []
        return [names.ROUTER, *edge, *nodes, *pods, *clients]

    def _require_plane(self) -> ControlPlane:
        if self._plane is None:
            raise BadInput(
                ["this lab has no control plane, or is not up"],
                remedy="LabSpec(control_plane=True, ...)",
            )
        return self._plane

    def _require_proxies(self) -> Proxies:
        if self._proxies is None:
            raise BadInput(["this lab has no proxies: it was made with mode None, or is not up"])
        return self._proxies

    def _forget(self) -> None:
        self._inventory, self._routes = Inventory(), {}
        self._proxies, self._edge, self._plane = None, None, None
        self._store = Store()


def _options_of(mode: Mode | None, given: BackendOptions | None) -> BackendOptions:
    """Return the options of the mode. Raises BadInput if those given are of another mode."""
    wanted = mode.options if mode else BackendOptions
    options = wanted() if given is None else given
    if not isinstance(options, wanted):
        name = mode.name if mode else "no"
        raise BadInput(
            [f"options of {name} mode are {wanted.__name__}, not {type(options).__name__}"]
        )
    return options


def _objects(given: Objects | str | Path) -> Objects:
    if not isinstance(given, str | Path):
        return given
    decoded = load([Path(given)])
    if decoded.problems:
        raise BadInput(list(decoded.problems))
    for notice in decoded.notices:
        log.warning(notice)
    return decoded.objects
