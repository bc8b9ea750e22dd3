"""One request of another program, and what answers it, among all packets that were seen. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from kproxy.explain.traces import TracedStep
from kproxy.kernel.trace import TABLE, TraceStep
from kproxy.kernel.tracked import Entry
from kproxy.probe.foreign import Ends, Foreign, foreign, turned
from kproxy.probe.journey import Seen, in_order
from kproxy.probe.packets import Role, Sighting
from kproxy.probe.taps import Captured
from kproxy.probe.vxlan import inner


class Caught(NamedTuple):
    """A packet at a tap."""

    host: str
    link: str
    outgoing: bool
    time_ns: int
    encapsulated: bool
    data: bytes
    packet: Foreign

    @classmethod
    def from_tap(cls, captured: Captured) -> Caught | None:
        """Return what a tap has captured, None if it can be no part of a conversation.

        Of an encapsulated packet the ends are those of the inner one.
        """
        encapsulated = inner(captured.data)
        packet = foreign(encapsulated or captured.data)
        if packet is None:
            return None
        return cls(
            *(captured.host, captured.link, captured.outgoing, captured.time_ns),
            *(encapsulated is not None, captured.data, packet),
        )


class Met(NamedTuple):
    """A packet at a rule."""

    host: str
    step: TraceStep
    packet: Foreign


class Conversation(NamedTuple):
    """All that was seen of one request and its answer, in order."""

    protocol: str
    first: str
    """The host where it was seen first."""
    made_there: bool
    """That host sent it, else it came in there."""
    made: Ends
    """The ends of the request as it was made there, or came in."""
    seen: tuple[Seen, ...]
    steps: tuple[TracedStep, ...]
    marked: frozenset[tuple[str, Role]]
    """Where netfilter's trace has begun: if there are no steps, there was no rule to be met."""
    ends: frozenset[Ends]
    """All ends that the request had."""
    reply: Role | None
    """What has reached the place where the request was seen first, as far as was seen."""


def conversation(
    key: tuple[object, ...],
    caught: Sequence[Caught],
    met: Sequence[Met],
    tracked: Mapping[str, Collection[Entry]],
    window_ns: int,
) -> Conversation:
    """Return what belongs to the request with this key, which is among those given.

    `caught`: in the order of time; what comes later than `window_ns` after the request does not
    belong to it, as it may be sent again.
    """
    of_key = [each for each in caught if each.packet.key == key]
    begun = next((each.time_ns for each in of_key if asks(each.packet, key)), 0)
    begun = begun or next((each.time_ns for each in of_key), 0)
    near = [each for each in caught if begun <= each.time_ns <= begun + window_ns]
    packets = [*(each.packet for each in near), *(each.packet for each in met)]
    asked = [packet for packet in packets if asks(packet, key)]
    request = asked[0]
    ends = {each.ends for each in asked}
    for entries in tracked.values():
        for entry in entries:
            if entry.original.protocol == request.protocol and entry.original[1:] in ends:
                ends.add(turned(entry.reply[1:]))
    roles = _Roles(key, request, ends, packets)
    seen = in_order(
        Seen(
            *(each.host, each.outgoing, _sighting(each.packet, role), each.link, each.time_ns),
            *(each.encapsulated, each.data),
        )
        for each in near
        if (role := roles.of(each.packet))
    )
    traced = [
        TracedStep(each.host, role, each.step, _sighting(each.packet, role))
        for each in met
        if (role := roles.of(each.packet))
    ]
    steps = [each for each in traced if not _is_ours(each)]
    requests = [each for each in near if roles.of(each.packet) is Role.REQUEST]
    first = min(requests, key=lambda each: each.time_ns) if requests else None
    host = first.host if first else next(each.host for each in met if asks(each.packet, key))
    made_there = first is None or first.outgoing
    return Conversation(
        protocol=request.protocol,
        first=host,
        made_there=made_there,
        made=_made(host, first, traced, tracked) if made_there else request.ends,
        seen=tuple(seen),
        steps=tuple(steps),
        marked=frozenset((each.host, each.role) for each in traced if _is_ours(each)),
        ends=frozenset(ends),
        reply=next(_replies(host, made_there, seen), None),
    )


def _is_ours(traced: TracedStep) -> bool:
    return traced.step.table.startswith(TABLE)


def asks(packet: Foreign, key: tuple[object, ...]) -> bool:
    """Tell whether a packet is the request with this key."""
    return packet.key == key and packet.role in (Role.REQUEST, None)


class _Roles:
    """The roles of packets in one conversation."""

    def __init__(
        self,
        key: tuple[object, ...],
        request: Foreign,
        ends: Collection[Ends],
        packets: Iterable[Foreign],
    ) -> None:
        self._key = key
        self._request = request
        self._ends = ends
        self._sources = {each[0] for each in ends}
        self._answer: tuple[object, ...] | None = None
        # Of many datagrams that come back, the first is the answer.
        self._answer = next((each.key for each in packets if self._answers(each)), None)

    def of(self, packet: Foreign) -> Role | None:
        """Return the role of a packet, None for one of another conversation."""
        if packet.how and not packet.how.value.startswith("ICMP"):
            return packet.role if packet.key == self._key else None
        if packet.how:
            return Role.REFUSAL if self._is_about_it(packet) else None
        if packet.key == self._key:
            return packet.role or Role.REQUEST
        return Role.ANSWER if packet.key == self._answer and self._answers(packet) else None

    def _is_about_it(self, packet: Foreign) -> bool:
        if packet.quoted:
            same = packet.protocol == self._request.protocol
            return same and (packet.quoted in self._ends or packet.key == self._key)
        # A trace of nf_tables has only the beginning of what an error quotes.
        same = packet.identification == self._request.identification
        return not packet.protocol and same and packet.ends[2] in self._sources

    def _answers(self, packet: Foreign) -> bool:
        return (
            packet.protocol == self._request.protocol
            and packet.protocol in ("UDP", "ICMP")
            and packet.how is None
            and packet.role is not Role.REQUEST
            and packet.key != self._key
            and turned(packet.ends) in self._ends
        )


def _sighting(packet: Foreign, role: Role) -> Sighting:
    source, source_port, destination, destination_port = packet.ends
    return Sighting(
        tag=0,
        role=role,
        source=source,
        source_port=source_port,
        destination=destination,
        destination_port=destination_port,
        hop_limit=packet.hop_limit,
        how=packet.how,
    )


def _made(
    host: str,
    first: Caught | None,
    steps: Sequence[TracedStep],
    tracked: Mapping[str, Collection[Entry]],
) -> Ends:
    """Return the ends of a packet as its host made it: a tap sees it behind that host's rules."""
    for each in steps:
        if each.host == host and each.role is Role.REQUEST and each.sighting:
            at = each.sighting
            return (at.source, at.source_port, at.destination, at.destination_port)
    assert first  # without any tap, a rule has seen it
    for entry in tracked.get(host, ()):
        same = entry.original.protocol == first.packet.protocol
        if same and turned(entry.reply[1:]) == first.packet.ends:
            return entry.original[1:]
    return first.packet.ends


def _replies(host: str, made_there: bool, seen: Iterable[Seen]) -> Iterator[Role]:
    """Yield the roles of what went back where the request was seen first."""
    for each in seen:
        role = each.sighting.role
        if role is not Role.REQUEST and each.host == host and each.outgoing is not made_there:
            yield role
