"""One setting, measured: every question by a connection and by a traced probe."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_network

from msgspec import Struct

from kproxy.api.types import Service
from kproxy.backend import BackendOptions
from kproxy.explain.facts import Facts
from kproxy.explain.reason import explain
from kproxy.explain.witness import Witness
from kproxy.forwarding.network import Packet
from kproxy.forwarding.plan import Family
from kproxy.kernel.xtables import choose_variant
from kproxy.lab import Lab
from kproxy.lab.names import DNAT
from kproxy.matrix.places import (
    HOSTS,
    OTHER_NODE,
    SERVER_NODE,
    THIRD_NODE,
    Kind,
    Question,
    Target,
    questions,
)
from kproxy.matrix.setting import (
    BALANCERS,
    HOST,
    NODE_PORTS,
    PORT,
    Setting,
    cluster_ip,
    objects,
    spec,
)
from kproxy.probe import Connected, Delivered, Failure, NotConnected, Prober, connect_many
from kproxy.probe.connection import TIMEOUT_S, Connection
from kproxy.probe.http import Fetched, HttpRequest, fetch_many

_CHECK_INTERVAL_S = 0.2


class Cell(Struct, frozen=True, kw_only=True):
    """What was found for one question and protocol.

    `outcome`: success, refused or timeout, of a connection. `source`: the address that the server
    saw (the ingress, if there is one between), and what it is: pod, node, eip, gateway (of the
    server's node, towards its pods), tunnel, client. `at`: the host where it ended, `mechanism` and
    `reason`: why; `way`: what was done to it before. `steady`: the probe met the same fate as the
    connection.
    """

    question: Question
    protocol: str
    asked: str
    outcome: str
    source: str
    source_is: str
    hops: tuple[str, ...]
    at: str
    mechanism: str
    reason: str
    way: tuple[str, ...]
    steady: bool

    @property
    def success(self) -> bool:
        return self.outcome == "success"


_OUTCOMES = {
    Failure.REFUSED: "refused",
    Failure.UNREACHABLE: "refused",
    Failure.TIMED_OUT: "timeout",
}


def measure(
    setting: Setting,
    kinds: Collection[Kind] = tuple(Kind),
    protocols: Sequence[str] = ("TCP", "UDP"),
) -> list[Cell]:
    """Build the lab, ask everything at once, take it down.

    Raises Unsupported if this machine lacks what the setting needs, and what `Lab` raises.
    """
    options = BackendOptions(ipvs_local_fallback=setting.local_fallback)
    lab = Lab(
        spec(setting, kinds), setting.mode, options=options, check_interval_s=_CHECK_INTERVAL_S
    )
    with lab:
        wanted = objects(setting, kinds)
        services = [each for each in wanted if isinstance(each, Service)]
        lab.apply([*wanted, *(each for made in services for each in lab.slices(made))])
        return _ask(lab, setting, kinds, protocols)


def _ask(
    lab: Lab, setting: Setting, kinds: Collection[Kind], protocols: Sequence[str]
) -> list[Cell]:
    asked = [
        (question, protocol)
        for question in questions(kinds)
        for protocol in protocols
        if not (question.kind is Kind.NGINX and protocol == "UDP")
    ]
    packets = [
        Packet(
            client=HOSTS[question.client],
            address=_address(lab, setting, question),
            port=NODE_PORTS[Kind.NODE_PORT] if question.kind is Kind.NODE_PORT else PORT,
            protocol=protocol,
        )
        for question, protocol in asked
    ]
    connections = _connect(lab, asked, packets)
    # Only these decide anything; pods and clients just send and receive.
    deciding = {name: host for name, host in lab.hosts.items() if name not in lab.clients}
    family = Family(setting.family)
    with lab.hosts[SERVER_NODE].namespace.entered():
        variant = choose_variant(family)
    facts, names = Facts(lab.hosts), _names(lab, family)
    cells = []
    with Prober(lab) as prober, Witness(deciding, variant) as witness:
        journeys = prober.follow_many(packets)
        testimony = witness.testify({journey.tag for journey in journeys})
        for (question, protocol), packet, journey, connection in zip(
            asked, packets, journeys, connections, strict=True
        ):
            deeds = testimony.get(journey.tag, [])
            reason = explain(packet, journey, deeds, facts, witness.describe)
            answered = isinstance(journey.outcome, Delivered) and journey.outcome.answered
            source = "" if isinstance(connection, NotConnected) else _seen_source(connection)
            cells.append(
                Cell(
                    question=question,
                    protocol=protocol,
                    asked=f"{packet.address}:{packet.port}",
                    outcome=_outcome(connection),
                    source=source,
                    source_is=names.get(source, ""),
                    hops=journey.outcome.hops,
                    at=reason.at,
                    mechanism=reason.mechanism,
                    reason=reason.text,
                    way=reason.way,
                    steady=answered == (_outcome(connection) == "success"),
                )
            )
    return cells


def _connect(
    lab: Lab, asked: Sequence[tuple[Question, str]], packets: Sequence[Packet]
) -> list[Connection | Fetched]:
    """A connection for each; through the ingress, an HTTP request."""
    by_http = [question.kind is Kind.NGINX for question, _ in asked]
    plain = [packet for packet, http in zip(packets, by_http, strict=True) if not http]
    requests = [
        HttpRequest(client=packet.client, address=packet.address, port=packet.port, host=HOST)
        for packet, http in zip(packets, by_http, strict=True)
        if http
    ]
    with ThreadPoolExecutor(2) as pool:  # they wait for what is dropped at the same time
        fetched = pool.submit(fetch_many, lab, requests, timeout_s=TIMEOUT_S)
        connected = iter(pool.submit(connect_many, lab, plain).result())
        fetched_in_turn = iter(fetched.result())
    return [next(fetched_in_turn) if http else next(connected) for http in by_http]


def _outcome(connection: Connection | Fetched) -> str:
    match connection:
        case NotConnected(how=how):
            return _OUTCOMES[how]
        case Fetched(pod=""):  # the ingress has nobody to ask
            return "refused"
        case _:
            return "success"


def _seen_source(connection: Connected | Fetched) -> str:
    """Where the first one to answer saw the client: the server, or the ingress before it."""
    return connection.forwarded_for if isinstance(connection, Fetched) else connection.source


def _address(lab: Lab, setting: Setting, question: Question) -> str:
    """Of the target, as the client writes it."""
    family = Family(setting.family)
    own = OTHER_NODE  # only clients there are asked for their own node
    match question.target:
        case Target.CLUSTER_IP:
            return cluster_ip(setting, question.kind)
        case Target.SERVER_PRIVATE:
            return lab.nodes[SERVER_NODE].addresses[family]
        case Target.SERVER_PUBLIC:
            return lab.nodes[SERVER_NODE].public[family]
        case Target.OWN_PRIVATE:
            return lab.nodes[own].addresses[family]
        case Target.OWN_PUBLIC:
            return lab.nodes[own].public[family]
        case Target.ANOTHER_PRIVATE:
            return lab.nodes[THIRD_NODE].addresses[family]
        case Target.ANOTHER_PUBLIC:
            return lab.nodes[THIRD_NODE].public[family]
        case Target.LB_PRIVATE:
            return lab.balancers[BALANCERS[question.kind]].addresses[family]
        case Target.LB_PUBLIC:
            return lab.balancers[BALANCERS[question.kind]].public[family]
        case Target.DNAT_PUBLIC:
            return lab.public[DNAT][family]


def _names(lab: Lab, family: Family) -> dict[str, str]:
    """What each address is to the server that sees it as a source."""
    found = {client.addresses[family]: "client" for client in lab.clients.values()}
    for pod in lab.pods.values():
        found[pod.addresses[family]] = "pod"
    for balancer in lab.balancers.values():
        found[balancer.addresses[family]] = "balancer"
    for node in lab.nodes.values():
        found[node.gateways[family]] = "gateway"
        found[str(ip_network(node.subnets[family]).network_address)] = "tunnel"
        found[node.addresses[family]] = "node"
        found[node.public[family]] = "eip"
    return found
