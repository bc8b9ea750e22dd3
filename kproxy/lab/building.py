"""The building of a lab: namespaces, network, pods, proxies, load balancers; then its objects."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from ipaddress import ip_network
from typing import TYPE_CHECKING

from msgspec import structs

from kproxy.backend import DEFAULT_MODE, BackendOptions, Mode, load
from kproxy.backend.options import chosen_values
from kproxy.config import ProxyConfig
from kproxy.errors import BadInput
from kproxy.kernel.links import apart
from kproxy.kernel.netns import Namespace
from kproxy.kernel.ownership import claim_namespace
from kproxy.lab import names, topology
from kproxy.lab.edge import NoEdge, edge_controller
from kproxy.lab.following import Followers
from kproxy.lab.hosts import LabNode, LabPod
from kproxy.lab.inventory import Inventory
from kproxy.lab.layout import Layout
from kproxy.lab.models import MODELS
from kproxy.lab.object_verbs import NoObjects, ObjectVerbs, PlainObjects
from kproxy.lab.pods.ingress import IngressController
from kproxy.lab.pods.runtime import PodRuntime
from kproxy.lab.pods.server import PodServer
from kproxy.lab.proxies import NoProxies, Proxies, node_config
from kproxy.lab.publishing import Publisher
from kproxy.lab.router import Router
from kproxy.lab.spec import LabSpec

if TYPE_CHECKING:
    from kproxy.edge import EdgeController


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The parts of a lab. `inventory` has the hosts that were built, so no control plane's pods."""

    inventory: Inventory
    router: Router
    proxies: Proxies | NoProxies
    edge: EdgeController | NoEdge
    objects: ObjectVerbs


class Builder:
    """The builder of a lab from a valid spec; the stack it is given removes all that it makes."""

    def __init__(
        self,
        spec: LabSpec,
        mode: str | None,
        *,
        config: ProxyConfig,
        options: BackendOptions | None,
        publish: bool,
        check_interval_s: float,
        drain_s: float,
        fed: bool,
        write: bool,
    ) -> None:
        """Take the arguments of `BuiltLab`, which describes them and what is raised."""
        self._spec = spec
        self._built = _without_pods(spec) if spec.control_plane else spec
        self._mode = load(mode) if mode is not None else None
        self._config = config
        self.chosen = _options_of(self._mode, options)
        # The lab writes its own rules with the iptables variant of the proxies, if they have one.
        self.variant: str = getattr(self.chosen, "iptables_variant", "auto")
        self._publisher = Publisher(spec.name) if publish else None
        self._check_interval_s, self._drain_s = check_interval_s, drain_s
        self._fed, self._write = fed, write
        self._model = MODELS[spec.network]
        self.layout = Layout.of(self._built)

    def options(self, given: BackendOptions) -> BackendOptions:
        """Return options for the lab's mode. Raises BadInput if they belong to another one."""
        return _options_of(self._mode, given)

    def of_mode(self, mode: str, given: BackendOptions | None) -> tuple[Mode, BackendOptions]:
        """Return a mode and its options. Raises BadInput if they belong to another one."""
        found = load(mode)
        return found, _options_of(found, given)

    def take_mode(self, mode: Mode, options: BackendOptions) -> None:
        """Note that the proxies are of this mode from now on."""
        self._mode, self.chosen = mode, options

    def node_config(self, node: LabNode) -> ProxyConfig:
        """Return the configuration of a node's proxy. Raises BadInput if it is invalid."""
        mode = self._mode or load(self._config.mode or DEFAULT_MODE)
        own = chosen_values(mode, self.chosen)
        config = node_config(self._spec, node, mode, self._config)
        return structs.replace(config, backend_options={**config.backend_options, **own})

    def nothing(self) -> Parts:
        """Return the parts of a lab that is not up."""
        empty = Inventory()
        return Parts(
            inventory=empty,
            router=Router(empty, self.layout, self._model, {}),
            proxies=NoProxies(),
            edge=NoEdge(),
            objects=NoObjects(),
        )

    def build(self, undo: ExitStack) -> Parts:
        """Build all parts; the objects that describe the lab are applied at the end.

        Raises Unsupported, KernelRefused, BadInput, and NamespaceBusy if a name is taken.
        """
        namespaces = self._create_namespaces(undo)
        inventory = Inventory.of(self._built, self.layout, namespaces)
        routes = {str(ip_network(cidr)): node for cidr, node in self._spec.routes.items()}
        router = Router(inventory, self.layout, self._model, routes)
        pod_server = _start_pod_server(undo, inventory.pods.values())
        ingress = IngressController(pod for pod in inventory.pods.values() if pod.spec.runs)
        undo.callback(ingress.close)
        proxies = self._start_proxies(undo, inventory)
        edge = self._start_edge(undo, inventory)
        followers = Followers(proxies, [ingress, edge])
        objects: ObjectVerbs
        if self._spec.control_plane:
            runtime = PodRuntime(self._built, self.layout, namespaces, self.variant, pod_server)
            undo.callback(runtime.close)
            # Half of what a lab imports; only a control plane needs it.
            from kproxy.lab.cluster.setup import set_up_control_plane

            objects = set_up_control_plane(
                undo,
                self._spec,
                inventory,
                runtime,
                followers=followers,
                router=router,
                cloud=edge if self._spec.edge else None,
                publisher=self._publisher,
            )
        elif self._mode is None:
            objects = NoObjects()
        else:
            objects = PlainObjects(edge, followers)
            objects.start(inventory.objects())
        return Parts(
            inventory=inventory, router=router, proxies=proxies, edge=edge, objects=objects
        )

    def _create_namespaces(self, undo: ExitStack) -> Mapping[str, Namespace]:
        """Create the namespaces of all hosts, with their cables, addresses and routes."""
        namespaces = {
            name: undo.enter_context(Namespace.create(f"{self._spec.name}-{name}"))
            for name in _host_names(self._built)
        }
        if self._publisher:
            undo.callback(self._publisher.close)
            self._publisher.add(namespaces)
        apart(lambda: topology.build(self._built, self.layout, namespaces, self.variant))
        return namespaces

    def _start_proxies(self, undo: ExitStack, inventory: Inventory) -> Proxies | NoProxies:
        if self._mode is None:
            return NoProxies()
        nodes = inventory.nodes.values()
        for node in nodes if self._write else ():
            with node.namespace.entered():
                undo.enter_context(claim_namespace())
        proxies = Proxies(
            self._spec,
            nodes,
            self._mode,
            self._config,
            self.chosen,
            write=self._write,
            fed=self._fed,
        )
        undo.callback(proxies.close)
        return proxies

    def _start_edge(self, undo: ExitStack, inventory: Inventory) -> EdgeController | NoEdge:
        if self._mode is None or self._spec.edge is None:
            return NoEdge()
        edge = edge_controller(
            self._spec,
            self.layout,
            inventory.nodes.values(),
            inventory.balancers.values(),
            inventory.between[names.GATEWAY],
            self.variant,
            self._check_interval_s,
            self._drain_s,
        )
        undo.callback(edge.close)
        return edge


def _without_pods(spec: LabSpec) -> LabSpec:
    """Return the spec without the pods that the control plane runs: it keeps only those that run a
    program of their own, such as an ingress.
    """
    nodes = (replace(node, pods=tuple(pod for pod in node.pods if pod.runs)) for node in spec.nodes)
    return replace(spec, nodes=tuple(nodes))


def _start_pod_server(undo: ExitStack, pods: Iterable[LabPod]) -> PodServer:
    """Serve the pods that run no program of their own."""
    server = PodServer()
    undo.callback(server.close)
    for pod in pods:
        if not pod.spec.runs:
            server.listen(pod)
    return server


def _options_of(mode: Mode | None, given: BackendOptions | None) -> BackendOptions:
    """Return the options of the mode. Raises BadInput if the given ones belong to another mode."""
    wanted = mode.options if mode else BackendOptions
    options = wanted() if given is None else given
    if not isinstance(options, wanted):
        name = mode.name if mode else "no"
        raise BadInput(
            [f"options of {name} mode are {wanted.__name__}, not {type(options).__name__}"]
        )
    return options


def _host_names(spec: LabSpec) -> list[str]:
    """Return the names of all hosts that have a namespace of their own from the start."""
    clients = (client.name for client in spec.clients)
    nodes = (node.name for node in spec.nodes)
    pods = (pod.name for pod in spec.pods if not pod.host_network)
    balancers = (each.name for each in spec.edge.balancers) if spec.edge else ()
    edge = [names.GATEWAY, *balancers] if spec.edge else []
    return [names.ROUTER, *edge, *nodes, *pods, *clients]
