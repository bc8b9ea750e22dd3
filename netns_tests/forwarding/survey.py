"""Tables of packets: each row is tried in three ways, and all three must agree with the row.

    node-a: pod-a, visitor-a      node-b: pod-b      node-c: visitor-c      outside, stranger

Endpoints are on pod-a and pod-b; the others only ask. The router takes external IPs, load balancer
VIPs and cluster IPs to node-a. Each row gets a Service of its kind; those of one kind share it. The
tables are asked at once, so that all drops together cost one time-out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from msgspec.structs import replace

from kproxy.address import Family
from kproxy.api.types import KubernetesObject, Protocol, ServicePort
from kproxy.forwarding.network import Packet
from kproxy.lab import service, slices_for
from kproxy.testing import Answer, Expectation, LabFactory, ProbedLab
from netns_tests.modes import Mode

PROTOCOLS: tuple[Protocol, ...] = ("TCP", "UDP")
ONLY_TCP: tuple[Protocol, ...] = ("TCP",)
BOTH = (Family.IPV4, Family.IPV6)
ONLY_IPV4, ONLY_IPV6 = (Family.IPV4,), (Family.IPV6,)
PORT, CLOSED_PORT = 80, 81
ADMITTED = ("198.51.100.11/32", "2001:db8:198::11/128")  # the address of `outside`

_ADDRESSES = {  # what is asked -> the prefix to which the number of the Service is added
    "cluster IP": {Family.IPV4: "10.96.0.", Family.IPV6: "fd00:10:96::"},
    "external IP": {Family.IPV4: "192.0.2.", Family.IPV6: "fd00:2::"},
    "VIP": {Family.IPV4: "203.0.113.", Family.IPV6: "fd00:203::"},
}
_ADDRESSES |= {
    "VIP with source ranges": _ADDRESSES["VIP"],
    "VIP, closed port": _ADDRESSES["VIP"],
    "cluster IP, closed port": _ADDRESSES["cluster IP"],
}
_ROUTES = (
    *("10.96.0.0/16", "fd00:10:96::/112"),
    *("192.0.2.0/24", "fd00:2::/64"),
    *("203.0.113.0/24", "fd00:203::/64"),
)
_LOOPBACK = {Family.IPV4: "127.0.0.1", Family.IPV6: "::1"}


@dataclass(frozen=True, slots=True)
class Case:
    """A row. `asks` is "cluster IP", "external IP", "VIP", "VIP with source ranges", "VIP, closed
    port" and the like, else a node port: of the node of that name, of "localhost", or of the
    "gateway" that node-a is to its pods. `policy` is the traffic policy that matters for it.
    `endpoints` has names of pods with a space between, "" for none. `ipvs` and `nftables` are the
    outcome in that mode if it is another one. A pod sees "what it asks" if the address that is
    asked is the source.
    """

    asks: str
    policy: str
    client: str
    endpoints: str
    outcome: Expectation
    families: Sequence[Family] = BOTH
    ipvs: Expectation | None = None
    protocols: Sequence[Protocol] = PROTOCOLS
    nftables: Expectation | None = None

    @property
    def kind(self) -> tuple[str, str, str]:
        """Return the kind of a case; cases of one kind share a Service."""
        frontend = self.asks if self.asks in _ADDRESSES else "node port"
        return (frontend, self.policy, self.endpoints)

    def __str__(self) -> str:
        endpoints = self.endpoints or "no endpoint"
        return f"{self.client} asks {self.asks} of {endpoints}, {self.policy}: {self.outcome}"


class Seen(NamedTuple):
    """Three answers about one packet, and the answer that the row expects."""

    packet: Answer
    connection: Answer
    oracle: Answer
    outcome: Expectation


class Survey:
    """The answers to a table of cases: `survey[case, family, protocol]`."""

    def __init__(self, lab: ProbedLab, cases: Sequence[Case]) -> None:
        kinds = list(dict.fromkeys(case.kind for case in cases))
        self._numbers = {kind: number for number, kind in enumerate(kinds, 11)}
        lab.apply(obj for kind in kinds for obj in self._objects(lab, kind))
        asked = {
            (case, family, protocol): self._packet(lab, case, family, protocol)
            for case in cases
            for family in case.families
            for protocol in case.protocols
        }
        packets = list(asked.values())
        connections = lab.connect_many(packets)
        oracle = [
            lab.predict(packet.client, packet.address, packet.port, packet.protocol)
            for packet in packets
        ]
        outcomes = [
            _outcome(case, lab, packet) for (case, _, _), packet in zip(asked, packets, strict=True)
        ]
        seen = map(Seen, lab.ask_many(packets), connections, oracle, outcomes)
        self._seen = dict(zip(asked, seen, strict=True))

    def __getitem__(self, key: tuple[Case, Family, Protocol]) -> Seen:
        return self._seen[key]

    def _objects(self, lab: ProbedLab, kind: tuple[str, str, str]) -> list[KubernetesObject]:
        number = self._numbers[kind]
        frontend, policy, endpoints = kind
        spec: dict[str, Any] = {"external_traffic_policy": policy}
        addresses = _ADDRESSES.get(frontend, {})
        own = [f"{prefix}{number}" for prefix in addresses.values()]
        vips: list[str] = []
        match frontend:
            case "cluster IP" | "cluster IP, closed port":
                spec = {"internal_traffic_policy": policy}
            case "external IP":
                spec["external_ips"] = tuple(own)
            case "node port":
                spec["type"] = "NodePort"
            case "VIP" | "VIP with source ranges" | "VIP, closed port":
                spec["type"], vips = "LoadBalancer", own
                if frontend == "VIP with source ranges":
                    spec["load_balancer_source_ranges"] = ADMITTED
        ports = [
            ServicePort(
                name=protocol.lower(),
                protocol=protocol,
                port=PORT,
                target_port=8080,
                node_port=30000 + number if frontend == "node port" else 0,
            )
            for protocol in PROTOCOLS
        ]
        cluster_ips = [f"{prefix}{number}" for prefix in _ADDRESSES["cluster IP"].values()]
        made = service(
            f"service-{number}",
            cluster_ips=cluster_ips,
            ports=ports,
            load_balancer_ips=vips,
            **spec,
        )
        return [made, *slices_for(made, [lab.pods[name] for name in endpoints.split()])]

    def _packet(self, lab: ProbedLab, case: Case, family: Family, protocol: Protocol) -> Packet:
        number = self._numbers[case.kind]
        if case.asks in _ADDRESSES:
            address = f"{_ADDRESSES[case.asks][family]}{number}"
            port = CLOSED_PORT if case.asks.endswith("closed port") else PORT
        elif case.asks == "localhost":
            address, port = _LOOPBACK[family], 30000 + number
        elif case.asks == "gateway":
            address, port = lab.nodes["node-a"].gateways[family], 30000 + number
        else:
            address, port = lab.nodes[case.asks].addresses[family], 30000 + number
        return Packet(client=case.client, address=address, port=port, protocol=protocol)


def _outcome(case: Case, lab: ProbedLab, packet: Packet) -> Expectation:
    others = {"ipvs": case.ipvs, "nftables": case.nftables}
    outcome = others.get(lab.mode or "") or case.outcome
    source = packet.address if outcome.source == "what it asks" else outcome.source
    return replace(outcome, source=source)


def build_lab(factory: LabFactory, mode: Mode) -> ProbedLab:
    return factory(
        nodes=("node-a", "node-b", "node-c"),
        pods={"pod-a": "node-a", "visitor-a": "node-a", "pod-b": "node-b", "visitor-c": "node-c"},
        clients=("outside", "stranger"),
        routes=dict.fromkeys(_ROUTES, "node-a"),
        mode=mode.name,
        options=mode.options,
    )
