"""Itineraries of probes that were followed by taps and traces: conntrack and routes added."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from functools import cache
from typing import Self

from msgspec.structs import replace

from kproxy.address import family_of, host_port
from kproxy.backend import load, modes
from kproxy.errors import KernelRefused, KproxyError, Unsupported
from kproxy.explain.facts import Facts
from kproxy.explain.hops import Observed, endpoints_of, hops_of
from kproxy.explain.itinerary import Balanced, Hop, Itinerary, Question, Route
from kproxy.explain.onward import Seen, way_of
from kproxy.explain.pcapng import Packet as Captured
from kproxy.explain.reason import Reason
from kproxy.explain.relaying import Made, RelaysOf
from kproxy.explain.through import Hosts, itinerary_through
from kproxy.explain.traces import TracedStep, Traces, deciding
from kproxy.explain.walk import Flow
from kproxy.forwarding.network import Packet
from kproxy.kernel.ipvs_connections import BalancedConnection, balanced_connections
from kproxy.kernel.route_lookup import route_of
from kproxy.kernel.tracked import Entry, TrackedEvents
from kproxy.lab import Lab
from kproxy.probe.journey import Journey
from kproxy.probe.taps import HasNamespace


class Ways:
    """Makes itineraries in one lab, batch by batch. A context manager.

    Each host that may translate tells it about its entries of conntrack, until it is closed.
    """

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._tracked: dict[str, TrackedEvents] | None = None
        self._open = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def begin(self) -> None:
        """Forget what was told so far: the probes of a batch are sent after this."""
        if self._tracked is None:
            self._tracked = {}
            for name, host in deciding(self._lab).items():
                # Without it the itinerary has no entries of conntrack.
                with suppress(Unsupported), host.namespace.entered():
                    self._tracked[name] = self._open.enter_context(TrackedEvents())
        self._read()

    def of(
        self,
        packets: Sequence[Packet],
        journeys: Sequence[Journey],
        steps: Mapping[int, Sequence[TracedStep]],
        reasons: Sequence[Reason],
        traces: Traces,
    ) -> list[Itinerary]:
        """Return the way of each packet. `steps`: by tag; `traces`: what they were read from."""
        network, hosts = self._lab.network, self._lab.hosts
        tracked = self._read()
        met = {each.host for of_probe in steps.values() for each in of_probe}
        hooks = {host: traces.hooks(host) for host in met}
        chains = chains_of(self._lab.mode)
        found = []
        for packet, journey, reason in zip(packets, journeys, reasons, strict=True):
            observed = Observed(
                journey=journey,
                protocol=packet.protocol,
                made=Flow(journey.source, journey.source_port, packet.address, packet.port),
                steps=steps.get(journey.tag, []),
                hooks=hooks,
                tracked=tracked,
            )
            hops = hops_of(observed, network, chains, traces.describe)
            hops = [completed(hop, packet.protocol, hosts[hop.host]) for hop in hops]
            made = Itinerary(
                question=_question(packet),
                outcome=journey.observed.outcome.value,
                answered=journey.observed.answered,
                at=reason.at,
                sentence=reason.text,
                endpoints=tuple(endpoints_of(hops, network)),
                hops=tuple(hops),
            )
            found.append(made)
        return found

    def through(
        self, question: Question, made: Made, relays: RelaysOf, facts: Facts, traces: Traces
    ) -> tuple[Itinerary, list[Captured], bool]:
        """Return the way of a connection that a relay has accepted, with that of the relay's own,
        and the packets of both in every place; and whether there was nothing else that could have
        been the relay's own.
        """
        lab, tracked = self._lab, self._read()
        way = way_of(made.key, Seen(made.caught, made.met, tracked), relays.at, made.told)
        hosts = Hosts(
            network=lab.network,
            chains=chains_of(lab.mode),
            hooks=cache(traces.hooks),
            tracked=tracked,
            facts=facts,
            describe=traces.describe,
            completed=lambda hop: completed(hop, question.protocol, lab.hosts[hop.host]),
        )
        return *itinerary_through(question, way, made, hosts), not way.candidates

    def _read(self) -> dict[str, list[Entry]]:
        return {host: events.read() for host, events in (self._tracked or {}).items()}


def _question(packet: Packet) -> Question:
    return Question(
        source=packet.client,
        target=host_port(packet.address, packet.port) if packet.port else packet.address,
        address=packet.address,
        port=packet.port,
        protocol=packet.protocol,
        family=family_of(packet.address).value,
    )


def completed(hop: Hop, protocol: str, host: HasNamespace) -> Hop:
    """Return the hop with the routing decision, and the choice of IPVS."""
    with host.namespace.entered():
        ipvs = _balanced(hop, protocol) if hop.role == "request" else None
        return replace(hop, route=_route(hop), ipvs=ipvs)


def chains_of(mode: str | None) -> Mapping[str, str]:
    """Return the purposes of chains, see `Mode.chains`: of all modes, if any proxy may run."""
    if mode is not None:
        return load(mode).chains
    return {begin: words for each in modes() for begin, words in load(each).chains.items()}


def _route(hop: Hop) -> Route | None:
    """Return the decision for the packet as routing saw it: with its destination translated, and
    its source not yet. None if it was dropped before that.
    """
    if any((step.hook, step.verdict) == ("prerouting", "drop") for step in hop.steps):
        return None
    found = _looked_up(hop, 0)
    mark = hop.conntrack.mark if hop.conntrack else 0
    if mark and found and found.dev != hop.exit:  # rules may give the packet this mark
        marked = _looked_up(hop, mark)
        return marked if marked and marked.dev == hop.exit else found
    return found


def _looked_up(hop: Hop, mark: int) -> Route | None:
    try:
        found = route_of(
            hop.after.destination, source=hop.before.source, entry=hop.entry, mark=mark
        )
    except KernelRefused as error:
        return Route(kind="", via="", dev="", table="", problem=str(error).partition(": ")[2])
    except OSError:  # the link, or the pod, has gone
        return None
    return Route(kind=found.kind, via=found.via, dev=found.dev, table=found.table, problem="")


def _balanced(hop: Hop, protocol: str) -> Balanced | None:
    """Return the choice of IPVS for a packet on the host of this thread, if it made one."""
    before = hop.before
    for each in balanced_connections():
        asked = (each.protocol, each.client[1], *each.virtual)
        if asked == (protocol, before.source_port, before.destination, before.destination_port):
            return Balanced(
                virtual_server=host_port(*each.virtual),
                scheduler=_scheduler(each),
                real_server=host_port(*each.real),
            )
    return None


def _scheduler(connection: BalancedConnection) -> str:
    from kproxy.kernel.ipvs import Ipvs, VirtualServer

    server = VirtualServer(connection.protocol, *connection.virtual)
    try:
        with Ipvs() as ipvs:
            settings = ipvs.virtual_servers(family_of(server.address)).get(server)
    except KproxyError:
        return ""
    return settings.scheduler if settings else ""
