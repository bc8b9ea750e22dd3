"""The answer of a lab about a packet, and the expectation of a test: compared with `==`.

An `Answer` holds the observation of a packet, the outcome of its connection, or the oracle's
prediction. An `Expectation` is made by `delivered`, `refused` or `dropped`, holds only the part
that the test is about, and can be compared with each of the three.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kproxy.forwarding.network import Network, Packet
from kproxy.outcome import Connection, Expectation, Observation, Outcome, Prediction
from kproxy.probe.checks import asked


def delivered(*pods: str, source: str = "", answered: bool = True) -> Expectation:
    """Expect that one of `pods` got the packet; without any, that some pod did.

    The oracle must name exactly these. `source`: the address that the pod saw, or the name
    of the host that has it. `answered` false: the reply must not reach the client, so that a real
    connection times out.
    """
    return Expectation(
        outcome=Outcome.DELIVERED, pods=frozenset(pods), source=source, answered=answered
    )


def refused(at: str = "") -> Expectation:
    """Expect that the client got an ICMP error or a reset that the host `at` sent."""
    return Expectation(outcome=Outcome.REFUSED, at=at)


def dropped(at: str = "") -> Expectation:
    """Expect no answer of any kind. `at`: the last host that saw the packet."""
    return Expectation(outcome=Outcome.DROPPED, at=at)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Answer:
    """A lab's result for one packet. Equal to each expectation that it meets; these differ, so it
    has no hash.
    """

    packet: Packet
    found: Observation | Connection | Prediction
    prediction: Prediction | None
    """The oracle's for the same packet; None if it does not know this network."""
    network: Network

    @property
    def sources(self) -> Mapping[str, str]:
        """Return the pods that answered, or may answer, with the source that each sees.

        Empty if that is not known: only a connection shows which pod is behind a relay.
        """
        if isinstance(self.found, Prediction):
            return self.found.sources
        relay = self.prediction.relay if self.prediction else ""
        if isinstance(self.found, Observation) and self.found.pod == relay:
            return {}
        return {self.found.pod: self.found.source} if self.found.pod else {}

    def __eq__(self, other: object) -> bool:
        return self.meets(other) if isinstance(other, Expectation) else NotImplemented

    def __str__(self) -> str:
        return f"{self.packet.client} -> {asked(self.packet)}: {_text(self.found)}"

    def meets(self, expected: Expectation) -> bool:
        """Tell whether this meets the expectation, as far as it can be known."""
        found = self.found
        if isinstance(found, Connection):
            wanted = expected.outcome.of_connection(answered=expected.answered)
            return found.outcome is wanted and (not found.success or self._is_by(expected))
        if found.outcome is not expected.outcome:
            return False
        if found.outcome is Outcome.DELIVERED:
            return found.answered is expected.answered and self._is_by(expected)
        return expected.at in ("", found.at)

    def _is_by(self, expected: Expectation) -> bool:
        """Tell whether the answering pods, and the sources that they see, are as expected."""
        pods = self.sources.keys()
        exactly = isinstance(self.found, Prediction)
        by_pods = pods == expected.pods if exactly else pods <= expected.pods
        return (not expected.pods or by_pods) and all(
            self._has(expected.source, address) for address in self.sources.values()
        )

    def _has(self, wanted: str, address: str) -> bool:
        host = self.network.hosts.get(wanted)
        return wanted in ("", address) or (host is not None and address in host.addresses)


def explain(left: object, right: object) -> list[str] | None:
    """Return lines for pytest about a failed comparison; None if it is not one of ours."""
    if isinstance(left, Expectation):
        left, right = right, left
    if not isinstance(left, Answer) or not isinstance(right, Expectation):
        return None
    found, sources = left.found, left.sources
    lines = [
        f"{left.packet.client} asks {asked(left.packet)}: expected {right}",
        f"  {_NAMES[type(found)]}: {_text(found)}",
    ]
    if sources:
        seen = ", ".join(f"{pod} from {source}" for pod, source in sources.items())
        lines.append(f"  answered by: {seen}")
    if isinstance(found, Observation) and found.hops:
        lines.append(f"  hops: {' -> '.join(found.hops)}")
    if left.prediction and not isinstance(found, Prediction):
        lines.append(f"  the oracle: {left.prediction.outcome} at {left.prediction.at}")
        lines.append(f"    {left.prediction.why}")
    return lines


_NAMES: Mapping[type, str] = {
    Observation: "the packet",
    Connection: "a real connection",
    Prediction: "the oracle",
}


def _text(found: Observation | Connection | Prediction) -> str:
    return found.why if isinstance(found, Prediction) else str(found)
