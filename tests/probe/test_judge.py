"""What counts as a broken promise, and what does not."""

from __future__ import annotations

import pytest

from kproxy.forwarding.network import Outcome as Predicted
from kproxy.forwarding.network import Packet, Verdict
from kproxy.probe.connection import Connected, Connection, Failure, NotConnected
from kproxy.probe.judge import expectation, judge_connection, judge_outcome
from kproxy.probe.outcome import Delivered, Dropped, How, Outcome, Refused

TWO_PODS = Verdict(
    outcome=Predicted.DELIVERED,
    sources={"pod-a": "10.244.1.1", "pod-b": "172.18.0.1"},
    at="node-a",
    why="",
)
UNHEARD = Verdict(
    outcome=Predicted.DELIVERED,
    sources={"pod-a": "192.0.2.1"},
    unanswered=frozenset({"pod-a"}),
    at="node-a",
    why="",
)
FAULTY = Verdict(
    outcome=Predicted.DELIVERED,
    sources={"pod-a": "10.244.1.1"},
    failing={"10.244.9.9:80": Predicted.REFUSED},
    at="node-a",
    why="",
)
REJECTED = Verdict(outcome=Predicted.REFUSED, at="node-a", why="")
LOST = Verdict(outcome=Predicted.DROPPED, at="node-a", why="")
BY_NODE_A = Refused(by="node-a", how=How.PORT_UNREACHABLE)

OUTCOMES: list[tuple[Verdict, Outcome, str]] = [
    (TWO_PODS, Delivered(pod="pod-a", source="10.244.1.1"), ""),
    (TWO_PODS, Delivered(pod="pod-b", source="172.18.0.1"), ""),
    (TWO_PODS, Delivered(pod="pod-b", source="192.0.2.1"), "source 192.0.2.1 instead of 172.18."),
    (TWO_PODS, Delivered(pod="pod-c", source="172.18.0.1"), "delivered to pod-c"),
    (TWO_PODS, Delivered(pod="pod-a", source="10.244.1.1", answered=False), "did not come back"),
    (TWO_PODS, BY_NODE_A, "refused by node-a"),
    (TWO_PODS, Dropped(last_seen="node-a"), "dropped"),
    (UNHEARD, Delivered(pod="pod-a", source="192.0.2.1", answered=False), ""),
    (UNHEARD, Delivered(pod="pod-a", source="192.0.2.1"), "came back, though"),
    (FAULTY, Refused(by="pod-x", how=How.RST), ""),
    (FAULTY, Dropped(last_seen="node-a"), "dropped"),
    (REJECTED, BY_NODE_A, ""),
    (REJECTED, Refused(by="pod-a", how=How.RST), "refused by pod-a"),
    (REJECTED, Dropped(last_seen="node-a"), "dropped"),
    (LOST, Dropped(last_seen="node-a"), ""),
    (LOST, Dropped(last_seen="router"), "last seen on router"),
    (LOST, BY_NODE_A, "refused"),
    (LOST, Delivered(pod="pod-a", source="192.0.2.1"), "delivered"),
]


@pytest.mark.parametrize(("verdict", "outcome", "problem"), OUTCOMES)
def test_packet(verdict: Verdict, outcome: Outcome, problem: str) -> None:
    problems = judge_outcome(verdict, outcome)
    assert bool(problems) == bool(problem)
    assert problem in " ".join(problems)


REFUSED, SILENCE, NO_ROUTE = (
    NotConnected(how=Failure.REFUSED),
    NotConnected(how=Failure.TIMED_OUT),
    NotConnected(how=Failure.UNREACHABLE),
)
NO_NET = Refused(by="node-a", how=How.NET_UNREACHABLE)
CONNECTIONS: list[tuple[str, Verdict, Outcome, Connection, bool]] = [
    ("TCP", TWO_PODS, BY_NODE_A, Connected(pod="pod-b", source="172.18.0.1", source_port=9), True),
    ("TCP", TWO_PODS, BY_NODE_A, Connected(pod="pod-a", source="172.18.0.1", source_port=9), False),
    ("TCP", TWO_PODS, BY_NODE_A, SILENCE, False),
    ("TCP", UNHEARD, BY_NODE_A, SILENCE, True),
    ("TCP", FAULTY, BY_NODE_A, REFUSED, True),
    ("TCP", FAULTY, BY_NODE_A, SILENCE, False),
    ("TCP", REJECTED, BY_NODE_A, REFUSED, True),
    ("TCP", REJECTED, BY_NODE_A, SILENCE, False),
    ("UDP", REJECTED, BY_NODE_A, SILENCE, False),
    ("TCP", REJECTED, NO_NET, NO_ROUTE, True),
    ("TCP", REJECTED, NO_NET, SILENCE, False),
    ("UDP", REJECTED, NO_NET, SILENCE, True),  # Linux tells UDP of port unreachable only
    ("TCP", LOST, Dropped(last_seen="node-a"), SILENCE, True),
    ("TCP", LOST, Dropped(last_seen="node-a"), REFUSED, False),
    ("TCP", LOST, BY_NODE_A, Connected(pod="pod-a", source="192.0.2.1", source_port=9), False),
]


@pytest.mark.parametrize(("protocol", "verdict", "outcome", "connection", "ok"), CONNECTIONS)
def test_connection(
    protocol: str, verdict: Verdict, outcome: Outcome, connection: Connection, ok: bool
) -> None:
    packet = Packet(client="outside", address="10.96.0.1", port=80, protocol=protocol)
    assert (judge_connection(packet, verdict, outcome, connection) == []) is ok


def test_an_expectation_reads_like_a_sentence() -> None:
    assert expectation(TWO_PODS) == "delivered to pod-a from 10.244.1.1, pod-b from 172.18.0.1"
    assert expectation(UNHEARD) == "delivered to pod-a from 192.0.2.1 (answer lost)"
    assert expectation(REJECTED) == "refused by node-a"
    assert expectation(LOST) == "dropped at node-a"
