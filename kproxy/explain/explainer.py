"""Connections in a running lab, which show the outcome, and probes, which show the reason."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Self

from kproxy.address import Family
from kproxy.backend import load
from kproxy.explain.facts import Facts
from kproxy.explain.reason import Mechanism, Reason, explain
from kproxy.explain.traces import Traces, deciding
from kproxy.forwarding.network import Packet
from kproxy.lab import Lab
from kproxy.outcome import Connection, Outcome
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


class Explainer:
    """Makes requests in one lab, batch by batch. A context manager; not thread-safe.

    Taps and traces stay open between batches: opening them takes longer than the requests. The lab
    must end with it, because rules that trace are left in its hosts.
    """

    def __init__(self, lab: Lab, family: Family) -> None:
        """Take the lab and the family of every request."""
        self._lab, self._family = lab, family
        self._open = ExitStack()
        self._taps: Prober | None = None
        self._traces: Traces | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def ask(self, requests: Sequence[Request]) -> list[Explanation]:
        """Make all requests at once, and explain each, in their order.

        Raises Unsupported if this kernel cannot trace.
        """
        prober = self._prober()
        exchanges = [_exchange(request) for request in requests]
        with Followed(self._lab, prober, exchanges) as connections:
            explained = self._probe(requests)
            unclear = [
                place
                for place, (journey, reason) in enumerate(explained)
                if reason.mechanism is Mechanism.UNKNOWN
            ]
            if unclear:  # perhaps a packet of theirs is late
                again = self._probe([requests[place] for place in unclear], patient=True)
                for place, each in zip(unclear, again, strict=True):
                    explained[place] = each
            journeys, reasons = zip(*explained, strict=True) if explained else ((), ())
            connections.conclude(journeys, lambda place: reasons[place].lasts)
            results = list(map(_as_connection, connections.results()))
        found = []
        for request, journey, reason, connection in zip(
            requests, journeys, reasons, results, strict=True
        ):
            answered = journey.observed.answered
            if request.host and answered and not connection.success:
                answered, reason = False, _not_served(reason)
            found.append(
                Explanation(
                    connection=connection,
                    hops=journey.observed.hops,
                    reason=reason,
                    steady=answered == connection.success,
                )
            )
        return found

    def _probe(
        self, requests: Sequence[Request], *, patient: bool = False
    ) -> list[tuple[Journey, Reason]]:
        """Send a traced probe for each request, and explain it."""
        prober, traces = self._prober(), self._tracing()
        traces.discard()  # what the connections have left there
        journeys = prober.follow_many([request.packet for request in requests], patient=patient)
        steps = traces.read({journey.tag for journey in journeys})
        mode = self._lab.mode
        silent = mode is not None and load(mode).forwards_itself
        facts = Facts(self._lab.hosts, silent_listeners=silent)
        return [
            (
                journey,
                explain(
                    request.packet, journey, steps.get(journey.tag, []), facts, traces.describe
                ),
            )
            for request, journey in zip(requests, journeys, strict=True)
        ]

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
    """Return the reason of a request that the ingress accepted, as it does all, but that got no
    answer in time.
    """
    text = f"{reason.at} accepts it, but gets no answer from the Service behind it"
    return replace(reason, mechanism=Mechanism.UNSERVED, text=text)
