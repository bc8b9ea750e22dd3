"""The questions that are asked of every service port: who asks which address. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain

from msgspec import Struct

from kproxy.address import Family, host_port
from kproxy.forwarding.network import Packet
from kproxy.forwarding.plan import FrontendKind, Plan, ServicePlan, ServicePortName
from kproxy.upgrade.model import ALLOWED, OUTSIDE, Model

_LOOPBACK = {Family.IPV4: "127.0.0.1", Family.IPV6: "::1"}


class Question(Struct, frozen=True, kw_only=True):
    """One packet, and in words who sends it and what it asks."""

    service: ServicePortName
    family: Family
    client: str
    asks: str
    packet: Packet


def questions(
    model: Model, plans: Mapping[str, Plan], name: ServicePortName, *, two_nodes: bool = False
) -> list[Question]:
    """Return the questions about one service port in one family; `plans` by node.

    The clients are pods and processes of a node with an endpoint and of one without, an endpoint of
    its own, and the two clients outside. The same question is asked once. With `two_nodes` a second
    node is chosen also if all have an endpoint, or none.
    """
    nodes = list(plans)
    service = next((plan.services[name] for plan in plans.values() if name in plan.services), None)
    if service is None:
        return []
    of_nodes = {endpoint.node for endpoint in service.cluster + service.reachable}
    having = next((node for node in nodes if node in of_nodes), None)
    lacking = next((node for node in nodes if node not in of_nodes), None)
    chosen = [node for node in (having, lacking) if node]
    if two_nodes:
        chosen = [*dict.fromkeys((*chosen, *nodes))][:2]
    targets = list(_targets(model, plans, service, chosen))
    found: dict[tuple[str, str, int], Question] = {}
    for client, words in _clients(model, service, chosen):
        for address, port, asks in targets:
            if address == _LOOPBACK[service.family] and client not in chosen:
                continue
            packet = Packet(client=client, address=address, port=port, protocol=name.protocol)
            found.setdefault(
                (client, address, port),
                Question(
                    service=name, family=service.family, client=words, asks=asks, packet=packet
                ),
            )
    return list(found.values())


def _clients(model: Model, service: ServicePlan, chosen: list[str]) -> Iterator[tuple[str, str]]:
    """Yield hosts that ask, each with what it is."""
    for node in chosen:
        yield model.visitors[node], f"a pod on {model.names[node]}"
        yield node, f"a process on {model.names[node]}"
    pods = {
        address: pod.name
        for pod in model.inventory.pods.values()
        for address in pod.addresses.values()
        if not pod.spec.host_network
    }
    endpoint = next((pods[each.address] for each in service.cluster if each.address in pods), None)
    if endpoint:
        yield endpoint, f"its endpoint {model.names[endpoint]}"
    yield OUTSIDE, "a client outside"
    if any(frontend.source_ranges for frontend in service.frontends):
        yield ALLOWED, "an allowed client outside"


def _targets(
    model: Model, plans: Mapping[str, Plan], service: ServicePlan, chosen: list[str]
) -> Iterator[tuple[str, int, str]]:
    """Yield address, port and what they are."""
    ports = _ports_by_address(plans)
    for frontend in service.frontends:
        if frontend.kind is FrontendKind.NODE_PORT:
            for node in chosen:
                own = model.inventory.nodes[node]
                named = model.names[node]
                yield own.addresses[service.family], frontend.port, f"node port of {named}"
            first = model.inventory.nodes[chosen[0]]
            named = model.names[chosen[0]]
            gateway = first.gateways[service.family]
            yield gateway, frontend.port, f"node port of another address of {named}"
            loopback = _LOOPBACK[service.family]
            yield loopback, frontend.port, f"node port on {loopback}"
            continue
        word = _WORDS[frontend.kind]
        yield frontend.address, frontend.port, word
        taken = ports[frontend.address]
        candidates = chain(range(frontend.port + 1, 65536), range(1, frontend.port))
        other = next(port for port in candidates if port not in taken)
        yield frontend.address, other, f"another port of its {word}"


_WORDS = {
    FrontendKind.CLUSTER_IP: "cluster IP",
    FrontendKind.EXTERNAL_IP: "external IP",
    FrontendKind.LOAD_BALANCER: "load balancer IP",
}


def _ports_by_address(plans: Mapping[str, Plan]) -> dict[str, set[int]]:
    """Return all ports of Services by address."""
    found: dict[str, set[int]] = {}
    for service in next(iter(plans.values())).services.values():
        for frontend in service.frontends:
            found.setdefault(frontend.address, set()).add(frontend.port)
    return found


def place(question: Question) -> str:
    """Return the address that is asked, as `ADDRESS:PORT/PROTOCOL`."""
    packet = question.packet
    return f"{host_port(packet.address, packet.port)}/{packet.protocol}"
