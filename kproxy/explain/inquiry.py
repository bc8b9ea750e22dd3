"""Questions to a running lab: by a connection, for what comes of it, and by a probe, for why."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from ipaddress import ip_network
from typing import Self

from kproxy.address import Family
from kproxy.explain.facts import Facts
from kproxy.explain.reason import Mechanism, Reason, explain
from kproxy.explain.witness import Witness
from kproxy.forwarding.network import Packet
from kproxy.kernel.xtables import choose_variant
from kproxy.lab import Lab
from kproxy.lab.layout import second_addresses
from kproxy.probe import Connected, Delivered, Failure, NotConnected, Prober, connect_many
from kproxy.probe.connection import TIMEOUT_S, Connection
from kproxy.probe.http import Fetched, HttpRequest, fetch_many

SUCCESS, REFUSED, TIMEOUT = "success", "refused", "timeout"
_OUTCOMES = {
    Failure.REFUSED: REFUSED,
    Failure.UNREACHABLE: REFUSED,
    Failure.TIMED_OUT: TIMEOUT,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Inquiry:
    """The packet that begins it. `host`: ask in HTTP for that host, as an ingress wants it."""

    packet: Packet
    host: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came of an inquiry.

    `outcome` of the connection: success, refused or timeout. `pod`: who answered, and `source`: the
    address that the first one to answer saw (the server, or the ingress before it); "" if none did.
    `hops` and `reason` of the probe; `steady`: it met the same fate as the connection.
    """

    outcome: str
    pod: str
    source: str
    hops: tuple[str, ...]
    reason: Reason
    steady: bool


@dataclass(frozen=True, slots=True)
class Source:
    """What an address is to the server that sees it, and whose it is.

    `kind`: pod, node, eip (a node's public one), gateway (a node's towards its pods), tunnel (that
    of its VXLAN device), second (that of its second interface), balancer or client.
    """

    kind: str
    owner: str

    def __str__(self) -> str:
        own = self.kind in ("pod", "node", "client", "balancer")
        return self.owner if own else f"{self.kind} of {self.owner}"


class Inquirer:
    """Asks questions of one lab, batch by batch. A context manager; not thread-safe.

    Taps and traces stay open between batches: to open them takes longer than to ask.
    """

    def __init__(self, lab: Lab, family: Family) -> None:
        """`family`: of every inquiry."""
        self._lab, self._family = lab, family
        self._open = ExitStack()
        self._watching: tuple[Prober, Witness] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def ask(self, inquiries: Sequence[Inquiry]) -> list[Answer]:
        """All at once; answers in their order. Raises Unsupported if this kernel cannot trace."""
        connections = _connect(self._lab, inquiries)
        prober, witness = self._watch()
        journeys = prober.follow_many([inquiry.packet for inquiry in inquiries])
        testimony = witness.testify({journey.tag for journey in journeys})
        facts = Facts(self._lab.hosts)
        answers = []
        for inquiry, journey, connection in zip(inquiries, journeys, connections, strict=True):
            packet, deeds = inquiry.packet, testimony.get(journey.tag, [])
            outcome, way = _outcome(connection), journey.outcome
            arrived = isinstance(way, Delivered) and way.answered
            reason = explain(packet, journey, deeds, facts, witness.describe)
            if inquiry.host and arrived and outcome != SUCCESS:
                arrived, reason = False, _ingress_alone(reason)
            answers.append(
                Answer(
                    outcome=outcome,
                    pod="" if isinstance(connection, NotConnected) else connection.pod,
                    source=_seen_source(connection),
                    hops=way.hops,
                    reason=reason,
                    steady=arrived == (outcome == SUCCESS),
                )
            )
        return answers

    def _watch(self) -> tuple[Prober, Witness]:
        """From the first probe on: a trace of many connections would be long, and tell nothing."""
        if self._watching is None:
            lab = self._lab
            with next(iter(lab.nodes.values())).namespace.entered():
                variant = choose_variant(self._family)
            # Only these decide anything; pods and clients have no rules, they send and receive.
            deciding = {
                name: host
                for name, host in lab.hosts.items()
                if name not in lab.clients and name not in lab.pods
            }
            prober = self._open.enter_context(Prober(lab))
            self._watching = prober, self._open.enter_context(Witness(deciding, variant))
        return self._watching


def sources(lab: Lab, family: Family) -> dict[str, Source]:
    """By address, those that a server may see."""
    found = {each.addresses[family]: Source("client", each.name) for each in lab.clients.values()}
    for pod in lab.pods.values():
        found[pod.addresses[family]] = Source("pod", pod.name)
    for balancer in lab.balancers.values():
        found[balancer.addresses[family]] = Source("balancer", balancer.name)
    for node in lab.nodes.values():
        found[node.gateways[family]] = Source("gateway", node.name)
        tunnel = str(ip_network(node.subnets[family]).network_address)
        found[tunnel] = Source("tunnel", node.name)
        second, _ = second_addresses(node.subnets[family])
        found[second] = Source("second", node.name)
        found[node.addresses[family]] = Source("node", node.name)
        if family in node.public:
            found[node.public[family]] = Source("eip", node.name)
    return found


def _connect(lab: Lab, inquiries: Sequence[Inquiry]) -> list[Connection | Fetched]:
    plain = [inquiry.packet for inquiry in inquiries if not inquiry.host]
    requests = [
        HttpRequest(
            client=inquiry.packet.client,
            address=inquiry.packet.address,
            port=inquiry.packet.port,
            host=inquiry.host,
        )
        for inquiry in inquiries
        if inquiry.host
    ]
    with ThreadPoolExecutor(2) as pool:  # they wait for what is dropped at the same time
        fetched = pool.submit(fetch_many, lab, requests, timeout_s=TIMEOUT_S)
        connected = iter(pool.submit(connect_many, lab, plain).result())
        fetched_in_turn = iter(fetched.result())
    return [next(fetched_in_turn) if each.host else next(connected) for each in inquiries]


def _outcome(connection: Connection | Fetched) -> str:
    match connection:
        case NotConnected(how=how):
            return _OUTCOMES[how]
        case Fetched(status=504):  # the ingress gave up sooner than the client
            return TIMEOUT
        case Fetched(pod=""):  # the ingress has nobody to ask
            return REFUSED
        case _:
            return SUCCESS


def _ingress_alone(reason: Reason) -> Reason:
    """Of a request that an ingress took, as it takes all, and could not have served in time."""
    text = f"{reason.at} takes it, but gets no answer from the Service behind it"
    return replace(reason, mechanism=Mechanism.UNSERVED, text=text)


def _seen_source(connection: Connection | Fetched) -> str:
    match connection:
        case Connected(source=source) | Fetched(forwarded_for=source):
            return source
        case _:
            return ""
