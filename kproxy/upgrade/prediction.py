"""The answers to the questions about every service port, as the oracle predicts them. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Self

from msgspec import Struct
from msgspec.structs import replace

from kproxy.address import Family
from kproxy.api.types import Node
from kproxy.backend import rules_of
from kproxy.config import node_settings
from kproxy.forwarding.network import HostKind, Network
from kproxy.forwarding.oracle import predict, with_bound_addresses
from kproxy.forwarding.plan import Plan, ServicePortName
from kproxy.forwarding.rules import Rules
from kproxy.lab.objects import node_object
from kproxy.lab.proxies import node_config
from kproxy.outcome import Prediction
from kproxy.store import Store
from kproxy.upgrade.model import Model
from kproxy.upgrade.questions import Question, questions
from kproxy.upgrade.rules import planned
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


def plans_of(model: Model, side: Configured, like: Plans | None = None) -> Plans:
    """Return the plan of each of the model's nodes, by family. `like`: those of another side, which
    may be the same but for the version.

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
            known = like[family][node.name] if like else None
            found[family][node.name] = planned(store, settings[family], known)
    return found


def differences(
    model: Model, before: Configured, after: Configured
) -> tuple[list[Difference], int]:
    """Return the questions whose answers differ, and how many were asked.

    Raises BadInput, and NoOracle if a mode has no rules for the oracle.
    """
    of_before = plans_of(model, before)
    sides = [(before, of_before), (after, plans_of(model, after, of_before))]
    same = before.mode.name == after.mode.name and _but_for_version(*(each for _, each in sides))
    found = []
    asked = 0
    for family in model.spec.families:
        first = of_before[family]
        neighbours = Neighbours(next(iter(first.values())))
        for name in next(iter(first.values())).services:
            near = neighbours.of(name)
            wanted = questions(model, only_near(first, near), name)
            asked += len(wanted)
            if same:  # the oracle sees no more than mode and plans
                continue
            places = [Neighbourhood.of(model, each, plans[family], near) for each, plans in sides]
            for question in wanted:
                one, other = (place.answer(question) for place in places)
                if one.seen != other.seen:
                    found.append(Difference(question=question, before=one, after=other))
    return found, asked


def _but_for_version(before: Plans, after: Plans) -> bool:
    """Tell whether the plans are equal, whatever the version."""
    return all(
        replace(plan.settings, emulate=other.settings.emulate) == other.settings
        and plan.services == other.services
        for family, of_nodes in before.items()
        for plan, other in zip(of_nodes.values(), after[family].values(), strict=True)
    )


class Neighbourhood(Struct, frozen=True):
    """All that matters to a few service ports on one side: small, for many questions."""

    model: Model
    network: Network
    plans: Mapping[str, Plan]
    rules: Rules

    @classmethod
    def of(
        cls,
        model: Model,
        side: Configured,
        plans: Mapping[str, Plan],
        near: Collection[ServicePortName],
    ) -> Self:
        """Return that of the named service ports. `plans` by node, of one family."""
        small = only_near(plans, near)
        rules = rules_of(side.mode.name)
        endpoints = {
            endpoint.address
            for plan in small.values()
            for service in plan.services.values()
            for endpoint in (*service.reachable, *service.cached_local)
        }
        askers = {*model.visitors.values()}
        hosts = {
            name: host
            for name, host in model.network.hosts.items()
            if host.kind is not HostKind.POD or name in askers or endpoints & {*host.addresses}
        }
        network = with_bound_addresses(replace(model.network, hosts=hosts), small, rules)
        return cls(model, network, small, rules)

    def answer(self, question: Question) -> Answer:
        return in_words(self.model, self.predict(question))

    def predict(self, question: Question) -> Prediction:
        return predict(self.network, self.plans, question.packet, self.rules)


def only_near(plans: Mapping[str, Plan], near: Collection[ServicePortName]) -> dict[str, Plan]:
    return {node: only(plan, near) for node, plan in plans.items()}


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


def only(plan: Plan, names: Collection[ServicePortName]) -> Plan:
    services = {name: plan.services[name] for name in names if name in plan.services}
    return replace(plan, services=dict(sorted(services.items())))
