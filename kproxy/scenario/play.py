"""A scenario in a lab: its questions, and then those of each remedy."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Self

from kproxy.address import Family
from kproxy.api.types import KubernetesObject, Service
from kproxy.backend import load
from kproxy.explain.inquiry import Answer, Inquirer, Inquiry, sources
from kproxy.forwarding.network import Packet
from kproxy.lab import Lab
from kproxy.scenario.files import Scenario, cluster_ip
from kproxy.scenario.form import Attached, Expected, Question, Remedy, Target
from kproxy.store import SERVICE_NAME_LABEL


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A question, and what came of it. `source`: what the address is that the server saw."""

    question: Question
    expected: Expected
    address: str
    answer: Answer
    source: str

    @property
    def ok(self) -> bool:
        return (
            self.answer.outcome == self.expected.outcome
            and self.expected.source in ("", self.source)
            and self.answer.steady
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Backends:
    """Those that a load balancer must have, and those that it has."""

    expected: Attached
    found: tuple[str, ...]

    @property
    def ok(self) -> bool:
        return sorted(self.found) == sorted(self.expected.backends)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """`remedy` None: without any."""

    remedy: Remedy | None
    asked: tuple[Asked, ...]
    attached: tuple[Backends, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    scenario: Scenario
    mode: str
    network: str
    scenes: tuple[Scene, ...]

    @property
    def expected(self) -> int:
        """How much of it was to be expected in a certain way."""
        return sum(len(scene.asked) + len(scene.attached) for scene in self.scenes)

    @property
    def as_expected(self) -> int:
        return sum(
            sum(each.ok for each in scene.asked) + sum(each.ok for each in scene.attached)
            for scene in self.scenes
        )


class Stage:
    """A lab, and who asks questions of it. A context manager. It fits all scenarios whose lab and
    settings are equal.
    """

    def __init__(self, scenario: Scenario, mode: str, network: str) -> None:
        """Nothing is built before the block is entered. Raises BadInput."""
        self.mode, self.network = mode, network
        self.lab = Lab(
            replace(scenario.spec, network=network),
            mode,
            options=load(mode).options_with(ipvs_local_fallback=scenario.form.ipvs_local_fallback),
        )
        self._open = ExitStack()

    def __enter__(self) -> Self:
        """Raises what entering a `Lab` raises."""
        with ExitStack() as undo:
            undo.enter_context(self.lab)
            self.inquirer = undo.enter_context(Inquirer(self.lab, self.lab.spec.families[0]))
            self._open = undo.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()


def play(scenario: Scenario, stage: Stage, *, tell: Callable[[str], None] = lambda _: None) -> Run:
    """Ask, then apply each remedy for itself and ask again. `tell` hears of progress.

    Raises what `Lab.replace` raises, and Unsupported if this kernel cannot trace.
    """
    form, lab = scenario.form, stage.lab
    parts: list[tuple[Remedy | None, tuple[KubernetesObject, ...]]] = [
        (None, scenario.objects),
        *zip(form.remedies, scenario.remedies, strict=True),
    ]
    scenes = []
    for number, (remedy, objects) in enumerate(parts, 1):
        title = f"remedy: {remedy.title}" if remedy else form.title
        tell(f"[{number}/{len(parts)}] {title}")
        lab.replace([*objects, *_slices(lab, objects)])
        part = remedy or form
        scenes.append(
            Scene(
                remedy=remedy,
                asked=tuple(_ask(stage, objects, part.questions)),
                attached=tuple(
                    Backends(expected=each, found=_backends(lab, each)) for each in part.attached
                ),
            )
        )
    return Run(scenario=scenario, mode=stage.mode, network=stage.network, scenes=tuple(scenes))


def _slices(lab: Lab, objects: Iterable[KubernetesObject]) -> list[KubernetesObject]:
    """Of Services with a selector, as the control plane makes them, unless there are some."""
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
    stage: Stage, objects: Iterable[KubernetesObject], questions: Sequence[Question]
) -> list[Asked]:
    lab = stage.lab
    family = lab.spec.families[0]
    cluster_ips = {
        each.metadata.name: cluster_ip(each, family)
        for each in objects
        if isinstance(each, Service)
    }
    addresses = [_address(lab, family, cluster_ips, question.asks) for question in questions]
    inquiries = [
        Inquiry(
            packet=Packet(client=question.client, address=address, port=question.asks.port),
            host=question.asks.host,
        )
        for question, address in zip(questions, addresses, strict=True)
    ]
    known = sources(lab, family)
    answers = stage.inquirer.ask(inquiries) if inquiries else []
    return [
        Asked(
            question=question,
            expected=question.expected(stage.network, stage.mode),
            address=address,
            answer=answer,
            source=str(known.get(answer.source, answer.source)),
        )
        for question, address, answer in zip(questions, addresses, answers, strict=True)
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
    """Pods if they are attached themselves, nodes otherwise; those that are healthy."""
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
