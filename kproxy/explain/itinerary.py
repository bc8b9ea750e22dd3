"""An itinerary: the way of one probe through a lab, hop by hop, there and back. Pure values.

Made by `kproxy.explain.tracing`, printed by `kproxy trace`; `values` are its JSON, which
docs/trace.md describes.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from msgspec import Struct, field

from kproxy.address import host_port
from kproxy.typed import converted

VERSION = 1
"""The version of the JSON. It grows when a field changes its meaning or goes, not with new ones."""

UNKNOWN = "unknown"
"""The outcome of a request that has left what was watched, and of whose answer nothing was seen."""

Role = Literal["request", "reply", "error", "onward request", "onward reply", "onward error"]
"""The latter are those of connections that a proxy on the way makes of its own."""
ONWARD: dict[Role, Role] = {
    "request": "onward request",
    "reply": "onward reply",
    "error": "onward error",
}


class Question(Struct, frozen=True, kw_only=True):
    """The probe that was asked for. `target` is the text that named it, `address` what it means."""

    source: str = field(name="from")
    target: str = field(name="to")
    address: str
    port: int
    """0 for ICMP, which has none."""
    protocol: str
    """TCP, UDP, SCTP or ICMP (also in IPv6)."""
    family: str


class Ends(Struct, frozen=True):
    """Addresses and ports of a packet. Ports are 0 in ICMP, but for the identifier of an echo."""

    source: str
    source_port: int
    destination: str
    destination_port: int

    @property
    def turned(self) -> Ends:
        """Return the ends of a packet that answers this one. An echo keeps its identifier."""
        if not self.destination_port:
            return Ends(self.destination, self.source_port, self.source, 0)
        return Ends(self.destination, self.destination_port, self.source, self.source_port)


class Step(Struct, frozen=True, kw_only=True):
    """A rule that matched, the policy of a chain, or the end of a chain."""

    hook: str
    """prerouting, input, forward, output or postrouting."""
    table: str
    chain: str
    rule: str
    """The rule as iptables-save or nft prints it; "" for the end of a chain."""
    verdict: str
    """The kernel's: accept, drop, continue, return, or `jump` or `goto` and a chain."""
    effect: str
    """The kind of thing that it did to this packet: dnat, snat, masquerade, mark, reject, drop,
    accept, affinity or jump (to a chain that is for something). "" if it did nothing but lead on.
    """
    purpose: str
    """A few words for people; "" without an effect."""


class Tracked(Struct, frozen=True, kw_only=True):
    """The entry of conntrack that the packet belongs to."""

    state: str
    """TCP's or SCTP's state; for others REPLIED or UNREPLIED."""
    original: Ends
    reply: Ends
    """The ends that an answer has when it comes in: it differs from `original` turned round where
    the host translates.
    """
    mark: int
    deleted: bool
    """The kernel had deleted it by the end of the trace, as it does after a reset."""


class Route(Struct, frozen=True, kw_only=True):
    """The routing decision for the packet, as `ip route get` gives it after the trace."""

    kind: str
    """unicast, local, blackhole, unreachable, prohibit ...; "" if there is no route."""
    via: str
    dev: str
    table: str
    """The routing table; "" for a packet to the host itself."""
    problem: str
    """The kernel's words if there is no route."""


class Balanced(Struct, frozen=True, kw_only=True):
    """The choice of IPVS."""

    virtual_server: str
    scheduler: str
    real_server: str


class Endpoint(Struct, frozen=True, kw_only=True):
    """A destination that a host chose for the request. `host` has the address, "" if none has."""

    address: str
    port: int
    host: str
    chosen_by: str
    """The host that translated, or whose proxy connected to it."""


class Hop(Struct, frozen=True, kw_only=True):
    """The packet on one host."""

    host: str
    kind: str
    """node, pod, client, router or edge; namespace, where more is not known."""
    role: Role
    packet: str
    """The kind of packet: SYN, SYN-ACK, RST, UDP, INIT, ICMP port unreachable ..."""
    entry: str = field(name="in")
    """The link by which it entered; "" if it was made there."""
    exit: str = field(name="out")
    """The link by which it left; "" if it did not."""
    before: Ends
    after: Ends
    steps: tuple[Step, ...]
    """The rules of the host that it met, in order. Pods and clients have none."""
    conntrack: Tracked | None
    route: Route | None
    ipvs: Balanced | None


class Named(Struct, frozen=True, kw_only=True):
    """The name of an address, as it is with that port."""

    address: str
    port: int
    name: str


class Itinerary(Struct, frozen=True, kw_only=True):
    """The way of one probe, and what became of it."""

    version: int = VERSION
    question: Question
    outcome: str
    """delivered, refused or dropped, as `kproxy.outcome.Observation` has it."""
    answered: bool
    """The answer reached the client."""
    at: str
    """The host that got it, that refused it, or where it, or the answer to it, ended."""
    sentence: str
    """The reason."""
    endpoints: tuple[Endpoint, ...]
    """Each destination that was chosen, in order: of a load balancer its node, then the pod."""
    hops: tuple[Hop, ...]
    unseen: tuple[str, ...] = ()
    """What could not be observed."""
    names: tuple[Named, ...] = ()
    """The names of places on its way, if objects were given that tell them."""

    @property
    def named(self) -> dict[str, str]:
        """Return the names by `place`."""
        return {place(each.address, each.port): each.name for each in self.names}

    @property
    def title(self) -> str:
        """Return who asks whom."""
        question, named = self.question, self.named
        asked = place(question.address, question.port)
        target = question.target if question.target != asked else named.get(asked, "")
        made = self.hops[0].before if self.hops else None
        own = made and made.source == question.source  # not the name of a host
        source = named.get(place(made.source, made.source_port), "") if made and own else ""
        who, whom = (
            f"{at} ({name})" if name else at
            for at, name in ((question.source, source), (asked, target))
        )
        return f"{who} asks {whom}, {question.protocol}"

    @property
    def values(self) -> dict[str, Any]:
        """Return it as JSON values."""
        found: dict[str, Any] = msgspec.to_builtins(self)
        return found


def place(address: str, port: int) -> str:
    """Return an address with its port, if it has one."""
    return host_port(address, port) if port else address


def from_values(values: object) -> Itinerary:
    """Return the itinerary with these JSON values. Raises msgspec.ValidationError."""
    return converted(values, Itinerary)
