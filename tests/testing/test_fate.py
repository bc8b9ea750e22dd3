"""What equals what, and how a failed comparison is told."""

from __future__ import annotations

import pytest

from kproxy.forwarding.network import Host, HostKind, Network, Outcome, Packet, Verdict
from kproxy.probe import Connected, Delivered, Dropped, Failure, How, NotConnected, Refused
from kproxy.testing import Expectation, Fate, delivered, dropped, refused
from kproxy.testing.fate import explain

NETWORK = Network(
    hosts={
        "node-a": Host(
            name="node-a", kind=HostKind.NODE, addresses=("192.168.10.11", "10.244.1.1")
        ),
    },
    routes={},
)
PACKET = Packet(client="outside", address="192.168.10.11", port=30080)
VERDICT = Verdict(
    outcome=Outcome.DELIVERED,
    sources={"pod-a": "10.244.1.1", "pod-b": "192.168.10.11"},
    at="node-a",
    why="because",
)


def packet(seen: Delivered | Refused | Dropped) -> Fate:
    return Fate.of_probe(PACKET, seen, VERDICT, NETWORK)


def connection(seen: Connected | NotConnected) -> Fate:
    return Fate.of_connection(PACKET, seen, VERDICT, NETWORK)


POD_A = packet(Delivered(pod="pod-a", source="10.244.1.1", hops=("outside", "node-a", "pod-a")))
UNHEARD = packet(Delivered(pod="pod-a", source="10.244.1.1", answered=False))
BY_NODE = packet(Refused(by="node-a", how=How.PORT_UNREACHABLE))
ON_NODE = packet(Dropped(last_seen="node-a"))
TO_POD_A = connection(Connected(pod="pod-a", source="10.244.1.1", source_port=9))
DENIED = connection(NotConnected(how=Failure.REFUSED))
NO_ROUTE = connection(NotConnected(how=Failure.UNREACHABLE))
SILENCE = connection(NotConnected(how=Failure.TIMED_OUT))
ORACLE = Fate.of_verdict(PACKET, VERDICT, NETWORK)

EQUAL: list[tuple[Fate, Expectation, bool]] = [
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
    (DENIED, refused("node-b"), True),  # a connection does not know by whom
    (NO_ROUTE, refused(), True),
    (DENIED, dropped(), False),
    (SILENCE, dropped("node-b"), True),
    (SILENCE, refused(), False),
    (SILENCE, delivered("pod-a", answered=False), True),
    (SILENCE, delivered("pod-a"), False),
    (ORACLE, delivered("pod-a", "pod-b", source="node-a"), True),
    (ORACLE, delivered("pod-a", source="node-a"), False),  # pod-b may answer, too
    (ORACLE, delivered("pod-a", "pod-b", source="10.244.1.1"), False),
    (ORACLE, delivered(), True),
]


@pytest.mark.parametrize(("fate", "expectation", "equal"), EQUAL)
def test_equality(fate: Fate, expectation: Expectation, equal: bool) -> None:
    assert (fate == expectation) is equal
    assert (expectation == fate) is equal
    assert (fate != expectation) is not equal


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
