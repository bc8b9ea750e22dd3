"""The connections that proxies on the way make of their own, among all that was seen. Pure.

    client --- a connection ---> proxy --- one of its own ---> proxy or server

No packet says whose connection it is. But a server that tells from where it was asked names the
last one, by address and port. Without that, it is the only one that the proxy's host has begun
meanwhile towards one of the proxy's endpoints, if there is only one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple

from kproxy.address import host_port
from kproxy.explain.conversation import Caught, Conversation, Met, conversation
from kproxy.kernel.tracked import Entry
from kproxy.probe.foreign import Ends, Foreign, turned
from kproxy.probe.journey import Seen as Sighted
from kproxy.probe.packets import Role, Sighting

WINDOW_NS = 800_000_000  # less than until a SYN is sent again
Key = tuple[object, ...]


class Relay(NamedTuple):
    """A program that accepts connections, and makes others."""

    host: str
    name: str
    """In a sentence: "a proxy on node-a"."""
    endpoints: frozenset[tuple[str, int]] | None
    """Where it may connect to; None: anywhere."""
    ingress: bool = False
    """It is asked by HTTP, and may answer by itself."""


class Leg(NamedTuple):
    """One connection on the way."""

    conversation: Conversation
    by: Relay | None
    """The program that has made it; None: the client."""


class Way(NamedTuple):
    """The connections on the way, in order."""

    legs: tuple[Leg, ...]
    relay: Relay | None = None
    """What has accepted the last of them, if no connection of its own was found."""
    candidates: tuple[str, ...] = ()
    """Where `relay` may have connected to, if there was more than one connection."""
    certain: bool = True
    """The server has told which the last connection is."""


Relays = Callable[[str, str, int], Relay | None]
"""Return the relay on a host that listens at an address and port."""


class Seen(NamedTuple):
    """All that was observed meanwhile: captured in the order of time, met in order on each host."""

    caught: Sequence[Caught]
    met: Sequence[Met]
    tracked: Mapping[str, Collection[Entry]]


def way_of(key: Key, seen: Seen, relays: Relays, told: tuple[str, int] | None) -> Way:
    """Return the way of the connection whose SYN has this key.

    `told`: the address and port that the server at its end was asked from, if it has told.
    """
    syns = [each.packet for each in seen.caught if _is_syn(each.packet)]
    last = next((packet.key for packet in syns if packet.ends[:2] == told), None)
    legs = [Leg(_conversation(key, seen), None)]
    used: set[Key] = {key}
    while True:
        found = legs[-1].conversation
        place = accepted(found.seen)
        relay = relays(*place) if place and found.reply is Role.ANSWER else None
        if relay is None:
            certain = len(legs) == 1 or (last is not None and last in used)
            return Way(tuple(legs), certain=certain)
        begun = begun_at(relay, seen, used)
        if last in begun:
            begun = {last: begun[last]}
        if len(begun) != 1:
            return Way(tuple(legs), relay, tuple(sorted(begun.values())))
        (following,) = begun
        used.add(following)
        legs.append(Leg(_conversation(following, seen), relay))


def begun_at(relay: Relay, seen: Seen, known: Collection[Key]) -> dict[Key, str]:
    """Return the connections that may be those of a relay, as its host has begun them: by key,
    where they go to. `known`: those of others.
    """
    found: dict[Key, tuple[Foreign, bool]] = {}
    for each in seen.caught:
        begun = each.host == relay.host and each.outgoing
        found.setdefault(each.packet.key, (each.packet, begun))
    for met in seen.met:  # what rules drop before it leaves is caught nowhere
        begun = met.host == relay.host and not met.step.iif
        found.setdefault(met.packet.key, (met.packet, begun))
    return {
        key: host_port(*packet.ends[2:])
        for key, (packet, begun) in found.items()
        if begun
        and _is_syn(packet)
        and key not in known
        and (relay.endpoints is None or packet.ends[2:] in relay.endpoints)
    }


def _is_syn(packet: Foreign) -> bool:
    return packet.protocol == "TCP" and packet.role is Role.REQUEST


def _reply(found: Conversation) -> Role | None:
    """Return what its maker has got. An answer counts if it comes from where the SYN was sent to;
    one that has bypassed a host which translates comes from elsewhere.
    """
    here = [each for each in found.seen if each.host == found.first]
    sent = {
        turned(_ends(each.sighting))
        for each in here
        if each.outgoing and each.sighting.role is Role.REQUEST
    }
    for each in here:
        at = each.sighting
        if not each.outgoing and at.role is not Role.REQUEST and (at.icmp or _ends(at) in sent):
            return at.role
    return None


def _ends(at: Sighting) -> Ends:
    return at.source, at.source_port, at.destination, at.destination_port


def accepted(seen: Sequence[Sighted]) -> tuple[str, str, int] | None:
    """Return where a request has come to: host, address and port."""
    last = next((each for each in reversed(seen) if each.sighting.role is Role.REQUEST), None)
    if last is None or last.outgoing:
        return None
    return last.host, last.sighting.destination, last.sighting.destination_port


def _conversation(key: Key, seen: Seen) -> Conversation:
    caught = [each for each in seen.caught if each.packet.key in (key, ())]
    met = [each for each in seen.met if each.packet.key in (key, ())]
    found = conversation(key, caught, met, seen.tracked, WINDOW_NS)
    found = found._replace(reply=_reply(found))
    if found.reply is not Role.ANSWER:
        return found
    # A relay resets what it has accepted and cannot serve: that is not what a SYN meets.
    kept = tuple(each for each in found.seen if each.sighting.role is not Role.REFUSAL)
    steps = tuple(each for each in found.steps if each.role is not Role.REFUSAL)
    return found._replace(seen=kept, steps=steps)
