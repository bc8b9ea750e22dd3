"""Comparison of observations with the oracle's predictions. Pure.

Every difference is one sentence; no sentence means that all was as predicted.
"""

from __future__ import annotations

from kproxy.forwarding.network import Packet
from kproxy.outcome import Connection, How, Observation, Outcome, Prediction


def packet_problems(prediction: Prediction, seen: Observation) -> list[str]:
    """Return the differences of a packet's outcome from the prediction."""
    if seen.outcome is Outcome.DELIVERED:
        return _delivery_problems(prediction, seen)
    as_predicted = (prediction.outcome, prediction.at) == (seen.outcome, seen.at)
    # A proxy may have chosen an endpoint that does not serve; the oracle names those.
    if as_predicted or seen.outcome in prediction.failing.values():
        return []
    return [f"packet {seen}, expected: {prediction}"]


def _delivery_problems(prediction: Prediction, seen: Observation) -> list[str]:
    if seen.pod == prediction.relay and seen.answered:  # of TCP
        return []
    if seen.pod not in prediction.sources:
        return [f"packet {seen}, expected: {prediction}"]
    problems = []
    if seen.source != (source := prediction.sources[seen.pod]):
        problems.append(f"{seen.pod} saw source {seen.source} instead of {source}")
    if seen.answered and seen.pod in prediction.unanswered:
        problems.append(f"the answer of {seen.pod} came back, though it should not")
    if not seen.answered and seen.pod not in prediction.unanswered:
        problems.append(f"the answer of {seen.pod} did not come back")
    return problems


def connection_problems(
    packet: Packet, prediction: Prediction, seen: Observation, connection: Connection
) -> list[str]:
    """Return the differences of a connection from the prediction; `seen`: a probe of the same."""
    if connection.success:
        if prediction.sources.get(connection.pod) == connection.source:
            return []
        return [f"connection: {connection}, expected: {prediction}"]
    if connection.outcome in _expected_failures(packet, prediction, seen):
        return []
    return [f"connection {connection}, expected: {prediction}"]


def _expected_failures(packet: Packet, prediction: Prediction, seen: Observation) -> set[Outcome]:
    expected = {prediction.outcome.of_connection(answered=prediction.answered)}
    expected |= {outcome.of_connection() for outcome in prediction.failing.values()}
    # Linux reports only port unreachable to a connected UDP socket: udp_err, harderr.
    soft = seen.outcome is Outcome.REFUSED and seen.how is not How.PORT_UNREACHABLE
    if Outcome.REFUSED in expected and packet.protocol == "UDP" and soft:
        expected.add(Outcome.TIMEOUT)
    return expected
