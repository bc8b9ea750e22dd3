"""The outcomes of packets: what the values mean, and their text."""

from __future__ import annotations

import errno

import pytest

from kproxy.outcome import Connection, How, Observation, Outcome, Prediction

DELIVERED, DROPPED, REFUSED = Outcome.DELIVERED, Outcome.DROPPED, Outcome.REFUSED
SUCCESS, TIMEOUT = Outcome.SUCCESS, Outcome.TIMEOUT

CONNECTIONS = [  # of the packet, whether its answer returns -> of the connection
    (DELIVERED, True, SUCCESS),
    (DELIVERED, False, TIMEOUT),
    (DROPPED, True, TIMEOUT),
    (REFUSED, True, REFUSED),
]


@pytest.mark.parametrize(("packet", "answered", "connection"), CONNECTIONS)
def test_what_a_connection_meets(packet: Outcome, answered: bool, connection: Outcome) -> None:
    assert packet.of_connection(answered=answered) is connection


TWO_PODS = Prediction(
    outcome=DELIVERED,
    sources={"pod-a": "10.244.1.1", "pod-b": "172.18.0.1"},
    at="node-a",
    why="because",
)
LOST = Prediction(
    outcome=DELIVERED,
    sources={"pod-a": "192.0.2.1"},
    unanswered=frozenset({"pod-a"}),
    at="node-a",
    why="because",
)
TEXTS: list[tuple[Observation | Connection | Prediction, str]] = [
    (Observation.delivered("pod-a", "10.244.1.1"), "delivered to pod-a from 10.244.1.1"),
    (
        Observation.delivered("pod-a", "10.244.1.1", answered=False),
        "delivered to pod-a from 10.244.1.1, but the answer did not come back",
    ),
    (Observation.refused("node-a", How.RST), "refused by node-a with RST"),
    (Observation.dropped("node-a"), "dropped, last seen on node-a"),
    (
        Connection(outcome=SUCCESS, pod="pod-a", source="10.244.1.1"),
        "pod-a answered and saw 10.244.1.1",
    ),
    (Connection(outcome=REFUSED, errno=errno.ECONNREFUSED), "refused"),
    (Connection(outcome=REFUSED, errno=errno.EHOSTUNREACH), "unreachable"),
    (Connection(outcome=TIMEOUT), "timed out"),
    (
        Connection(outcome=Outcome.ANSWERED, said=b"220 mail\r\n"),
        r"connected, answered by an unknown program: '220 mail\r\n'",
    ),
    (Connection(outcome=TIMEOUT, connected=True), "connected, but nobody answered in time"),
    (Connection(outcome=REFUSED, connected=True), "connected, but closed without an answer"),
    (TWO_PODS, "delivered to pod-a from 10.244.1.1, pod-b from 172.18.0.1"),
    (LOST, "delivered to pod-a from 192.0.2.1 (answer lost)"),
    (Prediction(outcome=REFUSED, at="node-a", why="because"), "refused by node-a"),
    (Prediction(outcome=DROPPED, at="node-a", why="because"), "dropped at node-a"),
]


@pytest.mark.parametrize(("found", "text"), TEXTS)
def test_texts(found: Observation | Connection | Prediction, text: str) -> None:
    assert str(found) == text


def test_only_a_pod_that_got_the_packet_is_named() -> None:
    assert Observation.delivered("pod-a", "10.244.1.1").pod == "pod-a"
    assert Observation.refused("pod-a", How.RST).pod == ""
    assert Observation.dropped("pod-a").pod == ""


def test_the_way_and_ports_are_not_compared() -> None:
    assert Observation.dropped("node-a", hops=("outside", "node-a")) == Observation.dropped(
        "node-a"
    )
    assert Observation.dropped("node-a") != Observation.dropped("node-b")
    refused = Connection(outcome=REFUSED)
    assert Connection(outcome=REFUSED, errno=errno.ECONNREFUSED) == refused
    assert Connection(outcome=TIMEOUT) != refused
