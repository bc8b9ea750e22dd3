"""The itinerary of a packet that another program has sent, from what was observed of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from kproxy.address import family_of, host_port
from kproxy.explain.captures import packets_of
from kproxy.explain.conversation import Conversation
from kproxy.explain.facts import Facts
from kproxy.explain.hops import ROLES, Hooks, endpoints_of
from kproxy.explain.itinerary import UNKNOWN, Hop, Itinerary, Question
from kproxy.explain.through import Hosts, part_of
from kproxy.explain.traces import TracedStep
from kproxy.explain.tracing import Traced
from kproxy.explain.walk import Flow
from kproxy.explain.ways import completed
from kproxy.forwarding.network import Host, HostKind, Network
from kproxy.kernel.tracked import Entry
from kproxy.outcome import Outcome
from kproxy.probe.taps import HasNamespace

_NAMESPACE = "namespace"  # the kind of hosts other than the node itself


class Observation(NamedTuple):
    """All that was observed of one request. The first host is the node."""

    conversation: Conversation
    hosts: Mapping[str, HasNamespace]
    hooks: Mapping[str, Hooks]
    tracked: Mapping[str, Collection[Entry]]
    ruled: frozenset[str]
    """The hosts that have rules."""
    describe: Callable[[TracedStep], str]
    chains: Mapping[str, str]
    lost: int = 0
    """Packets that came faster than they could be read."""


def itinerary_of(observation: Observation) -> Traced:
    """Return the way of a packet as far as it was observed, and its packets in every place."""
    found, hosts = observation.conversation, observation.hosts
    facts = Facts(hosts)
    network = _network(observation, facts)
    part = part_of(
        found,
        Hosts(
            network=network,
            chains=observation.chains,
            hooks=observation.hooks.__getitem__,
            tracked={name: [*entries] for name, entries in observation.tracked.items()},
            facts=facts,
            describe=observation.describe,
            completed=lambda hop: completed(hop, found.protocol, hosts[hop.host]),
        ),
    )
    made, told, reason = Flow(*found.made), part.observed, part.reason
    node = next(iter(hosts))
    hops = [hop if hop.host == node else replace(hop, kind=_NAMESPACE) for hop in part.hops]
    port = made.destination_port
    left = _left(hops)
    at, outcome, sentence = reason.at, told.outcome.value, reason.text
    if left and told.answered:
        at = host_port(left.after.destination, left.after.destination_port)
        sentence = "; ".join(reason.way) or f"{left.host} sends it on without any translation"
    elif left and told.outcome is Outcome.DROPPED and not _is_dropped(found.steps):
        outcome = UNKNOWN
        sentence = f"{left.host} sends it out by {left.exit}, and no answer was seen"
    elif observation.lost and told.outcome is Outcome.DROPPED and not _is_dropped(found.steps):
        outcome, sentence = UNKNOWN, f"it was seen last on {at}, but not all packets were seen"
    itinerary = Itinerary(
        question=Question(
            source=found.first if found.made_there else made.source,
            target=host_port(made.destination, port) if port else made.destination,
            address=made.destination,
            port=port,
            protocol=found.protocol,
            family=family_of(made.destination).value,
        ),
        outcome=outcome,
        answered=told.answered,
        at=at,
        sentence=sentence,
        endpoints=tuple(endpoints_of(hops, network)),
        hops=tuple(hops),
        unseen=tuple(_unseen(found, hops, left, observation)),
    )
    return Traced(itinerary, packets_of(found.seen, hops))


def _network(observation: Observation, facts: Facts) -> Network:
    node = next(iter(observation.hosts))
    hosts = {
        name: Host(
            name=name,
            kind=HostKind.NODE if name == node else HostKind.POD,
            addresses=tuple(sorted(facts.addresses(name))),
        )
        for name in observation.hosts
    }
    return Network(hosts=hosts, routes={}, routed=False)


def _left(hops: Sequence[Hop]) -> Hop | None:
    """Return the hop by which the request left what was watched, None if it did not leave."""
    last = next((hop for hop in reversed(hops) if hop.role == "request"), None)
    return last if last and last.exit and last.exit != "lo" else None


def _is_dropped(steps: Sequence[TracedStep]) -> bool:
    return any(each.step.verdict == "drop" for each in steps)


def _unseen(
    found: Conversation, hops: Sequence[Hop], left: Hop | None, observation: Observation
) -> Iterator[str]:
    """Yield sentences on what could not be observed."""
    if not found.made_there:
        entry = next((hop.entry for hop in hops if hop.host == found.first), "")
        yield f"its way before it came in to {found.first} by {entry}"
    if left:
        yield f"its way after it left {left.host} by {left.exit}"
    marked = {(host, ROLES[role]) for host, role in found.marked}
    for hop in hops:
        if hop.host in observation.ruled and not hop.steps and (hop.host, hop.role) not in marked:
            yield f"the rules of {hop.host} that the {hop.role} has met"
    if found.reply is None:
        yield "an answer"
    if observation.lost:
        yield f"{observation.lost} packets of any kind, which came faster than they could be read"
