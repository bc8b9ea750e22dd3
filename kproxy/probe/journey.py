"""Makes an observation from sightings. Pure, so that it can be tested without a namespace.

Sightings come from many sockets in no particular order. They are ordered by the hop limit, which
every router lowers by one, and between two routers (bridges, tunnels) by the kernel's clock. A
relay (a proxy that receives datagrams and sends its own) begins with a full hop limit again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from kproxy.address import Family, family_of
from kproxy.forwarding.network import HostKind, Network
from kproxy.outcome import How, Observation
from kproxy.probe.packets import HOP_LIMIT, Role, Sighting


@dataclass(frozen=True, slots=True)
class Seen:
    """A sighting with its host, link, direction and time."""

    host: str
    outgoing: bool
    sighting: Sighting
    link: str = ""
    time_ns: int = 0
    encapsulated: bool = False  # it was inside a packet of a tunnel
    data: bytes = (
        b""  # the captured packet from its IP header on, with the tunnel's if there is one
    )


class Journey(NamedTuple):
    """One probe: its tag, its original source, all sightings in order, and its outcome."""

    tag: int
    source: str
    source_port: int
    seen: tuple[Seen, ...]
    observed: Observation


def conclude(
    network: Network, client: str, seen: Iterable[Seen], reply: Role | None = None
) -> Observation:
    """Return the outcome of one probe, from all its sightings.

    `reply`: received by the client's own stack from the address it had sent to; None for nothing.
    ICMP errors need no `reply`: one that enters the client has reached it, unless it is about what
    a relay has sent. If a refusal does not reach the client, the packet counts as dropped.
    """
    ordered = in_order(seen)
    requests = [entry for entry in ordered if entry.sighting.role is Role.REQUEST]
    hops = _hops(client, requests)
    refusals = [entry for entry in ordered if entry.sighting.role is Role.REFUSAL]
    if refusals:
        first = refusals[0]
        relayed = bool(_relays(requests))
        if reply is Role.REFUSAL or (not relayed and _icmp_entered(client, refusals)):
            return Observation.refused(first.host, first.sighting.how or How.OTHER, hops=hops)
        return Observation.dropped(hops[-1], hops=hops)
    if requests:
        last = requests[-1]
        answered = reply is Role.ANSWER
        if answered or _arrived(network, last):
            source = last.sighting.source
            return Observation.delivered(last.host, source, answered=answered, hops=hops)
    return Observation.dropped(hops[-1], hops=hops)


def in_order(seen: Iterable[Seen]) -> list[Seen]:
    by_role = defaultdict(list)
    for entry in seen:
        by_role[entry.sighting.role].append(entry)
    relays = {role: _relays(entries).values() for role, entries in by_role.items()}

    def key(entry: Seen) -> tuple[int, int, int, bool]:
        legs = sum(began <= entry.time_ns for began in relays[entry.sighting.role])
        return (legs, -entry.sighting.hop_limit, entry.time_ns, not entry.outgoing)

    return sorted((entry for entries in by_role.values() for entry in entries), key=key)


def _relays(seen: Sequence[Seen]) -> Mapping[tuple[str, int], int]:
    """Return when a relay sent a packet of its own, by its source. `seen`: of one role.

    A host that forwards a packet lowers its hop limit, whatever it translates.
    """
    found: dict[tuple[str, int], int] = {}
    for entry in seen:
        if entry.outgoing and entry.sighting.hop_limit == HOP_LIMIT:
            source = (entry.sighting.source, entry.sighting.source_port)
            if any(
                other.host == entry.host
                and not other.outgoing
                and other.time_ns < entry.time_ns
                and (other.sighting.source, other.sighting.source_port) != source
                for other in seen
            ):
                found[source] = min(entry.time_ns, found.get(source, entry.time_ns))
    return found


def _hops(client: str, requests: Sequence[Seen]) -> tuple[str, ...]:
    hops = [client]
    for entry in requests:
        if entry.host != hops[-1]:
            hops.append(entry.host)
    return tuple(hops)


def _icmp_entered(client: str, refusals: Iterable[Seen]) -> bool:
    return any(
        entry.host == client and not entry.outgoing and entry.sighting.icmp for entry in refusals
    )


def _arrived(network: Network, last: Seen) -> bool:
    """Tell whether a pod accepts the packet: one to its address, but in IPv4 not from its own
    address (a martian). Pods on the host network are their node, where they listen.
    """
    host = network.hosts[last.host]
    source = last.sighting.source
    martian = family_of(source) is Family.IPV4 and source in host.addresses
    port = last.sighting.destination_port
    serves = host.kind is HostKind.POD or any(each == port for _, each in host.listens)
    return (
        serves and not last.outgoing and last.sighting.destination in host.addresses and not martian
    )
