"""Measures one setting: every question by a connection and by a traced probe."""

from __future__ import annotations

from collections.abc import Collection, Generator, Sequence
from typing import NamedTuple

from msgspec import Struct

from kproxy.address import Family, host_port
from kproxy.api.types import Service
from kproxy.backend import BackendOptions
from kproxy.explain.explainer import Explainer, Explanation, Request
from kproxy.explain.reason import Reason
from kproxy.explain.sources import sources
from kproxy.forwarding.network import Packet
from kproxy.lab import Lab
from kproxy.lab.names import DNAT
from kproxy.lab.other_proxies import OtherProxies
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
from kproxy.matrix.setting import options as options_of
from kproxy.outcome import Connection, Outcome


class Cell(Struct, frozen=True, kw_only=True):
    """The result for one question and protocol."""

    question: Question
    protocol: str
    asked: str
    source_is: str
    """The kind of source that the server saw: pod, node, eip, gateway (the server node's, towards
    its pods), tunnel, second, client; "" if it saw none.
    """
    explanation: Explanation

    @property
    def connection(self) -> Connection:
        return self.explanation.connection

    @property
    def reason(self) -> Reason:
        return self.explanation.reason

    @property
    def ending(self) -> tuple[Outcome, str]:
        """Return the part in which equal cells agree: the outcome, and the kind of source."""
        return self.connection.outcome, self.source_is


def measure(
    setting: Setting,
    kinds: Collection[Kind] = tuple(Kind),
    protocols: Sequence[str] = ("TCP", "UDP"),
    *,
    others: OtherProxies | None = None,
) -> list[Cell]:
    """Build the lab, ask all questions at once, remove it. With `others`, these proxies run on the
    nodes.

    Raises Unsupported if this machine lacks what the setting needs, and what `Lab` raises.
    """
    return measure_alike([setting], kinds, protocols, others=others)[setting]


def measure_alike(
    settings: Sequence[Setting],
    kinds: Collection[Kind] = tuple(Kind),
    protocols: Sequence[str] = ("TCP", "UDP"),
    *,
    others: OtherProxies | None = None,
) -> dict[Setting, list[Cell]]:
    """Measure settings that differ in nothing but options of the proxies, one after the other in
    one lab; with `others`, which have no such options, only one. Raises like `measure`.
    """
    return {
        each.setting: each.cells
        for each in measured_labs(settings, kinds, protocols, others=others)
    }


class MeasuredLab(NamedTuple):
    """A lab as it was measured, with the explainer that has asked."""

    setting: Setting
    lab: Lab
    options: BackendOptions
    explainer: Explainer
    cells: list[Cell]


def measured_labs(
    settings: Sequence[Setting],
    kinds: Collection[Kind] = tuple(Kind),
    protocols: Sequence[str] = ("TCP", "UDP"),
    *,
    options: BackendOptions | None = None,
    others: OtherProxies | None = None,
) -> Generator[MeasuredLab]:
    """Yield what `measure_alike` measures, each setting while the lab has it. Raises like it.

    `options`: of the proxies, instead of what the settings say.
    """
    first, *more = settings
    given = options or _options(first)
    with Lab(spec(first, kinds), first.mode, options=given, others=others) as lab:
        wanted = objects(first, kinds)
        services = [each for each in wanted if isinstance(each, Service)]
        lab.apply([*wanted, *(each for made in services for each in lab.slices(made))])
        with Explainer(lab, Family(first.family)) as explainer:
            cells = _ask(lab, explainer, first, kinds, protocols)
            yield MeasuredLab(first, lab, given, explainer, cells)
            for setting in more:
                given = options or _options(setting)
                lab.restart_proxies(given)
                cells = _ask(lab, explainer, setting, kinds, protocols)
                yield MeasuredLab(setting, lab, given, explainer, cells)


def _options(setting: Setting) -> BackendOptions:
    family = Family(setting.family)
    return options_of(setting.mode, family, local_fallback=setting.local_fallback)


def _ask(
    lab: Lab,
    explainer: Explainer,
    setting: Setting,
    kinds: Collection[Kind],
    protocols: Sequence[str],
) -> list[Cell]:
    asked = [
        (question, protocol)
        for question in questions(kinds)
        for protocol in protocols
        if not (question.kind is Kind.NGINX and protocol == "UDP")
    ]
    requests = [
        Request(
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
    known = sources(lab, Family(setting.family))
    return [
        Cell(
            question=question,
            protocol=protocol,
            asked=host_port(request.packet.address, request.packet.port),
            source_is=known[source].kind if (source := each.connection.source) in known else "",
            explanation=each,
        )
        for (question, protocol), request, each in zip(
            asked, requests, explainer.ask(requests), strict=True
        )
    ]


def _address(lab: Lab, setting: Setting, question: Question) -> str:
    """Return the address of the target, as the client uses it."""
    family = Family(setting.family)
    own = OTHER_NODE  # only clients there are asked to reach their own node
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
