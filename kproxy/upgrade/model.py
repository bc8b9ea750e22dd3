"""The objects of a cluster in a lab of their own. Pure.

A lab has its own addresses, so those of nodes and endpoints are replaced; the addresses of Services
stay. Every node becomes a node, every endpoint a pod that serves its ports, and clients are added:
a pod on each node, one outside, and one outside that all source ranges allow.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace as with_fields
from ipaddress import ip_network

from msgspec import Struct
from msgspec.structs import replace

from kproxy.address import Family, family_of, family_of_parsed
from kproxy.api.addresses import parse_cidr, parse_ip
from kproxy.api.types import (
    Endpoint,
    EndpointSlice,
    KubernetesObject,
    Node,
    Protocol,
    Service,
    ServiceCIDR,
)
from kproxy.config import ProxyConfig
from kproxy.config.node import ZONE_LABEL
from kproxy.forwarding.network import Network
from kproxy.forwarding.service_ports import is_proxied
from kproxy.lab.inventory import Inventory, oracle_network
from kproxy.lab.layout import MAX_HOSTS, Layout
from kproxy.lab.names import RESERVED, interface
from kproxy.lab.spec import ClientSpec, LabSpec, NodeSpec, PodSpec, PortSpec
from kproxy.store import SERVICE_NAME_LABEL
from kproxy.upgrade.addresses import Translation, free_cidrs
from kproxy.upgrade.facts import external_addresses
from kproxy.upgrade.rules import nodes_of

OUTSIDE, ALLOWED = "outside", "allowed"
_NO_DNS_LABEL = re.compile(r"[^a-z0-9-]+")
_LONGEST = 40
_PROTOCOLS: Mapping[str, Protocol] = {"TCP": "TCP", "UDP": "UDP", "SCTP": "SCTP"}


class Model(Struct, frozen=True, kw_only=True):
    """The lab, and the objects with its addresses.

    `names`: what each host of the lab stands for. `hosts`: by address. `visitors`: by node, the pod
    that only asks.
    """

    spec: LabSpec
    objects: tuple[KubernetesObject, ...]
    names: Mapping[str, str]
    hosts: Mapping[str, str]
    visitors: Mapping[str, str]
    inventory: Inventory
    network: Network
    translation: Translation

    def name(self, host: str) -> str:
        """Return what a host stands for."""
        return self.names.get(host, host)

    def config(self, config: ProxyConfig) -> ProxyConfig:
        """Return a configuration for the lab's nodes. Local pods are told by the lab's CIDRs if
        the configuration tells them at all.
        """
        known = config.detect_local_mode != "ClusterCIDR" or config.cluster_cidr
        return replace(
            config,
            bind_address="0.0.0.0",
            cluster_cidr=",".join(self.spec.pod_cidrs) if known else "",
            detect_local_mode="ClusterCIDR",
            node_port_addresses=tuple(
                self.translation.cidr(entry) if parse_cidr(entry) else entry
                for entry in config.node_port_addresses
            ),
        )


class _Pod:
    """An endpoint, and on which node it is."""

    def __init__(self, name: str, node: str, host_network: bool) -> None:
        self.name = name
        self.node = node
        self.host_network = host_network
        self.ports: dict[tuple[Protocol, int], None] = {}


def model_of(objects: Iterable[KubernetesObject]) -> Model:
    """Return the model of all Services that a proxy serves."""
    objects = tuple(objects)
    services = {
        (each.metadata.namespace, each.metadata.name): each
        for each in objects
        if isinstance(each, Service) and is_proxied(each)
    }
    slices = [
        each
        for each in objects
        if isinstance(each, EndpointSlice)
        and (each.metadata.namespace, each.metadata.labels.get(SERVICE_NAME_LABEL)) in services
    ]
    nodes = {each.metadata.name: each for each in objects if isinstance(each, Node)}
    known = list(nodes_of((*nodes.values(), *slices)))
    namer = _Namer()
    hosts = {name: namer.name(name) for name in known}
    pods = _pods(slices, nodes, known, namer)
    visitors = {hosts[name]: namer.name(f"pod-on-{name}") for name in known}
    spec = _spec(services.values(), nodes, hosts, pods, visitors)
    layout = Layout.of(spec)
    translation = _translation(layout, spec, nodes, hosts, pods)
    inventory = Inventory.planned(spec, layout)
    routes = _routes(services.values(), slices, hosts, translation)
    spec = with_fields(spec, routes=routes)
    wanted: tuple[KubernetesObject, ...] = (
        *(_service(each, translation, layout) for each in services.values()),
        *(_slice(each, hosts, translation) for each in slices),
        *(each for each in objects if isinstance(each, ServiceCIDR)),
    )
    names = {host: name for name, host in hosts.items()}
    names |= {each.name: key for key, each in pods.items()}
    names |= {visitor: f"a pod on {names[node]}" for node, visitor in visitors.items()}
    network = oracle_network(spec, layout, inventory, inventory.pods, routes)
    by_address: dict[str, str] = {}
    for host in network.hosts.values():  # nodes come first: pods of the host network share theirs
        for address in host.addresses:
            by_address.setdefault(address, host.name)
    return Model(
        spec=spec,
        objects=wanted,
        names=names,
        visitors=visitors,
        inventory=inventory,
        hosts=by_address,
        network=network,
        translation=translation,
    )


def too_large(model: Model) -> str:
    """Tell why no lab can be built of the model, "" if one can."""
    nodes = len(model.spec.nodes)
    most = max(len(node.pods) for node in model.spec.nodes)
    if nodes > MAX_HOSTS or most > MAX_HOSTS:
        return f"{nodes} nodes with up to {most} pods each are more than {MAX_HOSTS}"
    return ""


class _Namer:
    """Makes names of hosts: DNS labels whose interfaces have different names, too."""

    def __init__(self) -> None:
        self._taken = {OUTSIDE, ALLOWED, *RESERVED}
        self._interfaces = {interface(name) for name in self._taken}

    def name(self, wanted: str) -> str:
        stem = _NO_DNS_LABEL.sub("-", wanted.lower())[:_LONGEST].strip("-") or "host"
        name, number = stem, 1
        while name in self._taken or interface(name) in self._interfaces:
            number += 1
            name = f"{stem}-{number}"
        self._taken.add(name)
        self._interfaces.add(interface(name))
        return name


def _pods(
    slices: Sequence[EndpointSlice],
    nodes: Mapping[str, Node],
    known: Sequence[str],
    namer: _Namer,
) -> dict[str, _Pod]:
    """Return the endpoints by address. One Pod with two addresses is two pods here."""
    own = {
        str(ip): name
        for name, node in nodes.items()
        for each in node.status.addresses
        if (ip := parse_ip(each.address))
    }
    found: dict[str, _Pod] = {}
    for one in slices:
        for each in one.endpoints:
            for address in each.addresses[:1]:
                if address not in found:
                    node = own.get(address) or each.node_name or known[0]
                    name = _pod_name(each, address)
                    found[address] = _Pod(namer.name(name), node, address in own)
                for port in one.ports:
                    if port.port and (protocol := _PROTOCOLS.get(port.protocol)):
                        found[address].ports[protocol, port.port] = None
    return found


def _pod_name(endpoint: Endpoint, address: str) -> str:
    reference = endpoint.target_ref
    if reference and reference.name:
        return reference.name
    return f"pod-{address}"


def _spec(
    services: Iterable[Service],
    nodes: Mapping[str, Node],
    hosts: Mapping[str, str],
    pods: Mapping[str, _Pod],
    visitors: Mapping[str, str],
) -> LabSpec:
    of_services = list(_service_addresses(services))
    families = {family_of(address) for address in of_services} or {Family.IPV4}
    cidrs = free_cidrs(of_services)
    by_node: dict[str, list[PodSpec]] = {name: [] for name in hosts}
    for pod in pods.values():
        by_node[pod.node].append(
            PodSpec(
                name=pod.name,
                host_network=pod.host_network,
                ports=tuple(PortSpec(port=port, protocol=protocol) for protocol, port in pod.ports),
            )
        )
    return LabSpec(
        name="upgrade",
        families=tuple(family for family in Family if family in families),
        nodes=tuple(
            NodeSpec(
                name=host,
                zone=nodes[name].metadata.labels.get(ZONE_LABEL, "") if name in nodes else "",
                pods=(PodSpec(name=visitors[host]), *by_node[name]),
            )
            for name, host in hosts.items()
        ),
        clients=(ClientSpec(name=OUTSIDE), ClientSpec(name=ALLOWED)),
        node_cidrs=cidrs.nodes,
        pod_cidrs=cidrs.pods,
        client_cidrs=cidrs.clients,
        service_cidrs=cidrs.services,
    )


def _translation(
    layout: Layout,
    spec: LabSpec,
    nodes: Mapping[str, Node],
    hosts: Mapping[str, str],
    pods: Mapping[str, _Pod],
) -> Translation:
    addresses: dict[str, str] = {}
    for address, pod in pods.items():
        addresses[address] = layout.addresses[pod.name].get(family_of(address), address)
    of_nodes = {}
    for name, node in nodes.items():
        for each in node.status.addresses:
            ip = parse_ip(each.address)
            own = layout.addresses[hosts[name]]
            if ip and family_of_parsed(ip) in own:
                of_nodes[str(ip)] = own[family_of_parsed(ip)]
    return Translation(
        pods=addresses,
        nodes=of_nodes,
        pod_cidrs={family_of_parsed(n): str(n) for n in map(ip_network, spec.pod_cidrs)},
        node_cidrs={family_of_parsed(n): str(n) for n in map(ip_network, spec.node_cidrs)},
    )


def _service(service: Service, translation: Translation, layout: Layout) -> Service:
    """Return a Service with the lab's addresses in place of those of nodes.

    Its source ranges allow the client for that, and nodes and pods if they did so.
    """
    spec = service.spec
    status = service.status
    ingress = tuple(
        replace(each, ip=translation.address(each.ip)) if each.ip else each
        for each in status.load_balancer.ingress
    )
    ranges = spec.load_balancer_source_ranges
    allowed = layout.addresses[ALLOWED]
    changed = []
    for text in ranges:
        network = parse_cidr(text)
        if network is None:
            continue
        if network.prefixlen == 0:
            changed.append(text)
            continue
        family = family_of_parsed(network)
        if family in allowed:
            changed.append(f"{allowed[family]}/{32 if family is Family.IPV4 else 128}")
        changed += translation.covered(network)
    return replace(
        service,
        spec=replace(
            spec,
            external_ips=tuple(map(translation.address, spec.external_ips)),
            load_balancer_source_ranges=tuple(dict.fromkeys(changed)),
        ),
        status=replace(status, load_balancer=replace(status.load_balancer, ingress=ingress)),
    )


def _slice(
    slice_: EndpointSlice, hosts: Mapping[str, str], translation: Translation
) -> EndpointSlice:
    def moved(endpoint: Endpoint) -> Endpoint:
        hints = endpoint.hints
        if hints and hints.for_nodes:
            named = ((each, hosts.get(each.name, each.name)) for each in hints.for_nodes)
            moved_hints = tuple(replace(each, name=name) for each, name in named)
            hints = replace(hints, for_nodes=moved_hints)
        return replace(
            endpoint,
            addresses=tuple(map(translation.address, endpoint.addresses[:1])),
            node_name=hosts[endpoint.node_name] if endpoint.node_name else None,
            hints=hints,
        )

    return replace(slice_, endpoints=tuple(moved(each) for each in slice_.endpoints))


def _routes(
    services: Iterable[Service],
    slices: Sequence[EndpointSlice],
    hosts: Mapping[str, str],
    translation: Translation,
) -> dict[str, str]:
    """Return a route to each external address that no node has: to a node with an endpoint of the
    Service, as a load balancer would choose it, else to the first one.
    """
    routes: dict[str, str] = {}
    for service in services:
        key = (service.metadata.namespace, service.metadata.name)
        there = [
            each.node_name
            for one in slices
            if (one.metadata.namespace, one.metadata.labels.get(SERVICE_NAME_LABEL)) == key
            for each in one.endpoints
            if each.node_name and each.conditions.ready is not False
        ]
        node = hosts[there[0]] if there else next(iter(hosts.values()))
        for address in external_addresses(service):
            if translation.address(address) == address:
                bits = 32 if family_of(address) is Family.IPV4 else 128
                routes.setdefault(f"{address}/{bits}", node)
    return routes


def _service_addresses(services: Iterable[Service]) -> Iterator[str]:
    for service in services:
        yield from service.spec.cluster_ips or (service.spec.cluster_ip,)
        yield from external_addresses(service)
