"""One vocabulary for what became of a packet: predicted, observed or expected.

    oracle      -> Prediction   who may answer, or where the packet must end
    probe       -> Observation  one packet, watched on every host
    connection  -> Connection   the kernel's own TCP, UDP or SCTP, as its client saw it
    test, scenario -> Expectation  as much of these as somebody cares about

Everywhere `outcome` is one of `Outcome`, `pod` is who answers, `source` is the client's address as
that pod sees it, and `at` is the name of the host where the packet ended.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import Self

from msgspec import Struct


class Outcome(StrEnum):
    """What became of a packet (the first three), or of a whole connection (the last three).

    They are not the same: to a client, a dropped packet and a lost answer are both a time-out.
    The values are the words of the commands' JSON.
    """

    DELIVERED = "delivered"  # a pod got the packet
    DROPPED = "dropped"  # no pod got it, and nobody told the client
    REFUSED = "refused"  # the client was told so, by a reset or an ICMP error
    SUCCESS = "success"  # a pod answered the connection
    TIMEOUT = "timeout"  # the client heard nothing

    def of_connection(self, *, answered: bool = True) -> Outcome:
        """Return what a connection meets whose first packet has this outcome.

        `answered`: the answers to packets that are delivered come back to the client.
        """
        match self:
            case Outcome.DELIVERED:
                return Outcome.SUCCESS if answered else Outcome.TIMEOUT
            case Outcome.DROPPED:
                return Outcome.TIMEOUT
            case _:
                return self


class How(Enum):
    """By which message a packet was refused."""

    RST = "RST"
    PORT_UNREACHABLE = "ICMP port unreachable"
    NET_UNREACHABLE = "ICMP net unreachable"
    HOST_UNREACHABLE = "ICMP host unreachable"
    PROHIBITED = "ICMP administratively prohibited"
    TIME_EXCEEDED = "ICMP time exceeded"
    OTHER = "another ICMP error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What became of one packet, as it was seen. Made by `delivered`, `refused` and `dropped`.

    `at`: the host that got it, that refused it first, or that saw it last. `source`: where it came
    from, as `at` saw it; "" unless delivered. `answered`: the answer came back to the client's
    stack, from the very address and port that the client had asked. `how`: None unless refused.
    `hops`: the hosts that saw the packet, in its own order and beginning with the client; the
    router appears as often as it was crossed. Comparisons leave them out: two packets that end
    alike are equal.
    """

    outcome: Outcome
    at: str
    source: str = ""
    answered: bool = False
    how: How | None = None
    hops: tuple[str, ...] = field(default=(), compare=False)

    @classmethod
    def delivered(
        cls, pod: str, source: str, *, answered: bool = True, hops: tuple[str, ...] = ()
    ) -> Self:
        return cls(outcome=Outcome.DELIVERED, at=pod, source=source, answered=answered, hops=hops)

    @classmethod
    def refused(cls, at: str, how: How, *, hops: tuple[str, ...] = ()) -> Self:
        return cls(outcome=Outcome.REFUSED, at=at, how=how, hops=hops)

    @classmethod
    def dropped(cls, at: str, *, hops: tuple[str, ...] = ()) -> Self:
        return cls(outcome=Outcome.DROPPED, at=at, hops=hops)

    @property
    def pod(self) -> str:
        """Who got it: a pod, or a node for endpoints of the host network; "" for nobody."""
        return self.at if self.outcome is Outcome.DELIVERED else ""

    def __str__(self) -> str:
        match self.outcome:
            case Outcome.DELIVERED:
                silence = "" if self.answered else ", but the answer did not come back"
                return f"delivered to {self.at} from {self.source}{silence}"
            case Outcome.REFUSED:
                return f"refused by {self.at} with {(self.how or How.OTHER).value}"
            case _:
                return f"dropped, last seen on {self.at}"


UNREACHABLE = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL})
"""Error numbers of connect() for a destination that no route leads to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """What became of a connection, as its client saw it: where it failed is unknown to it.

    `outcome`: SUCCESS, REFUSED or TIMEOUT. `pod` answered, and saw the connection come from
    `source` and `source_port`; "" and 0 if it failed. `errno`: why the kernel says it failed, 0
    for silence. Comparisons leave the two numbers out.
    """

    outcome: Outcome
    pod: str = ""
    source: str = ""
    source_port: int = field(default=0, compare=False)
    errno: int = field(default=0, compare=False)

    @property
    def success(self) -> bool:
        return self.outcome is Outcome.SUCCESS

    def __str__(self) -> str:
        match self.outcome:
            case Outcome.SUCCESS:
                return f"{self.pod} answered and saw {self.source}"
            case Outcome.TIMEOUT:
                return "timed out"
            case _:
                return "unreachable" if self.errno in UNREACHABLE else "refused"


class Prediction(Struct, frozen=True, kw_only=True):
    """What must become of a packet. `outcome`: DELIVERED, REFUSED or DROPPED.

    `sources`: pod -> source it sees; its keys are all pods (and nodes, for host network
    endpoints) that may answer, each as likely for a new client. Empty unless delivered.
    `unanswered`: those of them whose answer bypasses a node that must translate it back: they
    get the packet, and the client still times out.
    `failing`: endpoints (`ip:port`) that may be chosen as well, but do not serve. If no endpoint
    serves, the outcome is dropped if any of them is, else refused.
    `relay`: name of the node whose proxy takes the connection itself and makes another one to the
    pod; "" where packets are translated. A packet of the client finds its end there: of TCP, the
    handshake is with the relay, whatever becomes of the connection.
    `at`: name of the host where the outcome is decided. `why`: one sentence for people.
    """

    outcome: Outcome
    sources: Mapping[str, str] = {}
    unanswered: frozenset[str] = frozenset()
    failing: Mapping[str, Outcome] = {}
    relay: str = ""
    at: str
    why: str

    @property
    def answered(self) -> bool:
        """Tell whether the answer of every pod that may answer comes back to the client."""
        return not self.unanswered

    def __str__(self) -> str:
        """Return who may answer and what they see, or where it ends; without the why."""
        match self.outcome:
            case Outcome.DELIVERED:
                lost = "" if self.answered else " (answer lost)"
                pods = ", ".join(f"{pod} from {source}" for pod, source in self.sources.items())
                return f"delivered to {pods}{lost}"
            case Outcome.REFUSED:
                return f"refused by {self.at}"
            case _:
                return f"dropped at {self.at}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """What somebody expects; what is "" or empty may be anything.

    `pods`: who may answer. `source`: what the pod sees, in the words of whoever compares it.
    `answered` False: the answer must not come back. `at`: the host where it ends.
    """

    outcome: Outcome
    pods: frozenset[str] = frozenset()
    source: str = ""
    answered: bool = True
    at: str = ""

    def __str__(self) -> str:
        if self.outcome is not Outcome.DELIVERED:
            return f"{self.outcome}{f' at {self.at}' if self.at else ''}"
        pods = " or ".join(sorted(self.pods)) or "any pod"
        source = f" from {self.source}" if self.source else ""
        return f"delivered to {pods}{source}{'' if self.answered else ', answer lost'}"
