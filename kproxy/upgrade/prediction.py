"""The answers to the questions about every service port, as the oracle predicts them. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct
from msgspec.structs import replace

from kproxy.address import Family
from kproxy.api.types import Node
from kproxy.backend import rules_of
from kproxy.config import node_settings
from kproxy.forwarding.oracle import predict
from kproxy.forwarding.plan import Plan, ServicePortName
from kproxy.forwarding.planner import Planner
from kproxy.lab.objects import node_object
from kproxy.lab.proxies import node_config
from kproxy.outcome import Prediction
from kproxy.store import Store
from kproxy.upgrade.model import Model
from kproxy.upgrade.questions import Question, questions
from kproxy.upgrade.side import Configured

Plans = Mapping[Family, Mapping[str, Plan]]  # by node


class Answer(Struct, frozen=True, kw_only=True):
    """The predicted answer to a question on one side.

    `outcome`: delivered, refused or dropped. `pods`: those that may answer, each with the source
    that it sees, in words. `why`: a sentence.
    """

    outcome: str
    pods: tuple[str, ...] = ()
    why: str = ""

    @property
    def seen(self) -> tuple[str, tuple[str, ...]]:
        """Return what a client or a pod can tell."""
        return self.outcome, self.pods

    def __str__(self) -> str:
        return f"{self.outcome}: {', '.join(self.pods)}" if self.pods else self.outcome


class Difference(Struct, frozen=True, kw_only=True):
    """A question with another answer on each side."""

    question: Question
    before: Answer
    after: Answer


def plans_of(model: Model, side: Configured) -> Plans:
    """Return the plan of each of the model's nodes, by family.

    Raises BadInput if the configuration cannot be used on them.
    """
    store = Store()
    nodes = [node_object(node) for node in model.inventory.nodes.values()]
    store.replace([*model.objects, *nodes])
    found: dict[Family, dict[str, Plan]] = {family: {} for family in model.spec.families}
    for node, described in zip(model.inventory.nodes.values(), nodes, strict=True):
        config = node_config(model.spec, node, side.mode, model.config(side.config))
        settings = node_settings(
            config,
            described if isinstance(described, Node) else None,
            store.service_cidrs(),
            mode=side.mode.config,
            options=side.options,
        )
        for family in model.spec.families:
            planner = Planner(settings[family])
            planner.replan(store)
            found[family][node.name] = planner.plan
    return found


def differences(
    model: Model, before: Configured, after: Configured
) -> tuple[list[Difference], int]:
    """Return the questions whose answers differ, and how many were asked.

    Raises BadInput, and NoOracle if a mode has no rules for the oracle.
    """
    sides = [(each, plans_of(model, each)) for each in (before, after)]
    found = []
    asked = 0
    for family in model.spec.families:
        first = sides[0][1][family]
        neighbours = Neighbours(next(iter(first.values())))
        for name in next(iter(first.values())).services:
            near = neighbours.of(name)
            small = [
                (each, {node: only(plan, near) for node, plan in plans[family].items()})
                for each, plans in sides
            ]
            for question in questions(model, small[0][1], name):
                one, other = (answer(model, each, plans, question) for each, plans in small)
                asked += 1
                if one.seen != other.seen:
                    found.append(Difference(question=question, before=one, after=other))
    return found, asked


def answer(model: Model, side: Configured, plans: Mapping[str, Plan], question: Question) -> Answer:
    """Return the predicted answer. `plans` by node, of the question's family."""
    return in_words(model, prediction(model, side, plans, question))


def prediction(
    model: Model, side: Configured, plans: Mapping[str, Plan], question: Question
) -> Prediction:
    """Return the oracle's prediction. `plans` by node, of the question's family."""
    return predict(model.network, plans, question.packet, rules_of(side.mode.name))


def in_words(model: Model, found: Prediction) -> Answer:
    pods = tuple(
        f"{model.name(pod)} sees {model.name(model.hosts.get(source, source))}"
        + (", whose answer is lost" if pod in found.unanswered else "")
        for pod, source in sorted(found.sources.items())
    )
    failing = tuple(
        f"{_endpoint(model, place)} {outcome}" for place, outcome in sorted(found.failing.items())
    )
    return Answer(outcome=str(found.outcome), pods=(*pods, *failing), why=found.why)


def _endpoint(model: Model, place: str) -> str:
    """Return an endpoint `ADDRESS:PORT` of the lab by the address that it stands for."""
    address, _, _ = place.rpartition(":")
    return model.name(model.hosts.get(address.strip("[]"), address))


class Neighbours:
    """The service ports that can matter to a packet for another one: those that share an address
    or a node port with it, so that an answer costs the same however many others there are.
    """

    def __init__(self, plan: Plan) -> None:
        self._by_place: dict[str, list[ServicePortName]] = {}
        self._places: dict[ServicePortName, set[str]] = {}
        for name, service in plan.services.items():
            places = {each.address or _node_port(each.port) for each in service.frontends}
            for place in places:
                self._by_place.setdefault(place, []).append(name)
            # In ipvs mode a node port counts whatever the address.
            self._places[name] = places | {_node_port(each.port) for each in service.frontends}

    def of(self, name: ServicePortName) -> set[ServicePortName]:
        return {other for place in self._places[name] for other in self._by_place.get(place, ())}


def _node_port(number: int) -> str:
    return f"node port {number}"


def only(plan: Plan, names: set[ServicePortName]) -> Plan:
    services = {name: plan.services[name] for name in plan.services.keys() & names}
    return replace(plan, services=dict(sorted(services.items())))
