"""One setting, measured: every question by a connection and by a traced probe."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from msgspec import Struct

from kproxy.address import Family, host_port
from kproxy.api.types import Service
from kproxy.backend import load
from kproxy.explain.inquiry import SUCCESS, Inquirer, Inquiry, sources
from kproxy.forwarding.network import Packet
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


class Cell(Struct, frozen=True, kw_only=True):
    """What was found for one question and protocol.

    `outcome`: success, refused or timeout, of a connection. `source`: the address that the server
    saw (the ingress, if there is one between), and what it is: pod, node, eip, gateway (of the
    server's node, towards its pods), tunnel, second, client. `at`: the host where it ended,
    `mechanism` and `reason`: why; `way`: what was done to it before. `steady`: the probe met the
    same fate as the connection.
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
        return self.outcome == SUCCESS


def measure(
    setting: Setting,
    kinds: Collection[Kind] = tuple(Kind),
    protocols: Sequence[str] = ("TCP", "UDP"),
) -> list[Cell]:
    """Build the lab, ask everything at once, take it down.

    Raises Unsupported if this machine lacks what the setting needs, and what `Lab` raises.
    """
    options = load(setting.mode).options_with(ipvs_local_fallback=setting.local_fallback)
    lab = Lab(spec(setting, kinds), setting.mode, options=options)
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
    inquiries = [
        Inquiry(
            packet=Packet(
                client=HOSTS[question.client],
                address=_address(lab, setting, question),
                port=NODE_PORTS[Kind.NODE_PORT] if question.kind is Kind.NODE_PORT else PORT,
                protocol=protocol,
            ),
            host=HOST if question.kind is Kind.NGINX else "",
        )
        for question, protocol in asked
    ]
    family = Family(setting.family)
    known = sources(lab, family)
    with Inquirer(lab, family) as inquirer:
        answers = inquirer.ask(inquiries)
    return [
        Cell(
            question=question,
            protocol=protocol,
            asked=host_port(inquiry.packet.address, inquiry.packet.port),
            outcome=answer.outcome,
            source=answer.source,
            source_is=known[answer.source].kind if answer.source in known else "",
            hops=answer.hops,
            at=answer.reason.at,
            mechanism=answer.reason.mechanism,
            reason=answer.reason.text,
            way=answer.reason.way,
            steady=answer.steady,
        )
        for (question, protocol), inquiry, answer in zip(asked, inquiries, answers, strict=True)
    ]


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
