"""Connections in a running lab, which show the outcome, and probes, which show the reason."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import NamedTuple, Self

from kproxy.address import Family
from kproxy.backend import load
from kproxy.explain.facts import Facts
from kproxy.explain.itinerary import Itinerary
from kproxy.explain.reason import Mechanism, Reason, explain, relayed
from kproxy.explain.relaying import RelaysOf
from kproxy.explain.traces import Traces, deciding
from kproxy.explain.ways import Ways
from kproxy.forwarding.network import Packet
from kproxy.lab import Lab
from kproxy.outcome import Connection, Observation, Outcome
from kproxy.probe import Prober
from kproxy.probe.connection import Exchange, greeting
from kproxy.probe.following import Followed
from kproxy.probe.http import Fetched, HttpRequest, request_exchange
from kproxy.probe.journey import Journey

_ERRORS = 400  # statuses from here on


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A connection to make."""

    packet: Packet  # the first one
    host: str = ""  # send an HTTP request for this host, as to an ingress


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """The outcome of a request, and its reason."""

    connection: Connection
    """Its `source` is the address seen by the server, or by the ingress before it."""
    hops: tuple[str, ...]
    """Of the probe, like `reason`."""
    reason: Reason
    steady: bool
    """The probe and the connection were both answered, or neither was."""
    itinerary: Itinerary | None = None
    """The way of the probe, of an explainer that tells ways."""
    relayed: bool = False
    """Likewise: a relay has accepted the probe, so that its way ends there."""


class _Explained(NamedTuple):
    """A probe, where and why it ended, and its way if that is told."""

    journey: Journey
    reason: Reason
    way: Itinerary | None


class Explainer:
    """Makes requests in one lab, batch by batch. A context manager; not thread-safe.

    Taps and traces stay open between batches: opening them takes longer than the requests. The lab
    must end with it, because rules that trace are left in its hosts.
    """

    def __init__(self, lab: Lab, family: Family, *, ways: bool = False) -> None:
        """Take the lab and the family of every request. `ways`: tell the way of each probe."""
        self._lab, self._family = lab, family
        self._relays = lab.mode is not None and load(lab.mode).forwards_itself
        self._open = ExitStack()
        self._taps: Prober | None = None
        self._traces: Traces | None = None
        self._ways = self._open.enter_context(Ways(lab)) if ways else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def watching(self) -> tuple[Prober, Traces]:
        """Return its taps and traces, which it starts if it has not asked yet. They stay its own:
        to be used between batches, and not to be closed.
        """
        return self._prober(), self._tracing()

    def ask(self, requests: Sequence[Request]) -> list[Explanation]:
        """Make all requests at once, and explain each, in their order.

        Raises Unsupported if this kernel cannot trace.
        """
        prober = self._prober()
        exchanges = [_exchange(request) for request in requests]
        with Followed(self._lab, prober, exchanges) as connections:
            explained = self._explained([request.packet for request in requests])
            journeys, reasons, ways = zip(*explained, strict=True) if explained else ((),) * 3
            connections.conclude(journeys, lambda place: reasons[place].lasts)
            results = list(map(_as_connection, connections.results()))
        relays = RelaysOf(self._lab) if self._ways else None
        found = []
        for request, journey, reason, way, connection in zip(
            requests, journeys, reasons, ways, results, strict=True
        ):
            answered = journey.observed.answered
            if answered and not connection.success and (request.host or self._relays):
                answered, reason = False, _not_served(reason)
            found.append(
                Explanation(
                    connection=connection,
                    hops=journey.observed.hops,
                    reason=reason,
                    steady=answered == connection.success,
                    itinerary=way,
                    relayed=bool(relays and relays.met(request.packet, journey)),
                )
            )
        return found

    def ask_flow(self, packet: Packet) -> Explanation:
        """Send a probe for a packet that has a source port, and explain it.

        It is the next packet of the flow that earlier packets with these addresses and ports have
        begun, and it is the only one: no connection is made. Raises like `ask`.
        """
        ((journey, reason, way),) = self._explained([packet])
        return Explanation(
            connection=_observed(journey.observed),
            hops=journey.observed.hops,
            reason=reason,
            steady=True,
            itinerary=way,
        )

    def _explained(self, packets: Sequence[Packet]) -> list[_Explained]:
        """Send a traced probe for each packet, and another one if no reason was found."""
        explained = self._probe(packets)
        unclear = [
            place
            for place, (_, reason, _) in enumerate(explained)
            if reason.mechanism is Mechanism.UNKNOWN
        ]
        if unclear:  # perhaps a packet of theirs is late
            again = self._probe([packets[place] for place in unclear], patient=True)
            for place, each in zip(unclear, again, strict=True):
                explained[place] = each
        return explained

    def _probe(self, packets: Sequence[Packet], *, patient: bool = False) -> list[_Explained]:
        """Send a traced probe for each packet, and explain it."""
        prober, traces = self._prober(), self._tracing()
        traces.discard()  # what the connections have left there
        if self._ways:
            self._ways.begin()
        journeys = prober.follow_many(packets, patient=patient)
        steps = traces.read({journey.tag for journey in journeys})
        network, relays = self._lab.network, self._relays
        facts = Facts(self._lab.hosts, relays=relays)
        reasons = []
        for packet, journey in zip(packets, journeys, strict=True):
            of_probe = steps.get(journey.tag, [])
            reason = explain(packet, journey, of_probe, facts, traces.describe)
            reasons.append(relayed(reason, packet, network) if relays else reason)
        ways: Sequence[Itinerary | None] = [None] * len(packets)
        if self._ways:
            ways = self._ways.of(packets, journeys, steps, reasons, traces)
        return list(map(_Explained, journeys, reasons, ways))

    def _prober(self) -> Prober:
        if self._taps is None:
            self._taps = self._open.enter_context(Prober(self._lab))
        return self._taps

    def _tracing(self) -> Traces:
        """Start tracing at first use: after the connections, whose trace is not needed."""
        if self._traces is None:
            lab = self._lab
            variant = lab.iptables_variant(self._family)
            self._traces = Traces(deciding(lab), variant, families=[self._family])
            self._open.callback(self._traces.leave)
        return self._traces


def _exchange(request: Request) -> Exchange[Fetched | Connection]:
    if not request.host:
        return greeting(request.packet)
    return request_exchange(
        HttpRequest(
            client=request.packet.client,
            address=request.packet.address,
            port=request.packet.port,
            host=request.host,
        )
    )


def _observed(observed: Observation) -> Connection:
    """Return the outcome of a packet as that of a connection."""
    return Connection(
        outcome=observed.outcome.of_connection(answered=observed.answered),
        pod=observed.pod,
        source=observed.source,
    )


def _as_connection(fetched: Fetched | Connection) -> Connection:
    """Return the outcome as a connection: that of a request has the source that the ingress saw."""
    match fetched:
        case Connection():
            return fetched
        case Fetched(status=504):  # the ingress gave up sooner than the client
            outcome = Outcome.TIMEOUT
        case Fetched(pod="", status=status) if status < _ERRORS:
            return Connection(outcome=Outcome.ANSWERED, said=str(fetched).encode())
        case Fetched(pod=""):  # the ingress has no backend
            outcome = Outcome.REFUSED
        case _:
            outcome = Outcome.SUCCESS
    return Connection(outcome=outcome, pod=fetched.pod, source=fetched.forwarded_for)


def _not_served(reason: Reason) -> Reason:
    """Return the reason of a request that an ingress or a relay accepted, as it does all, but that
    got no answer in time.
    """
    text = f"{reason.at} accepts it, but gets no answer from the Service behind it"
    return replace(reason, mechanism=Mechanism.UNSERVED, text=text)
