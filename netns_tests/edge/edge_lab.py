"""A cluster with an edge, a Service in it, and connections from anywhere that may be held."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from msgspec.structs import replace

from kproxy.address import Family, socket_family
from kproxy.api.types import Protocol, Service, ServicePort
from kproxy.edge import ListenerState
from kproxy.forwarding.network import Packet
from kproxy.lab import ClientSpec, Lab, LabSpec, NodeSpec, PodSpec, PortSpec, service
from kproxy.lab.spec import BalancerSpec, EdgeSpec
from kproxy.probe import connect_many
from netns_tests.modes import Mode

V4, V6 = Family.IPV4, Family.IPV6
ELB = "kubernetes.io/elb."
ALIBABA = "service.beta.kubernetes.io/alibaba-cloud-loadbalancer-"
PORTS = (PortSpec(port=8080), PortSpec(port=8080, protocol="UDP"))
INTERVAL_S = 0.2
_TIMEOUT_S = 3.0


def pod(name: str, app: str = "", **special: Any) -> PodSpec:
    return PodSpec(name=name, labels={"app": app} if app else {}, ports=PORTS, **special)


def spec(
    network: str,
    pods: Mapping[str, tuple[PodSpec, ...]],
    profile: str = "cce",
    families: tuple[Family, ...] = (V4, V6),
) -> LabSpec:
    """Return a lab with two load balancers and two clients. `pods`: by the name of the node."""
    return LabSpec(
        network=network,
        profile=profile,
        families=families,
        nodes=tuple(NodeSpec(name=node, pods=its) for node, its in pods.items()),
        clients=(ClientSpec(name="outside"), ClientSpec(name="other")),
        edge=EdgeSpec(
            balancers=(BalancerSpec(name="lb"), BalancerSpec(name="elb", kind="dedicated"))
        ),
    )


@contextmanager
def running(wanted: LabSpec, mode: Mode | None = None, drain_s: float = 300.0) -> Iterator[Lab]:
    mode = mode or Mode("iptables")
    with Lab(
        wanted,
        mode.name,
        options=mode.options,
        check_interval_s=INTERVAL_S,
        drain_s=drain_s,
    ) as lab:
        yield lab


def web(
    policy: str = "Local",
    annotations: Mapping[str, str] | None = None,
    families: tuple[Family, ...] = (V4, V6),
    app: str = "web",
) -> Service:
    """Return a Service on port 80, TCP and UDP; its health check node port is 32000 if Local."""
    ips = {V4: "10.96.0.10", V6: "fd00:10:96::10"}
    made = service(
        "web",
        cluster_ips=[ips[family] for family in families],
        ports=(
            ServicePort(name="http", port=80, target_port=8080, node_port=30080),
            ServicePort(name="dns", protocol="UDP", port=80, target_port=8080, node_port=30080),
        ),
        type="LoadBalancer",
        selector={"app": app},
        external_traffic_policy=policy,
        health_check_node_port=32000 if policy == "Local" else 0,
    )
    return replace(made, metadata=replace(made.metadata, annotations=dict(annotations or {})))


def apply(lab: Lab, made: Service) -> None:
    lab.apply([made, *lab.slices(made)])


def listener(lab: Lab, protocol: str = "TCP", family: Family = V4) -> ListenerState:
    (found,) = (
        each
        for each in lab.balancer_state()
        if (each.listener.key.protocol, each.listener.key.family) == (protocol, family)
    )
    return found


def sources(lab: Lab, packets: list[Packet]) -> list[str]:
    """Return, for each packet, the source that the pod saw, or else how it failed."""
    return [seen.source if seen.success else str(seen) for seen in connect_many(lab, packets)]


def pods(lab: Lab, client: str, address: str, count: int, protocol: Protocol = "TCP") -> list[str]:
    """Connect `count` times; return the pod that answers each connection, or how it failed."""
    found = []
    for _ in range(count):
        packet = Packet(client=client, address=address, port=80, protocol=protocol)
        (seen,) = connect_many(lab, [packet])
        found.append(seen.pod if seen.success else str(seen))
    return found


@dataclass(slots=True)
class Held:
    """Connections that are kept open. A context manager."""

    lab: Lab
    sockets: list[socket.socket] = field(default_factory=list)

    def __enter__(self) -> Held:
        return self

    def __exit__(self, *_: object) -> None:
        for each in self.sockets:
            each.close()

    def open(self, client: str, address: str) -> socket.socket:
        with self.lab.hosts[client].namespace.entered():
            sock = socket.socket(socket_family(address))
        self.sockets.append(sock)
        sock.settimeout(_TIMEOUT_S)
        sock.connect((address, 80))
        return sock


def answer(held: socket.socket) -> str:
    """Return the pod at the other end, "" if it is no longer there."""
    try:
        held.send(b"who\n")
        return str(json.loads(held.recv(4096))["pod"])
    except (ConnectionError, TimeoutError):
        return ""
