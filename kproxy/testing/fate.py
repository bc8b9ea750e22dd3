"""What became of a packet, and what a test expects: compared with `==`.

A `Fate` is what a probe, a real connection or the oracle says. An `Expectation` is made by
`delivered`, `refused` or `dropped`, holds only what the test cares about, and can be compared with
each of the three.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from kproxy.forwarding.network import Network, Outcome, Packet, Verdict
from kproxy.probe import Connected, Connection, Delivered, Dropped, Failure, Refused
from kproxy.probe import Outcome as ProbeOutcome
from kproxy.probe.checks import asked


class Witness(enum.Enum):
    """Who says it. They know different things."""

    PACKET = "the packet"
    CONNECTION = "a real connection"  # does not know where it failed
    ORACLE = "the oracle"  # knows all pods that may answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """`pods`: who may answer, empty for anybody. `source`, `at`: "" for any."""

    outcome: Outcome
    pods: frozenset[str] = frozenset()
    source: str = ""
    answered: bool = True
    at: str = ""

    def __str__(self) -> str:
        if self.outcome is not Outcome.DELIVERED:
            return f"{self.outcome.value}{f' at {self.at}' if self.at else ''}"
        pods = " or ".join(sorted(self.pods)) or "any pod"
        source = f" from {self.source}" if self.source else ""
        return f"delivered to {pods}{source}{'' if self.answered else ', answer lost'}"


def delivered(*pods: str, source: str = "", answered: bool = True) -> Expectation:
    """One of `pods` got the packet; without any, whichever did.

    The oracle must name exactly these. `source`: the address that the pod saw, or the name
    of the host that has it. `answered` false: the reply must not find its way back, so that a real
    connection times out.
    """
    return Expectation(
        outcome=Outcome.DELIVERED, pods=frozenset(pods), source=source, answered=answered
    )


def refused(at: str = "") -> Expectation:
    """The client was told so, by an ICMP error or a reset that the host `at` sent."""
    return Expectation(outcome=Outcome.REFUSED, at=at)


def dropped(at: str = "") -> Expectation:
    """Nobody answered in any way. `at`: the last host that saw the packet."""
    return Expectation(outcome=Outcome.DROPPED, at=at)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fate:
    """What one witness says of one packet. Equal to each expectation that it meets.

    `sources`: pod -> source it saw. `hops` and `text` are what the witness saw, for people.
    `verdict`: the oracle's opinion of the same packet, None if it has none of this network.
    """

    witness: Witness
    packet: Packet
    outcome: Outcome
    sources: Mapping[str, str] = field(default_factory=dict)
    answered: bool = True
    at: str = ""
    hops: tuple[str, ...] = ()
    text: str
    verdict: Verdict | None
    network: Network

    @classmethod
    def of_probe(
        cls, packet: Packet, seen: ProbeOutcome, verdict: Verdict | None, network: Network
    ) -> Fate:
        match seen:
            case Delivered():
                outcome, at = Outcome.DELIVERED, seen.pod
                sources, answered = {seen.pod: seen.source}, seen.answered
            case Refused():
                outcome, at, sources, answered = Outcome.REFUSED, seen.by, {}, True
            case Dropped():
                outcome, at, sources, answered = Outcome.DROPPED, seen.last_seen, {}, True
        return cls(
            witness=Witness.PACKET,
            packet=packet,
            outcome=outcome,
            sources=sources,
            answered=answered,
            at=at,
            hops=seen.hops,
            text=str(seen),
            verdict=verdict,
            network=network,
        )

    @classmethod
    def of_connection(
        cls, packet: Packet, seen: Connection, verdict: Verdict | None, network: Network
    ) -> Fate:
        if isinstance(seen, Connected):
            outcome, sources = Outcome.DELIVERED, {seen.pod: seen.source}
        else:
            sources = {}
            silent = seen.how is Failure.TIMED_OUT
            outcome = Outcome.DROPPED if silent else Outcome.REFUSED
        return cls(
            witness=Witness.CONNECTION,
            packet=packet,
            outcome=outcome,
            sources=sources,
            text=str(seen),
            verdict=verdict,
            network=network,
        )

    @classmethod
    def of_verdict(cls, packet: Packet, verdict: Verdict, network: Network) -> Fate:
        return cls(
            witness=Witness.ORACLE,
            packet=packet,
            outcome=verdict.outcome,
            sources=verdict.sources,
            answered=verdict.answered,
            at=verdict.at,
            text=verdict.why,
            verdict=verdict,
            network=network,
        )

    def __eq__(self, other: object) -> bool:
        return self.meets(other) if isinstance(other, Expectation) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # equal to many expectations, which differ

    def __str__(self) -> str:
        return f"{self.packet.client} -> {asked(self.packet)}: {self.text}"

    def meets(self, expected: Expectation) -> bool:
        if self.witness is Witness.CONNECTION and not expected.answered:
            return self.outcome is Outcome.DROPPED
        if self.outcome is not expected.outcome:
            return False
        if expected.outcome is Outcome.DELIVERED:
            return (
                self.answered is expected.answered
                and self._by_pods(expected.pods)
                and all(self._is(source, expected.source) for source in self.sources.values())
            )
        return not self.at or expected.at in ("", self.at)

    def _by_pods(self, pods: frozenset[str]) -> bool:
        if self.witness is Witness.ORACLE:
            return not pods or self.sources.keys() == pods
        return not pods or self.sources.keys() <= pods

    def _is(self, address: str, wanted: str) -> bool:
        host = self.network.hosts.get(wanted)
        return wanted in ("", address) or (host is not None and address in host.addresses)


def explain(left: object, right: object) -> list[str] | None:
    """Lines for pytest about a comparison that failed; None if it is none of ours."""
    if isinstance(left, Expectation):
        left, right = right, left
    if not isinstance(left, Fate) or not isinstance(right, Expectation):
        return None
    seen = ", ".join(f"{pod} from {source}" for pod, source in left.sources.items())
    lines = [
        f"{left.packet.client} asks {asked(left.packet)}: expected {right}",
        f"  {left.witness.value}: {left.text}",
    ]
    if seen:
        lines.append(f"  answered by: {seen}")
    if left.hops:
        lines.append(f"  hops: {' -> '.join(left.hops)}")
    if left.witness is not Witness.ORACLE and left.verdict:
        lines.append(f"  the oracle: {left.verdict.outcome.value} at {left.verdict.at}")
        lines.append(f"    {left.verdict.why}")
    return lines
