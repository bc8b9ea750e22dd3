"""The hops of an itinerary, from the sightings of taps and the steps of traces. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from typing import NamedTuple

from kproxy.explain.effects import effect_of, purpose_of
from kproxy.explain.itinerary import Endpoint, Ends, Hop, Role, Step, Tracked
from kproxy.explain.traces import TracedStep
from kproxy.explain.walk import Flow, Visit, visits
from kproxy.forwarding.network import Network
from kproxy.kernel.tracked import Entry, Tuple
from kproxy.outcome import How
from kproxy.probe import packets
from kproxy.probe.journey import Journey

Hooks = Mapping[tuple[str, str, str], str]  # by family, table and chain; see `Trace.hooks`
ROLES: Mapping[packets.Role, Role] = {
    packets.Role.REQUEST: "request",
    packets.Role.ANSWER: "reply",
    packets.Role.REFUSAL: "error",
}
_WITH_PORTS = (None, How.RST, How.ABORT)  # other refusals are ICMP errors
_SENT = {"TCP": "SYN", "UDP": "UDP", "SCTP": "INIT", "ICMP": "echo request"}
_ANSWERED = {"TCP": "SYN-ACK", "UDP": "UDP", "SCTP": "INIT ACK", "ICMP": "echo reply"}


class Observed(NamedTuple):
    """All that was observed of one probe."""

    journey: Journey
    protocol: str
    made: Flow
    """The ends of the probe as its client made it."""
    steps: Sequence[TracedStep]
    hooks: Mapping[str, Hooks]
    """By host."""
    tracked: Mapping[str, Sequence[Entry]]
    """By host: the entries that changed meanwhile."""


def hops_of(
    observed: Observed,
    network: Network,
    chains: Mapping[str, str],
    describe: Callable[[TracedStep], str],
) -> list[Hop]:
    """Return the hops, without routes and without the choices of IPVS.

    `chains`: as `Mode.chains`. `describe` gives the text of a rule.
    """
    found = []
    for role in ROLES:
        for visit, steps in _walked(observed, role):
            named = _named(steps, observed.hooks.get(visit.host, {}), chains, describe)
            entry = _entry(visit, role, observed)
            found.append(
                Hop(
                    host=visit.host,
                    kind=network.hosts[visit.host].kind.value,
                    role=ROLES[role],
                    packet=_packet(role, observed.protocol, visit.how),
                    entry=visit.entry,
                    exit=visit.exit,
                    before=_ends(visit.before),
                    after=_after(visit, steps, entry),
                    steps=tuple(named),
                    conntrack=_tracked(entry),
                    route=None,
                    ipvs=None,
                )
            )
    return found


def endpoints_of(hops: Sequence[Hop], network: Network) -> list[Endpoint]:
    """Return the destinations that hosts chose for the request, in order."""
    found = []
    for hop in hops:
        address, port = hop.after.destination, hop.after.destination_port
        changed = (address, port) != (hop.before.destination, hop.before.destination_port)
        if hop.role == "request" and changed:
            owner = next(iter(network.owners.get(address, ())), None)
            found.append(
                Endpoint(
                    address=address,
                    port=port,
                    host=owner.name if owner else "",
                    chosen_by=hop.host,
                )
            )
    return found


def _walked(observed: Observed, role: packets.Role) -> list[tuple[Visit, list[TracedStep]]]:
    """Return the visits of one role with the steps of each; also those that no tap has seen."""
    made = observed.made if role is packets.Role.REQUEST else None
    left = [each for each in observed.steps if each.role is role]
    found: list[tuple[Visit, list[TracedStep]]] = []
    for visit in visits(observed.journey.seen, role, made):
        mine = [each for each in left if _belongs(each, visit)]
        left = [each for each in left if each not in mine]
        found.append((visit, mine))
    unseen = [
        (_unseen(mine, made), mine)
        for _, group in groupby(left, key=lambda each: each.host)
        for mine in [list(group)]
    ]
    if made and not found and not unseen:
        unseen = [(Visit(observed.journey.observed.hops[0], "", "", made, made), [])]
    # What no tap has seen was dropped where it was made: a request at its beginning.
    return [*unseen, *found] if made else [*found, *unseen]


def _belongs(traced: TracedStep, visit: Visit) -> bool:
    limit = traced.sighting.hop_limit if traced.sighting else 0
    # Forwarding lowers it before the forward hook, where a packet may end that came in.
    there = {limit} if visit.exit else {limit, limit + 1}
    return traced.host == visit.host and not visit.hop_limits.isdisjoint(there)


def _unseen(steps: Sequence[TracedStep], made: Flow | None) -> Visit:
    first = steps[0].sighting
    assert first
    before = made or Flow(
        first.source, first.source_port, first.destination, first.destination_port
    )
    return Visit(steps[0].host, steps[0].step.iif, "", before, before, how=first.how)


def _after(visit: Visit, steps: Sequence[TracedStep], entry: Entry | None) -> Ends:
    """Return the ends that the packet had at last on a host.

    A tap sees a packet that does not leave only as it came in: what was translated then is told by
    conntrack, or by what a later hook saw.
    """
    if visit.exit:
        return _ends(visit.after)
    if entry and visit.how in _WITH_PORTS:
        before = tuple(visit.before)
        if tuple(entry.original[1:]) == before:
            return _of_tuple(entry.reply).turned
        if tuple(entry.reply[1:]) == before:
            return _of_tuple(entry.original).turned
    last = steps[-1].sighting if steps else None
    if last is None:
        return _ends(visit.after)
    return Ends(last.source, last.source_port, last.destination, last.destination_port)


def _named(
    steps: Iterable[TracedStep],
    hooks: Hooks,
    chains: Mapping[str, str],
    describe: Callable[[TracedStep], str],
) -> Iterable[Step]:
    """Yield the steps in the words of an itinerary. A chain that is no base chain is in the hook of
    the base chain that has led to it.
    """
    hook = ""
    for traced in steps:
        step = traced.step
        base = hooks.get((step.family, step.table, step.chain), "")
        hook = base or hook
        text = describe(traced)
        effect = effect_of(step, text, chains, base=bool(base))
        yield Step(
            hook=hook,
            table=step.table,
            chain=step.chain,
            rule=text,
            verdict=step.verdict,
            effect=effect,
            purpose=purpose_of(step, text, effect, chains),
        )


def _entry(visit: Visit, role: packets.Role, observed: Observed) -> Entry | None:
    """Return the entry that the packet belongs to on that host."""
    entries = observed.tracked.get(visit.host, ())
    ends = {tuple(visit.before), tuple(visit.after)}
    for entry in entries:
        if entry.original.protocol == observed.protocol and ends & _all_ends(entry):
            return entry
    if role is not packets.Role.REFUSAL or visit.how in _WITH_PORTS:
        return None
    # An ICMP error has no ends of its own: it belongs to the connection that it is about.
    for request in visits(observed.journey.seen, packets.Role.REQUEST, observed.made):
        if request.host == visit.host:
            return _entry(request, packets.Role.REQUEST, observed)
    return None


def _all_ends(entry: Entry) -> set[tuple[object, ...]]:
    """Return the ends of a packet of an entry, before and after translation."""
    ends = (entry.original, entry.reply)
    return {
        *(tuple(each[1:]) for each in ends),
        *((each[3], each[4], each[1], each[2]) for each in ends),
    }


def _tracked(entry: Entry | None) -> Tracked | None:
    if entry is None:
        return None
    return Tracked(
        state=entry.state,
        original=_of_tuple(entry.original),
        reply=_of_tuple(entry.reply),
        mark=entry.mark,
        deleted=entry.deleted,
    )


def _packet(role: packets.Role, protocol: str, how: How | None) -> str:
    if role is packets.Role.REFUSAL:
        return (how or How.OTHER).value
    return (_SENT if role is packets.Role.REQUEST else _ANSWERED)[protocol]


def _ends(flow: Flow) -> Ends:
    return Ends(*flow)


def _of_tuple(found: Tuple) -> Ends:
    return Ends(*found[1:])
