"""A real connection through proxies that accept it and make connections of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import NamedTuple

from kproxy.address import Family, family_of, host_port
from kproxy.backend import load
from kproxy.explain.conversation import Caught, Met
from kproxy.explain.onward import Relay, Seen, accepted, begun_at
from kproxy.explain.traces import Traces
from kproxy.forwarding.network import HostKind, Packet
from kproxy.forwarding.plan import FrontendKind, LoopbackNodePorts, Plan
from kproxy.kernel.in_flight import Stillness
from kproxy.lab import Lab
from kproxy.outcome import Connection, Outcome
from kproxy.probe.connection import Exchange, Exchanges, greeting
from kproxy.probe.foreign import foreign
from kproxy.probe.http import Fetched, HttpRequest, request_exchange
from kproxy.probe.journey import Journey
from kproxy.probe.prober import Prober
from kproxy.probe.taps import Tap

_PATIENCE = 3  # pauses in which nothing happens, before a connection is taken as lost
_LOOPBACK = ("127.", "::1")


class Made(NamedTuple):
    """A connection that was made."""

    key: tuple[object, ...]
    """That of its SYN."""
    caught: list[Caught]
    """All that was captured meanwhile, in the order of time."""
    met: list[Met]
    """All that rules have met meanwhile, in order on each host."""
    told: tuple[str, int] | None
    """The address and port that the server saw, if it has told."""
    asked: str
    """The request, if it was one of HTTP."""
    status: int
    """That of the answer; 0 without one of HTTP."""


class RelaysOf:
    """The relays of a lab: its ingresses, and its proxies where they forward by themselves."""

    def __init__(self, lab: Lab) -> None:
        self.proxies = lab.mode is not None and load(lab.mode).forwards_itself
        """The proxies of nodes are such relays."""
        self._plans: Mapping[Family, Mapping[str, Plan]] = {
            family: lab.plans(family) for family in lab.spec.families
        }
        # Of nodes without a plan, as their proxies are other processes: all but their own ports.
        self._nodes = {
            name: {port for protocol, port in host.listens if protocol == "TCP"}
            for name, host in lab.network.hosts.items()
            if host.kind is HostKind.NODE
        }
        self._ingresses = {
            place: pod.node if pod.spec.host_network else pod.name
            for pod in lab.pods.values()
            if pod.spec.runs
            for place in pod.serves
        }

    def met(self, packet: Packet, journey: Journey) -> Relay | None:
        """Return the relay that has answered a probe, if it was one."""
        place = accepted(journey.seen)
        answered = journey.observed.answered and packet.protocol == "TCP"
        return self.at(*place) if place and answered else None

    def at(self, host: str, address: str, port: int) -> Relay | None:
        """Return what listens there, if it is a relay."""
        if self._ingresses.get((address, port)) == host:
            return Relay(host, f"the ingress on {host}", None, ingress=True)
        plan = self._plans.get(family_of(address), {}).get(host)
        if plan is None:
            unplanned = self.proxies and host in self._nodes and port not in self._nodes[host]
            return Relay(host, f"a proxy on {host}", None) if unplanned else None
        loopback = address.startswith(_LOOPBACK)
        served = plan.settings.loopback_node_ports is LoopbackNodePorts.SERVED
        if not (self.proxies or (loopback and served)):
            return None
        for service in plan.services.values():
            for frontend in service.frontends if service.protocol == "TCP" else ():
                of_node = frontend.kind is FrontendKind.NODE_PORT
                if port == frontend.port and (of_node or address == frontend.address):
                    places = (*service.cluster, *service.local)
                    endpoints = frozenset((each.address, each.port) for each in places)
                    return Relay(host, f"a proxy on {host}", endpoints)
        return None

    def wants_http(self, relay: Relay) -> bool:
        """Tell whether it may be an ingress that gets a request, now or behind this relay."""
        return relay.ingress or not self._ingresses.keys().isdisjoint(relay.endpoints or ())


def connect(
    lab: Lab, prober: Prober, traces: Traces, packet: Packet, relay: Relay, http: str | None
) -> Made:
    """Make a connection that begins with `packet`, and that a `relay` accepts.

    `http`: the host and path of a request of HTTP; else a line is sent. Ends when it is answered,
    or nothing happens any more. Raises BadInput for a request that HTTP does not allow.
    """
    tag = prober.new_tag()
    key = ("TCP", tag)
    taps = prober.open_taps()
    traces.discard()
    caught: list[Caught] = []
    met: list[Met] = []

    def read() -> int:
        return read_taps(taps, caught) + _read_rules(traces, met)

    def begun() -> bool:
        return bool(begun_at(relay, Seen(caught, met, {}), {key}))

    exchange: Exchange[Fetched | Connection] = greeting(packet)
    name, asked = "", ""
    if http is not None:
        name, slash, path = http.partition("/")
        name = name or host_port(packet.address, packet.port)
        asked = f"http://{name}/{path}"
        request = HttpRequest(
            client=packet.client,
            address=packet.address,
            port=packet.port,
            host=name,
            path=f"/{path}" if slash else "/",
        )
        exchange = request_exchange(request)
    with Exchanges(lab, [exchange], follow=lambda _: tag) as exchanges:
        exchanges.wait(_calm(taps, read, begun))
        read()
        (result,) = exchanges.results()
    source = result.source if isinstance(result, Fetched) or _is_success(result) else ""
    told = (source, result.source_port) if source and result.source_port else None
    status = result.status if isinstance(result, Fetched) else 0
    return Made(key, caught, met, told, asked, status)


def _is_success(result: Connection) -> bool:
    return result.outcome is Outcome.SUCCESS


def _calm(
    taps: list[Tap], read: Callable[[], int], begun: Callable[[], bool]
) -> Callable[[], bool]:
    """Return what tells that a connection gets no answer any more: the relay has begun one of its
    own, and nothing has happened since.
    """
    stillness = Stillness()
    pauses = 0

    def is_calm() -> bool:
        nonlocal pauses
        pauses = 0 if read() or not begun() else pauses + 1
        return pauses >= _PATIENCE and stillness.reigns(each.namespace for each in taps)

    return is_calm


def read_taps(taps: Sequence[Tap], caught: list[Caught]) -> int:
    """Add what taps have seen of connections, in the order of time; return how much that was."""
    before = len(caught)
    for captured in chain.from_iterable(tap.read() for tap in taps):
        found = Caught.from_tap(captured)
        if found and found.packet.protocol in ("TCP", ""):
            caught.append(found)
    caught.sort(key=lambda each: each.time_ns)
    return len(caught) - before


def _read_rules(traces: Traces, met: list[Met]) -> int:
    """Add what the rules of hosts have seen of connections; return how much that was."""
    before = len(met)
    for host, step in traces.read_all():
        packet = foreign(step.packet)
        if packet and packet.protocol in ("TCP", ""):
            met.append(Met(host, step, packet))
    return len(met) - before
