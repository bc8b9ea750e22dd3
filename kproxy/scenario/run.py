"""Runs a scenario in a lab: its questions, and then those of each remedy."""

from __future__ import annotations

import random
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import count
from typing import Self

from kproxy.address import Family, host_port
from kproxy.api.types import KubernetesObject, Service
from kproxy.backend import load
from kproxy.errors import BadInput
from kproxy.explain.explainer import Explainer, Explanation, Request
from kproxy.explain.sources import sources
from kproxy.explain.targets import Wanted
from kproxy.explain.tracing import Tracer
from kproxy.forwarding.network import Packet
from kproxy.lab import Lab
from kproxy.lab.object_source import ObjectSource
from kproxy.lab.other_proxies import OtherProxies
from kproxy.outcome import Expectation
from kproxy.scenario.files import Scenario, cluster_ip
from kproxy.scenario.form import Attached, Question, Remedy, Target
from kproxy.scenario.former import Former
from kproxy.store import SERVICE_NAME_LABEL
from kproxy.versions import Version

_FLOW_PORTS = range(61_000, 65_536)  # above those of connections and probes
_serials = count(random.randrange(len(_FLOW_PORTS)))


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
            and (not self.expected.pods or self.explanation.connection.pod in self.expected.pods)
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
    """The questions asked in one step or with one remedy. `remedy` None: before any."""

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
        self,
        scenario: Scenario,
        mode: str,
        network: str,
        emulate: Version | None = None,
        others: OtherProxies | None = None,
        source: ObjectSource | None = None,
        *,
        ways: bool = False,
    ) -> None:
        """Check the arguments; entering the block builds the lab. Raises BadInput.

        With `others`, these proxies run on the nodes; with `source`, those of the lab have their
        objects from there. `ways`: explanations have the ways of their probes.
        """
        if others and scenario.form.left_behind:
            raise BadInput(
                [f"{scenario.name}: rules of a former proxy are for a lab with proxies of its own"]
            )
        self.mode, self.network = mode, network
        self.options = load(mode).options_with(
            ipvs_local_fallback=scenario.form.ipvs_local_fallback
        )
        self.lab = Lab(
            replace(scenario.spec, network=network, emulate=emulate or scenario.spec.emulate),
            mode,
            options=self.options,
            others=others,
            source=source,
        )
        self._ways = ways
        self._open = ExitStack()

    def __enter__(self) -> Self:
        """Build the lab. Raises what entering a `Lab` raises."""
        with ExitStack() as undo:
            undo.enter_context(self.lab)
            explainer = Explainer(self.lab, self.lab.spec.families[0], ways=self._ways)
            self.explainer = undo.enter_context(explainer)
            self._open = undo.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()


def run(
    scenario: Scenario,
    running: ScenarioLab,
    *,
    tell: Callable[[str], None] = lambda _: None,
) -> Run:
    """Ask, then apply each step and each remedy by itself and ask again.

    `tell` is called with progress messages. Raises what `Lab.replace` raises, and Unsupported if
    this kernel cannot trace.
    """
    found = tuple(rounds(scenario, running, tell=tell))
    return Run(scenario=scenario, mode=running.mode, network=running.network, rounds=found)


def rounds(
    scenario: Scenario,
    running: ScenarioLab,
    *,
    tell: Callable[[str], None] = lambda _: None,
) -> Iterator[Round]:
    """Yield the rounds of `run`, each while the lab is as it was asked."""
    form, lab = scenario.form, running.lab
    parts: list[tuple[Remedy | None, tuple[KubernetesObject, ...]]] = [
        (None, scenario.objects),
        *zip(form.parts, scenario.parts, strict=True),
    ]
    flows: defaultdict[str, int] = defaultdict(_new_port)
    with ExitStack() as undo:
        left = form.left_behind
        before = [*scenario.former, *_slices(lab, scenario.former)]
        former = left and undo.enter_context(Former(lab, running.mode, left, before))
        for number, (remedy, objects) in enumerate(parts, 1):
            title = remedy.title if remedy else form.title
            title = f"remedy: {title}" if remedy in form.remedies else title
            tell(f"[{number}/{len(parts)}] {title}")
            if former:
                former.be_there(wanted=not (remedy and remedy.cleanup))
            lab.replace([*objects, *_slices(lab, objects)])
            if remedy and remedy.after_s:
                time.sleep(remedy.after_s)
            part = remedy or form
            asked = _ask(running, objects, part.questions, flows)
            yield Round(
                remedy=remedy,
                asked=tuple(asked),
                attached=tuple(_found_backends(lab, each) for each in part.attached),
            )


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
    running: ScenarioLab,
    objects: Iterable[KubernetesObject],
    questions: Sequence[Question],
    flows: Mapping[str, int],
) -> list[Asked]:
    """Ask all questions. `flows`: the source port of each flow."""
    lab = running.lab
    family = lab.spec.families[0]
    addresses = _addresses(lab, objects, questions)
    requests = [
        Request(
            packet=Packet(
                client=question.client,
                address=address,
                port=question.asks.port,
                protocol=question.protocol,
                source_port=flows[question.flow] if question.flow else 0,
                payload_bytes=question.bytes,
            ),
            host=question.asks.host,
        )
        for question, address in zip(questions, addresses, strict=True)
    ]
    known = sources(lab, family)
    explanations = _explain(running.explainer, requests)
    explanations = _through_relays(running, requests, explanations)
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


def _through_relays(
    running: ScenarioLab, requests: Sequence[Request], explanations: Sequence[Explanation]
) -> list[Explanation]:
    """Return the explanations, those of probes that relays have accepted with other ways: those of
    connections, with the relays' own.
    """
    relayed = [place for place, each in enumerate(explanations) if each.relayed]
    found = list(explanations)
    if relayed:
        wanted = [
            Wanted(
                source=each.packet.client,
                target=host_port(each.packet.address, each.packet.port),
                protocol=each.packet.protocol,
                http=each.host or None,
            )
            for each in (requests[place] for place in relayed)
        ]
        with Tracer(running.lab, running.explainer) as tracer:
            for place, traced in zip(relayed, tracer.trace_all(wanted), strict=True):
                found[place] = replace(found[place], itinerary=traced.itinerary)
    return found


def _addresses(
    lab: Lab, objects: Iterable[KubernetesObject], questions: Sequence[Question]
) -> list[str]:
    family = lab.spec.families[0]
    cluster_ips = {
        each.metadata.name: cluster_ip(each, family)
        for each in objects
        if isinstance(each, Service)
    }
    return [_address(lab, family, cluster_ips, question.asks) for question in questions]


def _explain(explainer: Explainer, requests: Sequence[Request]) -> list[Explanation]:
    """Return the explanations in the order of the requests. Flows are asked one after another."""
    others = [each for each in requests if not each.packet.source_port]
    of_others = iter(explainer.ask(others) if others else ())
    return [
        explainer.ask_flow(each.packet) if each.packet.source_port else next(of_others)
        for each in requests
    ]


def _new_port() -> int:
    """Return a source port that no flow has had: hosts remember the flows of earlier runs."""
    return _FLOW_PORTS[next(_serials) % len(_FLOW_PORTS)]


def _address(lab: Lab, family: Family, cluster_ips: dict[str, str], target: Target) -> str:
    if target.address:
        return target.address
    if target.pod:
        return lab.pods[target.pod].addresses[family]
    if target.node:
        return lab.nodes[target.node].addresses[family]
    if target.eip:
        return lab.public[target.eip][family]
    if target.service:
        return cluster_ips[target.service]
    return lab.balancers[target.balancer].addresses[family]


def _found_backends(lab: Lab, attached: Attached) -> Backends:
    """Compare the healthy backends: pods if they are attached themselves, else nodes."""
    pods = {address: pod.name for pod in lab.pods.values() for address in pod.addresses.values()}
    pods |= {
        address: node.name for node in lab.nodes.values() for address in node.addresses.values()
    }
    found = tuple(
        pods[each.backend.address]
        for state in lab.balancer_state()
        if (state.listener.key.place, state.listener.key.port) == (attached.balancer, attached.port)
        for each in state.backends
        if each.healthy
    )
    return Backends(expected=attached, found=found)
