"""The addresses of a Service and the clients that ask them, chosen to show its behaviour. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from kproxy.address import Family, family_of
from kproxy.api.types import EndpointSlice, Service, ServicePort
from kproxy.forwarding.network import Packet
from kproxy.probe.checks import Question

CLUSTER_IP, EXTERNAL_IP = "cluster IP", "external IP"
NODE_PORT, LOAD_BALANCER = "node port", "load balancer"
POD_ADDRESS = "pod address"
_MOST_PODS = 4  # of a headless Service


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """The clients that can ask. `nodes`: their addresses, in order of name."""

    pod: str
    client: str
    nodes: Mapping[str, Mapping[Family, str]]


def questions(
    service: Service, slices: Sequence[EndpointSlice], places: Places
) -> Iterator[Question]:
    """Yield all questions about the first port and first family, and for the others only those
    with other answers.
    """
    spec = service.spec
    if spec.type == "ExternalName":
        return
    if spec.cluster_ip == "None":
        yield from _to_pods(slices, places)
        return
    near, far = _near_and_far(slices, places)
    for i, address in enumerate(spec.cluster_ips):
        family = family_of(address)
        for j, port in enumerate(spec.ports):
            nodes = [] if i or j else [near, far] if _is_local(service) else [far]
            askers = [places.pod, *dict.fromkeys(nodes), *([] if i or j else [places.client])]
            for asker in askers:
                yield _question(CLUSTER_IP, asker, address, port)
            externals: dict[str, list[str]] = {
                EXTERNAL_IP: list(spec.external_ips),
                LOAD_BALANCER: [each.ip for each in service.status.load_balancer.ingress],
            }
            for check, externally in externals.items():
                for external in externally:
                    if external and family_of(external) is family:
                        for asker in [places.client, *([] if i or j else [places.pod, far])]:
                            yield _question(check, asker, external, port)
            if port.node_port:
                for node in dict.fromkeys([near] if i or j else [near, far]):
                    yield _to_node(places.client, places.nodes[node][family], port)
                if not i and not j:
                    yield _to_node(places.pod, places.nodes[far][family], port)


def _to_pods(slices: Sequence[EndpointSlice], places: Places) -> Iterator[Question]:
    found = [
        (address, port)
        for each in slices
        for endpoint in each.endpoints
        for address in endpoint.addresses
        for port in each.ports
        if port.port
    ]
    for address, port in found[:_MOST_PODS]:
        packet = Packet(
            client=places.pod, address=address, port=port.port or 0, protocol=port.protocol
        )
        yield Question(check=POD_ADDRESS, packet=packet)


def _near_and_far(slices: Sequence[EndpointSlice], places: Places) -> tuple[str, str]:
    """Return a node with an endpoint and one without; the same if there is only one kind."""
    with_endpoint = {
        endpoint.node_name
        for each in slices
        for endpoint in each.endpoints
        if endpoint.conditions.ready is not False
    }
    nodes = list(places.nodes)
    near = next((node for node in nodes if node in with_endpoint), nodes[0])
    far = next((node for node in nodes if node not in with_endpoint), near)
    return near, far


def _is_local(service: Service) -> bool:
    return service.spec.internal_traffic_policy == "Local"


def _question(check: str, asker: str, address: str, port: ServicePort) -> Question:
    packet = Packet(client=asker, address=address, port=port.port, protocol=port.protocol)
    return Question(check=check, packet=packet)


def _to_node(asker: str, address: str, port: ServicePort) -> Question:
    packet = Packet(client=asker, address=address, port=port.node_port, protocol=port.protocol)
    return Question(check=NODE_PORT, packet=packet)
