"""Differences from the prediction that are reported, and others that are not."""

from __future__ import annotations

import pytest

from kproxy.forwarding.network import Packet
from kproxy.outcome import Connection, How, Observation, Outcome, Prediction
from kproxy.probe.comparison import connection_problems, packet_problems

TWO_PODS = Prediction(
    outcome=Outcome.DELIVERED,
    sources={"pod-a": "10.244.1.1", "pod-b": "172.18.0.1"},
    at="node-a",
    why="",
)
UNHEARD = Prediction(
    outcome=Outcome.DELIVERED,
    sources={"pod-a": "192.0.2.1"},
    unanswered=frozenset({"pod-a"}),
    at="node-a",
    why="",
)
FAULTY = Prediction(
    outcome=Outcome.DELIVERED,
    sources={"pod-a": "10.244.1.1"},
    failing={"10.244.9.9:80": Outcome.REFUSED},
    at="node-a",
    why="",
)
RELAYED = Prediction(
    outcome=Outcome.DELIVERED,
    sources={"pod-a": "10.244.1.1"},
    failing={"10.244.9.9:80": Outcome.REFUSED},
    relay="node-a",
    at="node-a",
    why="",
)
REJECTED = Prediction(outcome=Outcome.REFUSED, at="node-a", why="")
LOST = Prediction(outcome=Outcome.DROPPED, at="node-a", why="")
BY_NODE_A = Observation.refused("node-a", How.PORT_UNREACHABLE)

OUTCOMES: list[tuple[Prediction, Observation, str]] = [
    (TWO_PODS, Observation.delivered("pod-a", "10.244.1.1"), ""),
    (TWO_PODS, Observation.delivered("pod-b", "172.18.0.1"), ""),
    (TWO_PODS, Observation.delivered("pod-b", "192.0.2.1"), "source 192.0.2.1 instead of 172.18."),
    (TWO_PODS, Observation.delivered("pod-c", "172.18.0.1"), "delivered to pod-c"),
    (TWO_PODS, Observation.delivered("pod-a", "10.244.1.1", answered=False), "did not come back"),
    (TWO_PODS, BY_NODE_A, "refused by node-a"),
    (TWO_PODS, Observation.dropped("node-a"), "dropped"),
    (UNHEARD, Observation.delivered("pod-a", "192.0.2.1", answered=False), ""),
    (UNHEARD, Observation.delivered("pod-a", "192.0.2.1"), "came back, though"),
    (FAULTY, Observation.refused("pod-x", How.RST), ""),
    (FAULTY, Observation.dropped("node-a"), "dropped"),
    # A handshake is with the relay, a datagram comes to the pod.
    (RELAYED, Observation.delivered("node-a", "192.0.2.1"), ""),
    (RELAYED, Observation.delivered("node-a", "192.0.2.1", answered=False), "to node-a"),
    (RELAYED, Observation.delivered("node-b", "192.0.2.1"), "delivered to node-b"),
    (RELAYED, Observation.delivered("pod-a", "10.244.1.1"), ""),
    (RELAYED, Observation.delivered("pod-a", "192.0.2.1"), "source 192.0.2.1 instead of 10.244."),
    (REJECTED, BY_NODE_A, ""),
    (REJECTED, Observation.refused("pod-a", How.RST), "refused by pod-a"),
    (REJECTED, Observation.dropped("node-a"), "dropped"),
    (LOST, Observation.dropped("node-a"), ""),
    (LOST, Observation.dropped("router"), "last seen on router"),
    (LOST, BY_NODE_A, "refused"),
    (LOST, Observation.delivered("pod-a", "192.0.2.1"), "delivered"),
]


@pytest.mark.parametrize(("prediction", "seen", "problem"), OUTCOMES)
def test_packet(prediction: Prediction, seen: Observation, problem: str) -> None:
    problems = packet_problems(prediction, seen)
    assert bool(problems) == bool(problem)
    assert problem in " ".join(problems)


def connected(pod: str, source: str) -> Connection:
    return Connection(outcome=Outcome.SUCCESS, pod=pod, source=source)


REFUSED = Connection(outcome=Outcome.REFUSED)
SILENCE = Connection(outcome=Outcome.TIMEOUT)
NO_NET = Observation.refused("node-a", How.NET_UNREACHABLE)
CONNECTIONS: list[tuple[str, Prediction, Observation, Connection, bool]] = [
    ("TCP", TWO_PODS, BY_NODE_A, connected("pod-b", "172.18.0.1"), True),
    ("TCP", TWO_PODS, BY_NODE_A, connected("pod-a", "172.18.0.1"), False),
    ("TCP", TWO_PODS, BY_NODE_A, SILENCE, False),
    ("TCP", UNHEARD, BY_NODE_A, SILENCE, True),
    ("TCP", FAULTY, BY_NODE_A, REFUSED, True),
    ("TCP", FAULTY, BY_NODE_A, SILENCE, False),
    ("TCP", REJECTED, BY_NODE_A, REFUSED, True),
    ("TCP", REJECTED, BY_NODE_A, SILENCE, False),
    ("UDP", REJECTED, BY_NODE_A, SILENCE, False),
    ("TCP", REJECTED, NO_NET, REFUSED, True),
    ("TCP", REJECTED, NO_NET, SILENCE, False),
    ("UDP", REJECTED, NO_NET, SILENCE, True),  # Linux reports only port unreachable to UDP
    ("TCP", LOST, Observation.dropped("node-a"), SILENCE, True),
    ("TCP", LOST, Observation.dropped("node-a"), REFUSED, False),
    ("TCP", LOST, BY_NODE_A, connected("pod-a", "192.0.2.1"), False),
]


@pytest.mark.parametrize(("protocol", "prediction", "seen", "connection", "ok"), CONNECTIONS)
def test_connection(
    protocol: str, prediction: Prediction, seen: Observation, connection: Connection, ok: bool
) -> None:
    packet = Packet(client="outside", address="10.96.0.1", port=80, protocol=protocol)
    assert (connection_problems(packet, prediction, seen, connection) == []) is ok
