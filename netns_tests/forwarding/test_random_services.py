"""Every mode gives the same answer to the same packets, whatever the Services.

One lab for each mode goes through the same random histories. In each, packets and connections end
as the oracle predicts for the mode, and alike in all modes for which it predicts the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import pytest

from kproxy.forwarding.network import Packet
from kproxy.outcome import Observation, Outcome, Prediction
from kproxy.probe import (
    affinity,
    connect_many,
    prediction_for,
)
from kproxy.probe.checks import asked
from kproxy.probe.comparison import connection_problems, packet_problems
from kproxy.testing import LabFactory, ProbedLab
from netns_tests.findings import require_none
from netns_tests.forwarding.random_services import POD_PORTS, ROUTES, Question, RandomServices
from netns_tests.modes import PACKET_FILTERS, USERSPACE, Mode

SEEDS = [1, 2, 3]
EDITS = 2
QUESTIONS = 80  # before and after each edit
ASKED_OFTEN = 4  # connections for this many of the last questions
MISSED_BY_CHANCE = 1e-6  # the probability that some endpoint gets no connection

Labs = Mapping[str, ProbedLab]


class Answer(NamedTuple):
    packet: Packet
    prediction: Prediction
    seen: Observation

    def differs(self, other: Answer) -> bool:
        """Tell whether another mode does otherwise for the same reason.

        An ICMP error may be another one, which is not predicted. Which of several endpoints is
        chosen is left to chance, whether it serves or not.
        """
        return (
            self.prediction == other.prediction
            and not self.prediction.failing
            and _ending(self.seen) != _ending(other.seen)
        )


class History(NamedTuple):
    """The outcomes of all packets, and those of packets and connections that were not predicted."""

    answers: list[Answer]
    problems: list[str]


@pytest.fixture(scope="module")
def labs(kproxy_module_lab: LabFactory) -> Labs:
    return {str(mode): _lab(kproxy_module_lab, mode) for mode in PACKET_FILTERS}


@pytest.fixture(scope="module")
def ipvs_lab(kproxy_module_lab: LabFactory) -> ProbedLab:
    return _lab(kproxy_module_lab, Mode("ipvs", "legacy"))


@pytest.mark.parametrize("seed", SEEDS)
def test_all_modes_give_the_same_answers(labs: Labs, seed: int) -> None:
    with ThreadPoolExecutor(len(labs)) as pool:  # most of the time they wait
        told = pool.map(lambda lab: _history(lab, seed), labs.values())
        histories = dict(zip(labs, told, strict=True))
    require_none(f"{mode}: {each}" for mode, of in histories.items() for each in of.problems)
    require_none(_differences(histories))


@pytest.fixture(scope="module")
def userspace_lab(kproxy_module_lab: LabFactory) -> ProbedLab:
    return _lab(kproxy_module_lab, USERSPACE)


@pytest.mark.parametrize("seed", SEEDS)
def test_userspace_mode_does_as_predicted(userspace_lab: ProbedLab, seed: int) -> None:
    require_none(_history(userspace_lab, seed).problems)


@pytest.mark.ipvs
@pytest.mark.parametrize("seed", SEEDS[:2])  # that kernel may be a slow one
def test_ipvs_mode_does_as_predicted(ipvs_lab: ProbedLab, seed: int) -> None:
    require_none(_history(ipvs_lab, seed).problems)


def _lab(factory: LabFactory, mode: Mode) -> ProbedLab:
    on = ("node-a", "node-a", "node-b", "node-b", "node-c")
    return factory(
        nodes=sorted(set(on)),
        pods={f"pod-{number}": on[number % len(on)] for number in range(1, 13)},
        clients=("outside", "stranger"),
        ports=POD_PORTS,
        routes=dict.fromkeys(ROUTES, "node-a"),
        mode=mode.name,
        options=mode.options,
    )


def _history(lab: ProbedLab, seed: int) -> History:
    """Run a history. It ends with connections: no flow of theirs may outlive the pods behind it."""
    services = RandomServices(seed, lab)
    answers: list[Answer] = []
    for edit in range(EDITS + 1):
        if edit:
            services.edit()
        lab.replace(services.objects)
        questions = services.questions(QUESTIONS)
        answers += _ask(lab, questions)
    problems = [
        f"{_told(packet)}: {problem}"
        for packet, prediction, seen in answers
        for problem in packet_problems(prediction, seen)
    ]
    problems += _connect(lab, answers[-QUESTIONS:])
    problems += _connect_often(lab, questions)
    return History(answers, problems)


def _predict(lab: ProbedLab, packet: Packet) -> Prediction:
    prediction = prediction_for(lab, packet)
    assert prediction, f"{lab.mode} mode has no oracle"
    return prediction


def _ask(lab: ProbedLab, questions: list[Question]) -> Iterator[Answer]:
    packets = [question.packet for question in questions]
    for packet, seen in zip(packets, lab.prober.ask_many(packets), strict=True):
        yield Answer(packet, _predict(lab, packet), seen)


def _connect(lab: ProbedLab, answers: list[Answer]) -> Iterator[str]:
    connections = connect_many(lab, [answer.packet for answer in answers])
    for (packet, prediction, seen), connection in zip(answers, connections, strict=True):
        for problem in connection_problems(packet, prediction, seen, connection):
            yield f"{_told(packet)}: {problem}"


def _connect_often(lab: ProbedLab, questions: list[Question]) -> Iterator[str]:
    """Connect often: with affinity one pod must answer a client, without it each at some time."""
    predictions = [(question, _predict(lab, question.packet)) for question in questions]
    choices = [each for each in predictions if len(each[1].sources) > 1 and each[1].answered]
    for (packet, service), prediction in choices[:ASKED_OFTEN]:
        if service.spec.session_affinity == "ClientIP":
            yield from affinity(lab, packet).problems
            continue
        pods = set(prediction.sources)
        connections = connect_many(lab, [packet] * _enough_for(len(pods)))
        missed = pods - {each.pod for each in connections if each.success}
        if missed:
            yield f"{_told(packet)}: {len(connections)} connections never met {sorted(missed)}"


def _enough_for(pods: int) -> int:
    return math.ceil(math.log(MISSED_BY_CHANCE / pods) / math.log(1 - 1 / pods))


def _differences(histories: Mapping[str, History]) -> Iterator[str]:
    (standard, (expected, _)), *others = histories.items()
    for mode, (answers, _) in others:
        for one, another in zip(expected, answers, strict=True):
            if one.differs(another):
                yield (f"{_told(one.packet)}: {one.seen} in {standard}, {another.seen} in {mode}")


def _ending(seen: Observation) -> tuple[object, ...]:
    if seen.outcome is Outcome.DELIVERED:
        return (seen.outcome,)
    return (seen.outcome, seen.at, seen.how)


def _told(packet: Packet) -> str:
    return f"{packet.client} asks {asked(packet)}"
