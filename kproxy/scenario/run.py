"""Runs a scenario in a lab: its questions, and then those of each remedy."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Self

from kproxy.address import Family
from kproxy.api.types import KubernetesObject, Service
from kproxy.backend import load
from kproxy.explain.explainer import Explainer, Explanation, Request
from kproxy.explain.sources import sources
from kproxy.forwarding.network import Packet
from kproxy.lab import Lab
from kproxy.outcome import Expectation
from kproxy.scenario.files import Scenario, cluster_ip
from kproxy.scenario.form import Attached, Question, Remedy, Target
from kproxy.store import SERVICE_NAME_LABEL
from kproxy.versions import Version


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A question and its outcome. `source`: the name of the address that the server saw."""

    question: Question
    expected: Expectation
    address: str
    explanation: Explanation
    source: str

    @property
    def ok(self) -> bool:
        return (
            self.explanation.connection.outcome is self.expected.outcome
            and self.expected.source in ("", self.source)
            and self.explanation.steady
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Backends:
    """The backends that a load balancer must have, and those that it has."""

    expected: Attached
    found: tuple[str, ...]

    @property
    def ok(self) -> bool:
        return sorted(self.found) == sorted(self.expected.backends)


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """The questions asked with one remedy. `remedy` None: without any."""

    remedy: Remedy | None
    asked: tuple[Asked, ...]
    attached: tuple[Backends, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    scenario: Scenario
    mode: str
    network: str
    rounds: tuple[Round, ...]

    @property
    def expected(self) -> int:
        """Return the number of all expectations."""
        return sum(len(each.asked) + len(each.attached) for each in self.rounds)

    @property
    def as_expected(self) -> int:
        return sum(
            sum(asked.ok for asked in each.asked) + sum(found.ok for found in each.attached)
            for each in self.rounds
        )


class ScenarioLab:
    """A lab, and the explainer that asks its questions. A context manager.

    It can be shared by all scenarios whose lab and settings are equal.
    """

    def __init__(
        self, scenario: Scenario, mode: str, network: str, emulate: Version | None = None
    ) -> None:
        """Check the arguments; entering the block builds the lab. Raises BadInput."""
        self.mode, self.network = mode, network
        self.lab = Lab(
            replace(scenario.spec, network=network, emulate=emulate or scenario.spec.emulate),
            mode,
            options=load(mode).options_with(ipvs_local_fallback=scenario.form.ipvs_local_fallback),
        )
        self._open = ExitStack()

    def __enter__(self) -> Self:
        """Build the lab. Raises what entering a `Lab` raises."""
        with ExitStack() as undo:
            undo.enter_context(self.lab)
            self.explainer = undo.enter_context(Explainer(self.lab, self.lab.spec.families[0]))
            self._open = undo.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()


def run(
    scenario: Scenario, running: ScenarioLab, *, tell: Callable[[str], None] = lambda _: None
) -> Run:
    """Ask, then apply each remedy by itself and ask again.

    `tell` is called with progress messages. Raises what `Lab.replace` raises, and Unsupported if
    this kernel cannot trace.
    """
    form, lab = scenario.form, running.lab
    parts: list[tuple[Remedy | None, tuple[KubernetesObject, ...]]] = [
        (None, scenario.objects),
        *zip(form.remedies, scenario.remedies, strict=True),
    ]
    rounds = []
    for number, (remedy, objects) in enumerate(parts, 1):
        title = f"remedy: {remedy.title}" if remedy else form.title
        tell(f"[{number}/{len(parts)}] {title}")
        lab.replace([*objects, *_slices(lab, objects)])
        part = remedy or form
        rounds.append(
            Round(
                remedy=remedy,
                asked=tuple(_ask(running, objects, part.questions)),
                attached=tuple(
                    Backends(expected=each, found=_backends(lab, each)) for each in part.attached
                ),
            )
        )
    return Run(scenario=scenario, mode=running.mode, network=running.network, rounds=tuple(rounds))


def _slices(lab: Lab, objects: Iterable[KubernetesObject]) -> list[KubernetesObject]:
    """Return slices as the control plane makes them, for Services with a selector and no slices."""
    objects = list(objects)
    written = {
        (each.metadata.namespace, each.metadata.labels.get(SERVICE_NAME_LABEL)) for each in objects
    }
    return [
        made
        for each in objects
        if isinstance(each, Service) and each.spec.selector
        if (each.metadata.namespace, each.metadata.name) not in written
        for made in lab.slices(each)
    ]


def _ask(
    running: ScenarioLab, objects: Iterable[KubernetesObject], questions: Sequence[Question]
) -> list[Asked]:
    lab = running.lab
    family = lab.spec.families[0]
    cluster_ips = {
        each.metadata.name: cluster_ip(each, family)
        for each in objects
        if isinstance(each, Service)
    }
    addresses = [_address(lab, family, cluster_ips, question.asks) for question in questions]
    requests = [
        Request(
            packet=Packet(client=question.client, address=address, port=question.asks.port),
            host=question.asks.host,
        )
        for question, address in zip(questions, addresses, strict=True)
    ]
    known = sources(lab, family)
    explanations = running.explainer.ask(requests) if requests else []
    return [
        Asked(
            question=question,
            expected=question.expected(running.network, running.mode),
            address=address,
            explanation=each,
            source=str(known.get(each.connection.source, each.connection.source)),
        )
        for question, address, each in zip(questions, addresses, explanations, strict=True)
    ]


def _address(lab: Lab, family: Family, cluster_ips: dict[str, str], target: Target) -> str:
    if target.node:
        return lab.nodes[target.node].addresses[family]
    if target.eip:
        return lab.public[target.eip][family]
    if target.service:
        return cluster_ips[target.service]
    return lab.balancers[target.balancer].addresses[family]


def _backends(lab: Lab, attached: Attached) -> tuple[str, ...]:
    """Return the healthy backends: pods if they are attached themselves, else nodes."""
    pods = {address: pod.name for pod in lab.pods.values() for address in pod.addresses.values()}
    pods |= {
        address: node.name for node in lab.nodes.values() for address in node.addresses.values()
    }
    return tuple(
        pods[each.backend.address]
        for state in lab.balancer_state()
        if (state.listener.key.place, state.listener.key.port) == (attached.balancer, attached.port)
        for each in state.backends
        if each.healthy
    )
