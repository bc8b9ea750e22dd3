"""The hosts of a lab by name, and the oracle's view of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

from kproxy.api.types import KubernetesObject
from kproxy.forwarding.network import Host, HostKind, Network
from kproxy.kernel.netns import Namespace
from kproxy.lab import names
from kproxy.lab.hosts import LabBalancer, LabClient, LabHost, LabNode, LabPod
from kproxy.lab.layout import Layout
from kproxy.lab.objects import node_object, pod_object
from kproxy.lab.spec import LabSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """The hosts that were built. `pods` are those of the spec; `between` has the router, and the
    edge's gateway.
    """

    nodes: Mapping[str, LabNode] = field(default_factory=dict)
    pods: Mapping[str, LabPod] = field(default_factory=dict)
    clients: Mapping[str, LabClient] = field(default_factory=dict)
    balancers: Mapping[str, LabBalancer] = field(default_factory=dict)
    between: Mapping[str, LabHost] = field(default_factory=dict)

    @classmethod
    def of(cls, spec: LabSpec, layout: Layout, namespaces: Mapping[str, Namespace]) -> Inventory:
        """Return the hosts of a spec; `namespaces` by host name."""
        nodes = {
            node.name: LabNode(
                name=node.name,
                namespace=namespaces[node.name],
                addresses=layout.addresses[node.name],
                spec=node,
                subnets=layout.subnets[node.name],
                gateways=layout.gateways[node.name],
                public=layout.public.get(node.name, {}),
            )
            for node in spec.nodes
        }
        pods = {
            pod.name: LabPod(
                name=pod.name,
                namespace=namespaces[node.name if pod.host_network else pod.name],
                addresses=layout.addresses[pod.name],
                spec=pod,
                node=node.name,
                zone=node.zone,
            )
            for node in spec.nodes
            for pod in node.pods
        }
        clients = {
            client.name: LabClient(
                name=client.name,
                namespace=namespaces[client.name],
                addresses=layout.addresses[client.name],
            )
            for client in spec.clients
        }
        balancers = {
            each.name: LabBalancer(
                name=each.name,
                namespace=namespaces[each.name],
                addresses=layout.addresses[each.name],
                spec=each,
                public=layout.public[each.name],
                check_sources=layout.check_sources[each.name],
            )
            for each in (spec.edge.balancers if spec.edge else ())
        }
        between = {
            name: LabHost(name=name, namespace=namespaces[name], addresses=addresses)
            for name, addresses in (
                (names.ROUTER, layout.node_gateway),
                *([(names.GATEWAY, layout.addresses[names.GATEWAY])] if spec.edge else []),
            )
        }
        return cls(nodes=nodes, pods=pods, clients=clients, balancers=balancers, between=between)

    @classmethod
    def planned(cls, spec: LabSpec, layout: Layout) -> Inventory:
        """Return the hosts that a spec will have. They have no namespace, which must not be asked
        for.
        """
        nowhere = cast("Namespace", None)
        return cls.of(spec, layout, defaultdict(lambda: nowhere))

    def objects(self) -> tuple[KubernetesObject, ...]:
        """Return the Node objects that describe the lab, and the Pod objects of its spec's pods."""
        return (*map(node_object, self.nodes.values()), *map(pod_object, self.pods.values()))


def oracle_network(
    spec: LabSpec,
    layout: Layout,
    inventory: Inventory,
    pods: Mapping[str, LabPod],
    routes: Mapping[str, str],
) -> Network:
    """Return all hosts' addresses and the router's `routes` (CIDR -> node), as the oracle needs
    them. `pods` are the running ones.
    """
    hosts = [
        *(
            Host(
                name=node.name,
                kind=HostKind.NODE,
                addresses=(*node.addresses.values(), *node.gateways.values()),
                gateways=tuple(node.gateways.values()),
                listens=tuple(
                    (port.protocol, port.port)
                    for pod in pods.values()
                    if pod.spec.host_network and pod.node == node.name
                    for port in pod.spec.ports
                ),
            )
            for node in inventory.nodes.values()
        ),
        *(
            Host(
                name=pod.name,
                kind=HostKind.POD,
                addresses=tuple(pod.addresses.values()),
                node=pod.node,
                listens=tuple((port.protocol, port.port) for port in pod.spec.ports),
            )
            for pod in pods.values()
        ),
        *(_plain(each, HostKind.CLIENT) for each in inventory.clients.values()),
        *(_plain(each, HostKind.EDGE) for each in inventory.balancers.values()),
        *(
            _plain(each, HostKind.EDGE)
            for name, each in inventory.between.items()
            if name == names.GATEWAY
        ),
        Host(
            name=names.ROUTER,
            kind=HostKind.ROUTER,
            addresses=(*layout.node_gateway.values(), *layout.client_gateway.values()),
        ),
    ]
    return Network(
        hosts={host.name: host for host in hosts},
        routes=dict(routes),
        routed=spec.network == "routed" and spec.edge is None,
    )


def _plain(host: LabHost, kind: HostKind) -> Host:
    return Host(name=host.name, kind=kind, addresses=tuple(host.addresses.values()))
