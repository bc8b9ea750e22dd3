"""Comparing what was seen with what the oracle predicted: pure.

Every difference is one sentence for people; no sentence means that reality kept the promise.
"""

from __future__ import annotations

from kproxy.forwarding.network import Outcome as Predicted
from kproxy.forwarding.network import Packet, Verdict
from kproxy.probe.connection import Connected, Connection, Failure
from kproxy.probe.outcome import Delivered, Dropped, How, Outcome, Refused


def expectation(verdict: Verdict) -> str:
    """The verdict in a few words: who may answer and what they see, or where it ends."""
    match verdict.outcome:
        case Predicted.DELIVERED:
            lost = " (answer lost)" if verdict.unanswered else ""
            pods = ", ".join(f"{pod} from {source}" for pod, source in verdict.sources.items())
            return f"delivered to {pods}{lost}"
        case Predicted.REFUSED:
            return f"refused by {verdict.at}"
        case Predicted.DROPPED:
            return f"dropped at {verdict.at}"


def judge_outcome(verdict: Verdict, outcome: Outcome) -> list[str]:
    """How the packet's outcome differs from the verdict."""
    match outcome:
        case Delivered():
            return _judge_delivery(verdict, outcome)
        case Refused(by=host):
            kind = Predicted.REFUSED
        case Dropped(last_seen=host):
            kind = Predicted.DROPPED
    # A proxy may have picked an endpoint that does not serve; the oracle names those.
    as_predicted = verdict.outcome is kind and verdict.at == host
    if as_predicted or (verdict.failing and kind in verdict.failing.values()):
        return []
    return [f"packet {outcome}, expected: {expectation(verdict)}"]


def _judge_delivery(verdict: Verdict, outcome: Delivered) -> list[str]:
    if outcome.pod not in verdict.sources:
        return [f"packet {outcome}, expected: {expectation(verdict)}"]
    problems = []
    if outcome.source != (source := verdict.sources[outcome.pod]):
        problems.append(f"{outcome.pod} saw source {outcome.source} instead of {source}")
    if outcome.answered and outcome.pod in verdict.unanswered:
        problems.append(f"the answer of {outcome.pod} came back, though it should not")
    if not outcome.answered and outcome.pod not in verdict.unanswered:
        problems.append(f"the answer of {outcome.pod} did not come back")
    return problems


def judge_connection(
    packet: Packet, verdict: Verdict, outcome: Outcome, connection: Connection
) -> list[str]:
    """How a real connection differs from the verdict; `outcome` is that of the same packet."""
    if isinstance(connection, Connected):
        if verdict.sources.get(connection.pod) == connection.source:
            return []
        return [f"connection: {connection}, expected: {expectation(verdict)}"]
    if connection.how in _expected_failures(packet, verdict, outcome):
        return []
    return [f"connection {connection}, expected: {expectation(verdict)}"]


def _expected_failures(packet: Packet, verdict: Verdict, outcome: Outcome) -> set[Failure]:
    expected = set()
    outcomes = {verdict.outcome, *verdict.failing.values()}
    if verdict.unanswered or Predicted.DROPPED in outcomes:
        expected.add(Failure.TIMED_OUT)
    if Predicted.REFUSED in outcomes:
        expected |= {Failure.REFUSED, Failure.UNREACHABLE}
        # Linux tells a connected UDP socket of port unreachable only: udp_err, harderr.
        soft = isinstance(outcome, Refused) and outcome.how is not How.PORT_UNREACHABLE
        if packet.protocol == "UDP" and soft:
            expected.add(Failure.TIMED_OUT)
    return expected
