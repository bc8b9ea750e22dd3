"""What became of a probe, as frozen values.

A probe is one packet, so its outcome is one of three. `hops` names the hosts that saw the packet,
in its own order and beginning with the client; the router appears as often as it was crossed.
`hops` does not take part in comparisons: two probes with the same fate are equal.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field


class How(enum.Enum):
    """How a refusal reached the client."""

    RST = "RST"
    PORT_UNREACHABLE = "ICMP port unreachable"
    NET_UNREACHABLE = "ICMP net unreachable"
    HOST_UNREACHABLE = "ICMP host unreachable"
    PROHIBITED = "ICMP administratively prohibited"
    TIME_EXCEEDED = "ICMP time exceeded"
    OTHER = "another ICMP error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """`pod` got the packet, from `source`. `answered`: its answer came back to the client's stack,
    from the very address and port that the client had asked.
    """

    pod: str
    source: str
    answered: bool = True
    hops: tuple[str, ...] = field(default=(), compare=False)

    def __str__(self) -> str:
        silence = "" if self.answered else ", but the answer did not come back"
        return f"delivered to {self.pod} from {self.source}{silence}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The client was told so. `by` is the name of the host that said it."""

    by: str
    how: How
    hops: tuple[str, ...] = field(default=(), compare=False)

    def __str__(self) -> str:
        return f"refused by {self.by} with {self.how.value}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    """No pod got it and nobody told the client. `last_seen`: the last host that saw it."""

    last_seen: str
    hops: tuple[str, ...] = field(default=(), compare=False)

    def __str__(self) -> str:
        return f"dropped, last seen on {self.last_seen}"


Outcome = Delivered | Refused | Dropped
