"""Equality of answers and expectations, and the explanation of failed comparisons."""

from __future__ import annotations

import pytest

from kproxy.forwarding.network import Host, HostKind, Network, Packet
from kproxy.outcome import Connection, How, Observation, Outcome, Prediction
from kproxy.testing import Answer, Expectation, delivered, dropped, refused
from kproxy.testing.expectations import explain

NETWORK = Network(
    hosts={
        "node-a": Host(
            name="node-a", kind=HostKind.NODE, addresses=("192.168.10.11", "10.244.1.1")
        ),
    },
    routes={},
)
PACKET = Packet(client="outside", address="192.168.10.11", port=30080)
PREDICTION = Prediction(
    outcome=Outcome.DELIVERED,
    sources={"pod-a": "10.244.1.1", "pod-b": "192.168.10.11"},
    at="node-a",
    why="because",
)


def answer(found: Observation | Connection | Prediction) -> Answer:
    return Answer(packet=PACKET, found=found, prediction=PREDICTION, network=NETWORK)


HOPS = ("outside", "node-a", "pod-a")
POD_A = answer(Observation.delivered("pod-a", "10.244.1.1", hops=HOPS))
UNHEARD = answer(Observation.delivered("pod-a", "10.244.1.1", answered=False))
BY_NODE = answer(Observation.refused("node-a", How.PORT_UNREACHABLE))
ON_NODE = answer(Observation.dropped("node-a"))
TO_POD_A = answer(Connection(outcome=Outcome.SUCCESS, pod="pod-a", source="10.244.1.1"))
DENIED = answer(Connection(outcome=Outcome.REFUSED))
SILENCE = answer(Connection(outcome=Outcome.TIMEOUT))
ORACLE = answer(PREDICTION)
REJECTED = answer(Prediction(outcome=Outcome.REFUSED, at="node-a", why="because"))

EQUAL: list[tuple[Answer, Expectation, bool]] = [
    (POD_A, delivered(), True),
    (POD_A, delivered("pod-a"), True),
    (POD_A, delivered("pod-b", "pod-a"), True),
    (POD_A, delivered("pod-b"), False),
    (POD_A, delivered("pod-a", source="10.244.1.1"), True),
    (POD_A, delivered("pod-a", source="node-a"), True),
    (POD_A, delivered("pod-a", source="192.168.10.11"), False),
    (POD_A, delivered("pod-a", source="nobody"), False),
    (POD_A, delivered("pod-a", answered=False), False),
    (POD_A, refused(), False),
    (UNHEARD, delivered("pod-a", answered=False), True),
    (UNHEARD, delivered("pod-a"), False),
    (BY_NODE, refused(), True),
    (BY_NODE, refused("node-a"), True),
    (BY_NODE, refused("node-b"), False),
    (BY_NODE, dropped(), False),
    (ON_NODE, dropped("node-a"), True),
    (ON_NODE, dropped("node-b"), False),
    (ON_NODE, delivered(), False),
    (TO_POD_A, delivered("pod-a", source="node-a"), True),
    (TO_POD_A, delivered("pod-b"), False),
    (TO_POD_A, delivered("pod-a", answered=False), False),
    (DENIED, refused("node-b"), True),  # a connection does not show the host
    (DENIED, dropped(), False),
    (SILENCE, dropped("node-b"), True),
    (SILENCE, refused(), False),
    (SILENCE, delivered("pod-a", answered=False), True),
    (SILENCE, delivered("pod-a"), False),
    (ORACLE, delivered("pod-a", "pod-b", source="node-a"), True),
    (ORACLE, delivered("pod-a", source="node-a"), False),  # pod-b may answer, too
    (ORACLE, delivered("pod-a", "pod-b", source="10.244.1.1"), False),
    (ORACLE, delivered(), True),
    (REJECTED, refused("node-a"), True),
    (REJECTED, refused("node-b"), False),
    (REJECTED, dropped("node-a"), False),
]


@pytest.mark.parametrize(("answer", "expectation", "equal"), EQUAL)
def test_equality(answer: Answer, expectation: Expectation, equal: bool) -> None:
    assert (answer == expectation) is equal
    assert (expectation == answer) is equal
    assert (answer != expectation) is not equal


def test_the_explanation_shows_the_way_and_the_oracle() -> None:
    lines = explain(refused("node-a"), POD_A)
    assert lines == [
        "outside asks 192.168.10.11:30080: expected refused at node-a",
        "  the packet: delivered to pod-a from 10.244.1.1",
        "  answered by: pod-a from 10.244.1.1",
        "  hops: outside -> node-a -> pod-a",
        "  the oracle: delivered at node-a",
        "    because",
    ]


def test_other_comparisons_are_not_explained() -> None:
    assert explain(POD_A, POD_A) is None
    assert explain(1, 2) is None


EXPECTATIONS = [
    (delivered(), "delivered to any pod"),
    (delivered("b", "a", source="c"), "delivered to a or b from c"),
    (delivered("a", answered=False), "delivered to a, answer lost"),
    (refused(), "refused"),
    (dropped("node-a"), "dropped at node-a"),
]


@pytest.mark.parametrize(("expectation", "text"), EXPECTATIONS)
def test_an_expectation_reads_well(expectation: Expectation, text: str) -> None:
    assert str(expectation) == text
