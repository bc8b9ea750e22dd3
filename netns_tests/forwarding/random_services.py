"""Random Services over the pods of a lab, and packets of random clients to them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from random import Random
from typing import Any, NamedTuple

from msgspec.structs import replace

from kproxy.address import Family
from kproxy.api.types import (
    ClientIPConfig,
    EndpointConditions,
    EndpointHints,
    EndpointSlice,
    KubernetesObject,
    NamedHint,
    Service,
    ServicePort,
    SessionAffinityConfig,
)
from kproxy.forwarding.network import Packet
from kproxy.lab import Lab, PortSpec, service, slices_for
from kproxy.lab.hosts import LabPod
from kproxy.testing.random_cluster import CONDITIONS, FAMILIES

SERVICES = 8
POD_PORTS = (PortSpec(port=8080), PortSpec(port=8080, protocol="UDP"), PortSpec(port=9090))
ROUTES = (
    *("10.96.0.0/16", "fd00:10:96::/112"),
    *("192.0.2.0/24", "fd00:2::/64"),
    *("203.0.113.0/24", "fd00:203::/64"),
)
# The number of the Service is added.
_CLUSTER_IP = {Family.IPV4: "10.96.0.", Family.IPV6: "fd00:10:96::"}
_EXTERNAL_IP = {Family.IPV4: "192.0.2.", Family.IPV6: "fd00:2::"}
_VIP = {Family.IPV4: "203.0.113.", Family.IPV6: "fd00:203::"}
_LOOPBACK = {Family.IPV4: "127.0.0.1", Family.IPV6: "::1"}
_CLOSED_PORT = 7

_PORTS = (
    (ServicePort(port=80, target_port=8080),),
    (ServicePort(protocol="UDP", port=53, target_port=8080),),
    (
        ServicePort(name="web", port=80, target_port=8080),
        ServicePort(name="admin", port=8081, target_port=9090),
    ),
    (
        ServicePort(name="dns", protocol="UDP", port=53, target_port=8080),
        ServicePort(name="dns-tcp", port=53, target_port=9090),
        ServicePort(name="also-dns-tcp", port=54, target_port=9090),
    ),
)
_ENDPOINTS = (0, 1, 1, 2, 3, 5, 12)
_SOURCE_RANGES = (  # of clients, pods and nodes: some contain others, some are adjacent
    *("198.51.100.11/32", "198.51.100.8/30", "198.51.100.12/30", "198.51.100.0/24"),
    *("10.244.1.0/24", "10.244.1.12/32", "10.244.0.0/16", "192.168.10.12/32", "192.168.10.0/24"),
    *("2001:db8:198::11/128", "2001:db8:198::10/124", "2001:db8:198::/64", "fd00:10:244:1::/64"),
    *("fd00:10:244::/56", "fd00:192::12/128", "fd00:192::/64", "2001:db8::/32", "fd00:10::/32"),
)


class Question(NamedTuple):
    """A packet, and the Service that it is for, or once would have been for."""

    packet: Packet
    service: Service


class _Members(NamedTuple):
    """Pods behind a Service, with their conditions and hints by name."""

    pods: tuple[LabPod, ...]
    conditions: Mapping[str, EndpointConditions]
    hints: Mapping[str, EndpointHints]


class RandomServices:
    """Services and EndpointSlices that change step by step (`edit`), and packets for them.

    The same seed gives the same history in labs whose hosts are alike. Two seeds (up to 12) share
    no address and no node port, since a kernel remembers flows of a while ago.
    """

    def __init__(self, seed: int, lab: Lab) -> None:
        self._random = Random(seed)
        self._lab = lab
        self._numbers = count(20 * seed)
        self._services: dict[str, Service] = {}
        self._members: dict[str, _Members] = {}
        self._slices: dict[str, tuple[EndpointSlice, ...]] = {}
        self._removed: list[Service] = []
        for _ in range(SERVICES):
            self._add()

    @property
    def objects(self) -> list[KubernetesObject]:
        slices = (each for several in self._slices.values() for each in several)
        return [*self._services.values(), *slices]

    def edit(self) -> None:
        """Remove a Service, add one, and change half of the others in some way."""
        removed = self._random.choice(list(self._services))
        self._removed.append(self._services.pop(removed))
        del self._members[removed], self._slices[removed]
        for name in self._random.sample(list(self._services), SERVICES // 2):
            what = self._random.choice(("endpoints", "spec", "both"))
            if what != "endpoints":
                self._services[name] = self._altered(self._services[name])
            members = self._members[name] if what == "spec" else self._some_members()
            self._set_members(name, members)
        self._add()

    def questions(self, number: int) -> list[Question]:
        """Return questions, mostly for present Services, a few for closed ports and former ones."""
        clients = [*self._lab.nodes, *self._lab.pods, *self._lab.clients]
        there = [found for each in self._services.values() for found in self._open_ports(each)]
        astray = [found for each in self._services.values() for found in _closed_ports(each)]
        astray += [found for each in self._removed for found in self._open_ports(each)]
        asked = [
            # Few, because a packet that no node takes loops and is seen at each of 64 hops.
            self._random.choice(there if self._maybe(0.9) else astray)
            for _ in range(number)
        ]
        return [
            each._replace(packet=replace(each.packet, client=self._random.choice(clients)))
            for each in asked
        ]

    def _open_ports(self, of: Service) -> Iterator[Question]:
        nodes = self._lab.nodes
        for port in of.spec.ports:
            for address in _addresses(of):
                yield _question(of, address, port.port, port)
            for family in _families(of) if port.node_port else ():
                own = (node.addresses[family] for node in nodes.values())
                for address in (*own, nodes["node-b"].gateways[family], _LOOPBACK[family]):
                    yield _question(of, address, port.node_port, port)

    def _maybe(self, chance: float) -> bool:
        return self._random.random() < chance

    def _add(self) -> None:
        n = next(self._numbers)
        families = [Family(family) for family in self._random.choice(FAMILIES)]
        self._random.shuffle(families)
        bare = service(
            f"svc-{n}", cluster_ips=[f"{_CLUSTER_IP[each]}{n}" for each in families], ports=()
        )
        self._services[bare.metadata.name] = self._altered(bare)
        self._set_members(bare.metadata.name, self._some_members())

    def _altered(self, of: Service) -> Service:
        """Return a changed Service with the same name and cluster IPs."""
        pick = self._random.choice
        n = int(of.metadata.name.removeprefix("svc-"))
        kind = pick(("ClusterIP", "NodePort", "LoadBalancer", "LoadBalancer"))
        exposed = kind == "NodePort" or (kind == "LoadBalancer" and self._maybe(0.7))
        vips = [f"{_VIP[each]}{n}" for each in _families(of) if self._maybe(0.8)]
        external = [f"{_EXTERNAL_IP[each]}{n}" for each in _families(of) if self._maybe(0.4)]
        spec: dict[str, Any] = {}
        if self._maybe(0.3):
            spec["session_affinity"] = "ClientIP"
            spec["session_affinity_config"] = SessionAffinityConfig(client_ip=ClientIPConfig())
        return service(
            of.metadata.name,
            cluster_ips=of.spec.cluster_ips,
            ports=[
                replace(port, node_port=30000 + n * 4 + i if exposed else 0)
                for i, port in enumerate(pick(_PORTS))
            ],
            type=kind,
            load_balancer_ips=vips if kind == "LoadBalancer" else (),
            external_ips=tuple(external),
            external_traffic_policy=pick(("Cluster", "Local")),
            internal_traffic_policy=pick(("Cluster", "Cluster", "Local")),
            load_balancer_source_ranges=tuple(
                self._random.sample(_SOURCE_RANGES, pick((0, 1, 3, 6)))
            ),
            **spec,
        )

    def _some_members(self) -> _Members:
        """Return random pods, or those of another Service."""
        if self._members and self._maybe(0.2):
            return self._random.choice(list(self._members.values()))
        pods = self._random.sample(list(self._lab.pods.values()), self._random.choice(_ENDPOINTS))
        hinted = pods if self._maybe(0.15) else ()
        doubtful = pods if self._maybe(0.4) else ()
        return _Members(
            tuple(pods),
            {pod.name: self._random.choice(CONDITIONS) for pod in doubtful},
            {pod.name: EndpointHints(for_nodes=(NamedHint(name=pod.node),)) for pod in hinted},
        )

    def _set_members(self, name: str, members: _Members) -> None:
        pods, conditions, hints = self._members[name] = members
        whole = slices_for(self._services[name], pods, conditions=conditions, hints=hints)
        self._slices[name] = tuple(part for each in whole for part in self._split(each))

    def _split(self, whole: EndpointSlice) -> Sequence[EndpointSlice]:
        """Return the slice, or two that have one endpoint in common."""
        if len(whole.endpoints) < 3 or self._maybe(0.5):
            return [whole]
        metadata = replace(whole.metadata, name=f"{whole.metadata.name}-more")
        return [
            replace(whole, endpoints=whole.endpoints[:2]),
            replace(whole, metadata=metadata, endpoints=whole.endpoints[1:]),
        ]


def _closed_ports(of: Service) -> Iterator[Question]:
    for address in _addresses(of):
        yield _question(of, address, _CLOSED_PORT, of.spec.ports[0])


def _question(of: Service, address: str, number: int, port: ServicePort) -> Question:
    packet = Packet(client="", address=address, port=number, protocol=port.protocol)
    return Question(packet, of)


def _addresses(of: Service) -> list[str]:
    vips = (ingress.ip for ingress in of.status.load_balancer.ingress)
    return [*of.spec.cluster_ips, *of.spec.external_ips, *vips]


def _families(of: Service) -> list[Family]:
    return [Family(family) for family in of.spec.ip_families]
