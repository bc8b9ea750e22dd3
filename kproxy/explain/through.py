"""The itinerary of a connection through proxies, from what was observed of each of its parts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from kproxy.address import host_port
from kproxy.explain.captures import packets_of
from kproxy.explain.conversation import Conversation
from kproxy.explain.facts import Facts
from kproxy.explain.hops import Hooks, Observed, endpoints_of, hops_of
from kproxy.explain.itinerary import ONWARD, Endpoint, Hop, Itinerary, Question
from kproxy.explain.onward import Leg, Way
from kproxy.explain.pcapng import Packet
from kproxy.explain.reason import Reason, explain
from kproxy.explain.relaying import Made
from kproxy.explain.traces import TracedStep
from kproxy.explain.walk import Flow
from kproxy.forwarding.network import Network
from kproxy.forwarding.network import Packet as Probe
from kproxy.kernel.tracked import Entry
from kproxy.outcome import Observation
from kproxy.probe.journey import Journey, conclude


class Hosts(NamedTuple):
    """The hosts of a lab or a machine, and all that was observed on them."""

    network: Network
    chains: Mapping[str, str]
    hooks: Callable[[str], Hooks]
    tracked: Mapping[str, Sequence[Entry]]
    facts: Facts
    describe: Callable[[TracedStep], str]
    completed: Callable[[Hop], Hop]


class Part(NamedTuple):
    """One connection, or another exchange: `asked` is the packet that begins it."""

    hops: list[Hop]
    observed: Observation
    reason: Reason
    asked: Probe


def itinerary_through(
    question: Question, way: Way, made: Made, hosts: Hosts
) -> tuple[Itinerary, list[Packet]]:
    """Return the way of a connection, and its packets in every place."""
    hops: list[Hop] = []
    endpoints: list[Endpoint] = []
    packets: list[Packet] = []
    clauses: list[str] = []
    parts = [part_of(leg.conversation, hosts) for leg in way.legs]
    for part, leg in zip(parts, way.legs, strict=True):
        if leg.by:
            clauses.append(_made(leg, part, made))
            endpoints.append(_chosen(part, hosts.network))
        endpoints += endpoints_of(part.hops, hosts.network)
        packets += packets_of(leg.conversation.seen, part.hops)
        hops += [replace(hop, role=ONWARD[hop.role]) if leg.by else hop for hop in part.hops]
        clauses += part.reason.way
    last = parts[-1]
    answered = last.observed.answered
    if way.relay:
        answered = bool(way.candidates or (way.relay.ingress and made.status))
        clauses.append(_unfollowed(way, made))
    elif not last.observed.answered:
        clauses.append(last.reason.text)
    itinerary = Itinerary(
        question=question,
        outcome=last.observed.outcome.value,
        answered=answered,
        at=last.reason.at,
        sentence="; ".join(clauses),
        endpoints=tuple(endpoints),
        hops=tuple(hops),
        unseen=tuple(_unseen(way, last)),
    )
    return itinerary, packets


def part_of(found: Conversation, hosts: Hosts) -> Part:
    """Return what was done to the packets of a conversation, and its end with the reason."""
    made = Flow(*found.made)
    told = conclude(hosts.network, found.first, found.seen, found.reply)
    journey = Journey(0, made.source, made.source_port, found.seen, told)
    observed = Observed(
        journey=journey,
        protocol=found.protocol,
        made=made,
        steps=found.steps,
        hooks={each.host: hosts.hooks(each.host) for each in found.steps},
        tracked=hosts.tracked,
    )
    hops = hops_of(observed, hosts.network, hosts.chains, hosts.describe)
    asked = Probe(
        client=found.first,
        address=made.destination,
        port=made.destination_port,
        protocol=found.protocol,
    )
    reason = explain(asked, journey, found.steps, hosts.facts, hosts.describe)
    return Part([hosts.completed(hop) for hop in hops], told, reason, asked)


def _made(leg: Leg, part: Part, made: Made) -> str:
    """Return a clause on the connection that a relay has made."""
    assert leg.by
    why = f"for {made.asked} " if made.asked and leg.by.ingress else ""
    place = host_port(part.asked.address, part.asked.port)
    return f"{leg.by.name} accepts it, and {why}makes a connection of its own to {place}"


def _unfollowed(way: Way, made: Made) -> str:
    """Return a clause on a relay whose own connection was not found."""
    assert way.relay
    if way.candidates:
        return f"{way.relay.name} accepts it, and makes a connection of its own to an endpoint"
    if way.relay.ingress and made.status:
        return f"{way.relay.name} answers {made.asked} by itself, with status {made.status}"
    return f"{way.relay.name} accepts it, but no connection of its own to an endpoint was seen"


def _chosen(part: Part, network: Network) -> Endpoint:
    owner = next(iter(network.owners.get(part.asked.address, ())), None)
    return Endpoint(
        address=part.asked.address,
        port=part.asked.port,
        host=owner.name if owner else "",
        chosen_by=part.asked.client,
    )


def _unseen(way: Way, last: Part) -> Iterator[str]:
    """Yield how sure it is which the connections are, if it is not."""
    if way.candidates:
        places = ", ".join(way.candidates)
        yield f"which of the connections that {last.observed.at} began meanwhile it is: to {places}"
    elif len(way.legs) > 1 and not way.certain:
        by = last.asked.client
        yield f"whose connection it is: {by} began no other one to an endpoint meanwhile"
