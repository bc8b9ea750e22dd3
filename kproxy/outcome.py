"""One vocabulary for the outcome of a packet: predicted, observed or expected.

    oracle      -> Prediction   the pods that may answer, or where the packet must end
    probe       -> Observation  one packet, watched on every host
    connection  -> Connection   the kernel's own TCP, UDP or SCTP, as its client saw it
    test, scenario -> Expectation  the part of these that a test is about

Everywhere `outcome` is one of `Outcome`, `pod` is the pod that answers, `source` is the client's
address as that pod sees it, and `at` is the name of the host where the packet ended.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping
from enum import Enum, StrEnum
from typing import Self

from msgspec import Struct


class Outcome(StrEnum):
    """The outcome of a packet (the first three), or of a whole connection (the last four).

    They are not the same: to a client, a dropped packet and a lost answer are both a timeout.
    The values are the words of the commands' JSON.
    """

    DELIVERED = "delivered"  # a pod got the packet
    DROPPED = "dropped"  # no pod got it, and the client got no error
    REFUSED = "refused"  # the client got a reset or an ICMP error
    SUCCESS = "success"  # a pod answered the connection
    TIMEOUT = "timeout"  # the client received nothing
    ANSWERED = "answered"  # a program answered the connection that is no pod's server

    def of_connection(self, *, answered: bool = True) -> Outcome:
        """Return the outcome of a connection whose first packet has this outcome.

        `answered`: answers to delivered packets reach the client.
        """
        match self:
            case Outcome.DELIVERED:
                return Outcome.SUCCESS if answered else Outcome.TIMEOUT
            case Outcome.DROPPED:
                return Outcome.TIMEOUT
            case _:
                return self


class How(Enum):
    """The message that refused a packet."""

    RST = "RST"
    ABORT = "ABORT"  # SCTP's
    PORT_UNREACHABLE = "ICMP port unreachable"
    PROTOCOL_UNREACHABLE = "ICMP protocol unreachable"  # in IPv6: unrecognized next header
    NET_UNREACHABLE = "ICMP net unreachable"
    HOST_UNREACHABLE = "ICMP host unreachable"
    PROHIBITED = "ICMP administratively prohibited"
    TOO_BIG = "ICMP fragmentation needed"
    TIME_EXCEEDED = "ICMP time exceeded"
    OTHER = "another ICMP error"


class Observation(Struct, frozen=True, kw_only=True):
    """The observed outcome of one packet. Made by `delivered`, `refused` and `dropped`."""

    outcome: Outcome
    at: str
    """The host that got it, that refused it first, or that saw it last."""
    source: str = ""
    """Its source address as `at` saw it; "" unless delivered."""
    answered: bool = False
    """The answer reached the client's stack, from the very address and port it had sent to."""
    how: How | None = None
    """None unless refused."""
    hops: tuple[str, ...] = ()
    """The hosts that saw the packet, in order and beginning with the client; the router appears as
    often as it was crossed. Not compared: two packets with the same end are equal.
    """

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

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Observation) and self._end() == other._end()

    def __hash__(self) -> int:
        return hash(self._end())

    def _end(self) -> tuple[object, ...]:
        return self.outcome, self.at, self.source, self.answered, self.how

    @property
    def pod(self) -> str:
        """Return the pod that got it, or the node for endpoints of the host network; else ""."""
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


class Connection(Struct, frozen=True, kw_only=True):
    """The outcome of a connection as its client saw it, without the host where it failed."""

    outcome: Outcome
    """SUCCESS, ANSWERED, REFUSED or TIMEOUT."""
    pod: str = ""
    """The pod that answered, "" if it failed; `source` and `source_port` are those it saw."""
    source: str = ""
    source_port: int = 0
    errno: int = 0
    """The kernel's error, 0 for a timeout. Not compared, nor are the port and the next two."""
    connected: bool = False
    """It failed after the handshake: somebody has accepted it."""
    said: bytes = b""
    """The beginning of what the unknown program said."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Connection) and self._end() == other._end()

    def __hash__(self) -> int:
        return hash(self._end())

    def _end(self) -> tuple[object, ...]:
        return self.outcome, self.pod, self.source

    @property
    def success(self) -> bool:
        return self.outcome is Outcome.SUCCESS

    def __str__(self) -> str:
        match self.outcome:
            case Outcome.SUCCESS:
                return f"{self.pod} answered and saw {self.source}"
            case Outcome.ANSWERED:
                said = repr(self.said.decode(errors="backslashreplace"))
                return f"connected, answered by an unknown program: {said}"
            case Outcome.TIMEOUT:
                return "connected, but nobody answered in time" if self.connected else "timed out"
            case _ if self.connected:
                return "connected, but closed without an answer"
            case _:
                return "unreachable" if self.errno in UNREACHABLE else "refused"


class Prediction(Struct, frozen=True, kw_only=True):
    """The outcome that a packet must have."""

    outcome: Outcome
    """DELIVERED, REFUSED or DROPPED."""
    sources: Mapping[str, str] = {}
    """Pod -> source it sees; its keys are all pods (and nodes, for host network endpoints) that may
    answer, each as likely for a new client. Empty unless delivered.
    """
    unanswered: frozenset[str] = frozenset()
    """Those of them whose answer bypasses a node that must translate it back: they get the packet,
    and the client still times out.
    """
    failing: Mapping[str, Outcome] = {}
    """Endpoints (`ip:port`) that may be chosen as well, but do not serve. If no endpoint serves,
    the outcome is dropped if any of them is, else refused.
    """
    relay: str = ""
    """The name of the node whose proxy accepts the connection itself and makes another one to the
    pod; "" where packets are translated. A packet of the client ends there: of TCP, the handshake
    is with the relay, whatever the outcome of the connection.
    """
    at: str
    """The name of the host where the outcome is decided."""
    why: str
    """One sentence for people."""

    @property
    def answered(self) -> bool:
        """Tell whether the answer of every pod that may answer reaches the client."""
        return not self.unanswered

    def __str__(self) -> str:
        """Return the pods that may answer and the sources they see, or the end; without `why`."""
        match self.outcome:
            case Outcome.DELIVERED:
                lost = "" if self.answered else " (answer lost)"
                pods = ", ".join(f"{pod} from {source}" for pod, source in self.sources.items())
                return f"delivered to {pods}{lost}"
            case Outcome.REFUSED:
                return f"refused by {self.at}"
            case _:
                return f"dropped at {self.at}"


class Expectation(Struct, frozen=True, kw_only=True):
    """The outcome that a test or scenario expects; empty fields may be anything."""

    outcome: Outcome
    pods: frozenset[str] = frozenset()
    """The pods that may answer."""
    source: str = ""
    """The source that the pod sees, in the form that the comparison uses."""
    answered: bool = True
    """False: the answer must not reach the client."""
    at: str = ""
    """The host where it ends."""

    def __str__(self) -> str:
        if self.outcome is not Outcome.DELIVERED:
            return f"{self.outcome}{f' at {self.at}' if self.at else ''}"
        pods = " or ".join(sorted(self.pods)) or "any pod"
        source = f" from {self.source}" if self.source else ""
        return f"delivered to {pods}{source}{'' if self.answered else ', answer lost'}"
