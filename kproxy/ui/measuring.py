"""The matrix of a lab's own Services: who reaches which of their addresses, measured row by row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct

from kproxy.address import Family, family_of, host_port
from kproxy.api.types import Service
from kproxy.forwarding.network import Packet
from kproxy.lab import Lab
from kproxy.lab.names import ROUTER
from kproxy.outcome import Outcome
from kproxy.probe import Finding, Prober, Question, examine, prediction_for

_MOST_PODS = 4  # that ask: one on a node, with and without endpoints, is what differs
_MOST_CLIENTS = 12
_MOST_ROWS = 400
_API = ("default", "kubernetes")
_SYSTEM = "kube-system"


class Row(Struct, frozen=True, kw_only=True):
    """One address of a Service."""

    service: str  # namespace/name
    via: str  # cluster IP, external IP, load balancer, node port
    address: str
    port: int
    protocol: str
    node: str = ""  # of a node port

    @property
    def id(self) -> str:
        return f"{self.service} {host_port(self.address, self.port)} {self.protocol}"


def clients(lab: Lab) -> list[str]:
    """Return who asks: clients outside, a pod of each of some nodes, and the nodes."""
    pods: dict[str, str] = {}
    own = {each.name for each in lab.spec.pods}
    for name, pod in sorted(lab.pods.items(), key=lambda each: (each[0] not in own, each[0])):
        if not pod.spec.host_network and pod.spec.namespace != _SYSTEM:
            pods.setdefault(pod.node, name)
    asking = [pods[node] for node in lab.nodes if node in pods][:_MOST_PODS]
    return [*lab.clients, *asking, *lab.nodes][:_MOST_CLIENTS]


def rows(services: Sequence[Service], nodes: Mapping[str, Sequence[str]]) -> list[Row]:
    """Return all addresses of the Services but those of the cluster itself. SCTP is left out:
    probes are TCP and UDP. `nodes`: the addresses of each.
    """
    found = [
        row
        for service in services
        if service.metadata.namespace != _SYSTEM
        and (service.metadata.namespace, service.metadata.name) != _API
        for row in _rows(service, nodes)
    ]
    return found[:_MOST_ROWS]


def _rows(service: Service, nodes: Mapping[str, Sequence[str]]) -> Iterator[Row]:
    spec, meta = service.spec, service.metadata
    name = f"{meta.namespace}/{meta.name}"
    if spec.cluster_ip in ("", "None") or spec.type == "ExternalName":
        return
    ingress = [each.ip for each in service.status.load_balancer.ingress if each.ip]
    for port in spec.ports:
        if port.protocol == "SCTP":
            continue
        ways = {"cluster IP": spec.cluster_ips, "external IP": spec.external_ips}
        for via, addresses in (ways | {"load balancer": tuple(ingress)}).items():
            for address in addresses:
                yield Row(
                    service=name, via=via, address=address, port=port.port, protocol=port.protocol
                )
        if not port.node_port:
            continue
        families = {family_of(each) for each in spec.cluster_ips}
        for node, its_addresses in nodes.items():
            for address in its_addresses:
                if family_of(address) in families:
                    yield Row(
                        service=name,
                        via="node port",
                        address=address,
                        port=port.node_port,
                        protocol=port.protocol,
                        node=node,
                    )


def measure(lab: Lab) -> Iterator[dict[str, Any]]:
    """Yield JSON values: first what will be asked, `{"rows", "clients"}`, then the cells of each
    row, `{"row", "cells"}`, as they are measured.

    A client outside that the router refuses gets one such answer for all: Linux tells each client
    once a second that there is no route, so asking for each takes seconds (`examine`). In networks
    that the oracle does not know, nothing is predicted, and what is lost takes longer.
    """
    lab.catch_up()
    nodes = {
        name: [*node.addresses.values(), *node.public.values()] for name, node in lab.nodes.items()
    }
    wanted, askers = rows(lab.objects(Service), nodes), clients(lab)
    yield {
        "rows": [
            {
                "id": row.id,
                "service": row.service,
                "via": row.via,
                "address": row.address,
                "port": row.port,
                "protocol": row.protocol,
                "node": row.node,
            }
            for row in wanted
        ],
        "clients": askers,
    }
    refused: dict[tuple[str, Family], dict[str, Any]] = {}
    with Prober(lab) as prober:
        for row in wanted:
            yield {"row": row.id, "cells": _measured(lab, prober, row, askers, refused)}


def _measured(
    lab: Lab,
    prober: Prober,
    row: Row,
    askers: Sequence[str],
    refused: dict[tuple[str, Family], dict[str, Any]],
) -> dict[str, Any]:
    family = family_of(row.address)
    cells: dict[str, Any] = {}
    asked: list[tuple[Question, bool]] = []
    for client in askers:
        packet = Packet(client=client, address=row.address, port=row.port, protocol=row.protocol)
        predicted = prediction_for(lab, packet)
        routeless = bool(
            predicted and predicted.outcome is Outcome.REFUSED and predicted.at == ROUTER
        )
        if routeless and (client, family) in refused:
            cells[client] = refused[client, family] | {"copied": True}
        elif client in lab.hosts:  # a pod may have ended meanwhile
            asked.append((Question(check=row.via, packet=packet), routeless))
    for (question, routeless), finding in zip(
        asked, examine(lab, prober, [each for each, _ in asked]), strict=True
    ):
        client = question.packet.client
        cells[client] = _cell(finding)
        if routeless:
            refused[client, family] = cells[client]
    return cells


def _cell(finding: Finding) -> dict[str, Any]:
    answered = finding.answered
    if answered.startswith("refused"):
        state = "refused"
    elif answered.startswith("dropped") or answered.endswith("unheard"):
        state = "lost"
    else:
        state = "answered"
    return {
        "state": state,
        "answered": answered,
        "source": finding.source,
        "why": finding.why,
        "expected": finding.expected,
        "problems": [*finding.problems],
    }
