"""Connections in a running lab, which show the outcome, and probes, which show the reason."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Self

from kproxy.address import Family
from kproxy.backend import load
from kproxy.explain.facts import Facts
from kproxy.explain.reason import Mechanism, Reason, explain
from kproxy.explain.traces import Traces
from kproxy.forwarding.network import Packet
from kproxy.kernel.xtables import choose_variant
from kproxy.lab import Lab
from kproxy.outcome import Connection, Outcome
from kproxy.probe import Prober, connect_many
from kproxy.probe.connection import TIMEOUT_S
from kproxy.probe.http import Fetched, HttpRequest, fetch_many

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

    Taps and traces stay open between batches: opening them takes longer than the requests.
    """

    def __init__(self, lab: Lab, family: Family) -> None:
        """Take the lab and the family of every request."""
        self._lab, self._family = lab, family
        self._open = ExitStack()
        self._watching: tuple[Prober, Traces] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def ask(self, requests: Sequence[Request]) -> list[Explanation]:
        """Make all requests at once, and explain each, in their order.

        Raises Unsupported if this kernel cannot trace.
        """
        connections = _connect(self._lab, requests)
        prober, traces = self._watch()
        journeys = prober.follow_many([request.packet for request in requests])
        steps = traces.read({journey.tag for journey in journeys})
        mode = self._lab.mode
        silent = mode is not None and load(mode).forwards_itself
        facts = Facts(self._lab.hosts, silent_listeners=silent)
        found = []
        for request, journey, connection in zip(requests, journeys, connections, strict=True):
            observed, its_steps = journey.observed, steps.get(journey.tag, [])
            answered = observed.answered
            reason = explain(request.packet, journey, its_steps, facts, traces.describe)
            if request.host and answered and not connection.success:
                answered, reason = False, _not_served(reason)
            found.append(
                Explanation(
                    connection=connection,
                    hops=observed.hops,
                    reason=reason,
                    steady=answered == connection.success,
                )
            )
        return found

    def _watch(self) -> tuple[Prober, Traces]:
        """Open taps and traces at first use: after the connections, whose trace is not needed."""
        if self._watching is None:
            lab = self._lab
            with next(iter(lab.nodes.values())).namespace.entered():
                variant = choose_variant(self._family)
            # Only hosts with rules decide anything; pods and clients only send and receive.
            deciding = {
                name: host
                for name, host in lab.hosts.items()
                if name not in lab.clients and name not in lab.pods
            }
            prober = self._open.enter_context(Prober(lab))
            self._watching = prober, self._open.enter_context(Traces(deciding, variant))
        return self._watching


def _connect(lab: Lab, requests: Sequence[Request]) -> list[Connection]:
    plain = [request.packet for request in requests if not request.host]
    in_http = [
        HttpRequest(
            client=request.packet.client,
            address=request.packet.address,
            port=request.packet.port,
            host=request.host,
        )
        for request in requests
        if request.host
    ]
    with ThreadPoolExecutor(2) as pool:  # both wait for dropped packets at the same time
        fetched = pool.submit(fetch_many, lab, in_http, timeout_s=TIMEOUT_S)
        connected = iter(pool.submit(connect_many, lab, plain).result())
        fetched_in_turn = map(_through_ingress, fetched.result())
    return [next(fetched_in_turn) if each.host else next(connected) for each in requests]


def _through_ingress(fetched: Fetched | Connection) -> Connection:
    """Return the outcome of a request as a connection; its source is the one the ingress saw."""
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
