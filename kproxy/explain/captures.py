"""The packets of a probe for a capture file, each with the rules that it met there. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from kproxy.explain.hops import ROLES
from kproxy.explain.itinerary import Hop
from kproxy.explain.pcapng import Packet
from kproxy.probe.journey import Seen

_BEFORE_ROUTING = ("prerouting", "input")


def packets_of(seen: Sequence[Seen], hops: Iterable[Hop]) -> tuple[Packet, ...]:
    """Return all sightings of a probe. On each hop, the last one coming in and the last one going
    out have the rules that did something as their comments.
    """
    hops = list(hops)
    found: list[Packet] = []
    for role, name in ROLES.items():
        waiting = iter([hop for hop in hops if hop.role == name])
        of_role = [each for each in seen if each.sighting.role is role]
        for host, group in groupby(of_role, key=lambda each: each.host):
            hop = next((hop for hop in waiting if hop.host == host), None)
            found += _of_hop(list(group), hop)
    return tuple(found)


def _of_hop(seen: Sequence[Seen], hop: Hop | None) -> Iterator[Packet]:
    last = {each.outgoing: each for each in seen}
    for each in seen:
        both = len(last) == 2
        comment = (
            _comment(hop, each.outgoing if both else None) if each is last[each.outgoing] else ""
        )
        yield Packet(
            interface=f"{each.host}/{each.link}",
            outgoing=each.outgoing,
            time_ns=each.time_ns,
            data=each.data,
            comment=comment,
        )


def _comment(hop: Hop | None, outgoing: bool | None) -> str:
    """Return the rules before or after the routing decision, or all of them."""
    steps = [step for step in hop.steps if step.effect] if hop else []
    if outgoing is not None:
        steps = [step for step in steps if (step.hook not in _BEFORE_ROUTING) == outgoing]
    return "\n".join(f"{step.hook} {step.table} {step.rule or step.chain}" for step in steps)
