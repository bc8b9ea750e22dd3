"""Pods that are added and removed while a lab runs, each with a namespace, cables, addresses and a
server.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from itertools import count, groupby
from operator import attrgetter

from kproxy.api.types import Probe
from kproxy.errors import BadInput
from kproxy.kernel.links import Links, apart
from kproxy.kernel.netns import Namespace
from kproxy.lab.cluster.probe_questions import question
from kproxy.lab.hosts import LabPod
from kproxy.lab.layout import Layout, PodAddresses
from kproxy.lab.models import MODELS
from kproxy.lab.names import RESERVED, ROUTER, free_interface, interface
from kproxy.lab.pods.commands import CommandHosts
from kproxy.lab.pods.server import PodServer
from kproxy.lab.spec import LabSpec, PodSpec, PortSpec
from kproxy.lab.topology.cables import Cable, await_ready
from kproxy.lab.topology.kernel_settings import Kind, set_up_kernels
from kproxy.lab.topology.pods import PodNetwork
from kproxy.lab.topology.rules import Rules

# The first index of interfaces: far above those of a lab's build and those that the kernel gives.
_FIRST_INDEX = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sandbox:
    """A pod with a namespace of its own. `number` is that of its addresses, on its node.

    `cable` has its name on the node, and on the router if the model has a cable there.
    """

    pod: LabPod
    number: int
    cable: Cable

    @property
    def node(self) -> str:
        return self.pod.node


class PodRuntime:
    """The runtime of pods on the nodes of a lab that is up. Used by one thread at a time.

    Any thread may use `commands`, those that run in its pods, and `server`, which answers for them.
    """

    def __init__(
        self,
        spec: LabSpec,
        layout: Layout,
        namespaces: Mapping[str, Namespace],
        variant: str,
        server: PodServer,
    ) -> None:
        """Take the `namespaces` of the nodes and the router, by name, and the iptables `variant`.

        Other pods that `server` serves are not affected.
        """
        self._spec = spec
        self._nodes = {node.name: node for node in spec.nodes}
        self._layout = layout
        self._network = PodNetwork(spec=spec, model=MODELS[spec.network], layout=layout)
        self._namespaces = namespaces
        self._variant = variant
        self.server = server
        self.commands = CommandHosts()
        self._pods: dict[str, LabPod] = {}
        self._sandboxes: dict[str, _Sandbox] = {}
        self._hosts = {*layout.addresses, *RESERVED}
        self._interfaces = {*map(interface, layout.addresses), *RESERVED}
        self._indexes = count(_FIRST_INDEX)
        self._free = {
            node.name: PodAddresses(layout.subnets[node.name], len(node.pods))
            for node in spec.nodes
        }

    def start(self, wanted: Sequence[tuple[PodSpec, str]]) -> list[LabPod]:
        """Run pods on nodes, all at once; return them in the order of `wanted`, which has each pod
        and the name of its node.

        Returns when their links carry packets and their servers listen. `PodSpec.name` is the
        host's name (`kproxy.lab.names.host_name`). Raises BadInput if there is no such node, a
        name or a port is taken or a node has no address left, Unsupported and KernelRefused;
        nothing of any of them is left then.
        """
        return apart(partial(self._start, wanted))

    def stop(self, *names: str) -> None:
        """End pods, even with open connections; their addresses are the last to be reused.

        All that they had on node and router is removed, whichever step fails. Raises KernelRefused.
        """
        apart(partial(self._stop, names))

    def stop_accepting(self, name: str) -> None:
        """Close a pod's ports, as SIGTERM does; open connections may continue to their end."""
        self.server.stop_accepting(name)

    def open_connections(self, name: str) -> int:
        """Return the number of clients of a pod that have no answer yet."""
        return self.server.open_connections(name)

    def set_ports(self, name: str, ports: tuple[PortSpec, ...]) -> LabPod:
        """Let a pod serve these ports from now on, and no others; return it with them.

        Raises what `PodServer.set_ports` raises; its ports are as before then.
        """
        pod = self._pods[name]
        changed = replace(pod, spec=replace(pod.spec, ports=ports))
        self.server.set_ports(changed)
        self._pods[name] = changed
        return changed

    def set_health(self, name: str, probe: Probe, *, healthy: bool) -> None:
        """Let a pod fail or pass such a probe from now on.

        To fail an HTTP probe, it answers 503 at that port and path; to fail a TCP probe, it refuses
        connections to that port. Raises BadInput for a probe that cannot be asked.
        """
        pod = self._pods[name]
        asked = question(probe, next(iter(pod.addresses.values())), pod.spec.ports)
        if probe.http_get:
            self.server.set_path(name, asked.port, asked.path, fails=not healthy)
        else:
            self.server.set_port(name, asked.port, closed=not healthy)

    def close(self) -> None:
        """End all pods, when the nodes end too: their links are removed with the namespaces."""
        self.commands.close()
        for name in self._pods:
            self.server.unlisten(name)
        for sandbox in self._sandboxes.values():
            sandbox.pod.namespace.close()
        self._pods.clear()
        self._sandboxes.clear()

    def _start(self, wanted: Sequence[tuple[PodSpec, str]]) -> list[LabPod]:
        self._check(wanted)
        with ExitStack() as undo:
            sandboxes = [
                self._sandbox(undo, pod, node) for pod, node in wanted if not pod.host_network
            ]
            self._connect(undo, sandboxes)
            own = {each.pod.name: each.pod for each in sandboxes}
            pods = [own.get(pod.name) or self._on_host(pod, node) for pod, node in wanted]
            for pod in pods:
                self.server.listen(pod)
                undo.callback(self.server.unlisten, pod.name)
            undo.pop_all()
        self._sandboxes |= {each.pod.name: each for each in sandboxes}
        self._pods |= {pod.name: pod for pod in pods}
        return pods

    def _stop(self, names: Sequence[str]) -> None:
        self.commands.end(*names)
        for name in names:
            del self._pods[name]
            self.server.unlisten(name)
        sandboxes = [self._sandboxes.pop(name) for name in names if name in self._sandboxes]
        with ExitStack() as steps:
            steps.callback(self._release, sandboxes)
            for place, group in self._places(sandboxes):
                steps.callback(self._revoke, place, group)
                steps.callback(self._unplug, place, group)

    def _check(self, wanted: Iterable[tuple[PodSpec, str]]) -> None:
        found: list[str] = []
        seen = {*self._hosts, *self._pods}
        needed: dict[str, int] = dict.fromkeys(self._nodes, 0)
        for pod, node in wanted:
            if pod.name in seen:
                found.append(f"pod {pod.name}: this name of a host is taken")
            seen.add(pod.name)
            if node not in self._nodes:
                found.append(f"pod {pod.name}: {node!r} is not a node")
            elif not pod.host_network:
                needed[node] += 1
        for node, number in needed.items():
            if number > len(self._free[node]):
                left = len(self._free[node])
                found.append(f"node {node} has {left} addresses left, not {number}")
        if found:
            raise BadInput(found)

    def _sandbox(self, undo: ExitStack, pod: PodSpec, node: str) -> _Sandbox:
        """Return a sandbox with a namespace and reserved addresses and interface name, not yet
        connected.
        """
        number, addresses = self._free[node].take()
        undo.callback(self._free[node].free, number)
        name = free_interface(pod.name, self._interfaces)
        self._interfaces.add(name)
        undo.callback(self._interfaces.discard, name)
        namespace = undo.enter_context(Namespace.create(f"{self._spec.name}-{pod.name}"))
        return _Sandbox(
            pod=LabPod(
                name=pod.name,
                namespace=namespace,
                addresses=addresses,
                spec=pod,
                node=node,
                zone=self._nodes[node].zone,
            ),
            number=number,
            cable=Cable(
                name=name, index=next(self._indexes), namespace=namespace, addresses=addresses
            ),
        )

    def _release(self, sandboxes: Iterable[_Sandbox]) -> None:
        for each in sandboxes:
            each.pod.namespace.close()
            self._interfaces.discard(each.cable.name)
            self._free[each.node].free(each.number)

    def _on_host(self, pod: PodSpec, node: str) -> LabPod:
        return LabPod(
            name=pod.name,
            namespace=self._namespaces[node],
            addresses=self._layout.addresses[node],
            spec=pod,
            node=node,
            zone=self._nodes[node].zone,
        )

    def _connect(self, undo: ExitStack, sandboxes: Sequence[_Sandbox]) -> None:
        network = self._network
        set_up_kernels(self._spec.families, [(each.pod.namespace, Kind()) for each in sandboxes])
        for place, group in self._places(sandboxes):
            cables = [each.cable for each in group]
            rules = self._rules(place, group)
            with self._namespaces[place].entered(), Links() as links:
                undo.callback(self._unplug, place, group)
                if place == ROUTER:
                    network.hang_on_router(links, cables)
                else:
                    network.hang_on_node(links, place, cables)
                links.flush()
                rules.commit()
            undo.callback(self._revoke, place, group)
        for each in sandboxes:
            with each.pod.namespace.entered(), Links() as links:
                network.set_up_pod(links, each.node, each.cable.addresses)
                await_ready(links, network.pod_links)
        for place, group in self._places(sandboxes):
            with self._namespaces[place].entered(), Links() as links:
                upper = [each.cable.name for each in group]
                await_ready(links, [*upper, *(network.node_links if place != ROUTER else ())])

    def _places(self, sandboxes: Sequence[_Sandbox]) -> Iterator[tuple[str, list[_Sandbox]]]:
        """Yield each host at which cables of pods end, and the sandboxes of these pods."""
        if self._network.uses_router and sandboxes:
            yield ROUTER, list(sandboxes)
        in_order = sorted(sandboxes, key=attrgetter("node"))
        for node, group in groupby(in_order, attrgetter("node")):
            yield node, list(group)

    def _rules(self, place: str, sandboxes: Iterable[_Sandbox]) -> Rules:
        rules = Rules(self._variant)
        for each in sandboxes:
            if place == ROUTER:
                self._network.router_rules(
                    rules, each.pod.name, each.cable.name, each.cable.addresses
                )
            else:
                self._network.node_rules(rules, each.cable.name)
        return rules

    def _revoke(self, place: str, sandboxes: Iterable[_Sandbox]) -> None:
        with self._namespaces[place].entered():
            self._rules(place, sandboxes).revoke()

    def _unplug(self, place: str, sandboxes: Iterable[_Sandbox]) -> None:
        """Delete both ends of the cables, with their addresses and routes.

        After an error some do not exist, and another interface may have the name of one.
        """
        with self._namespaces[place].entered(), Links() as links:
            there = dict(socket.if_nameindex())
            cables = [each.cable for each in sandboxes]
            links.delete(*(each.name for each in cables if there.get(each.index) == each.name))
