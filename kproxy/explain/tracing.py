"""One probe in a running lab, followed hop by hop by taps, traces, conntrack and routes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, NamedTuple, Self

from msgspec.structs import replace

from kproxy.address import Family, family_of
from kproxy.api.types import Service
from kproxy.errors import BadInput
from kproxy.explain.captures import packets_of
from kproxy.explain.facts import Facts
from kproxy.explain.itinerary import Itinerary, Question
from kproxy.explain.onward import Relay
from kproxy.explain.pcapng import Packet
from kproxy.explain.reason import explain, relayed
from kproxy.explain.relaying import RelaysOf, connect
from kproxy.explain.targets import NamedPort, Wanted, meant
from kproxy.explain.traces import Traces, deciding
from kproxy.explain.ways import Ways
from kproxy.forwarding.network import Network
from kproxy.forwarding.network import Packet as Probe
from kproxy.forwarding.plan import FrontendKind
from kproxy.kernel.iptables_programs import Variant
from kproxy.lab import Lab
from kproxy.probe.prober import Prober

if TYPE_CHECKING:
    from kproxy.explain.explainer import Explainer


def trace(
    lab: Lab,
    source: str,
    target: str,
    *,
    port: int | str | None = None,
    protocol: str | None = None,
    family: Family | None = None,
    http: str | None = None,
) -> Itinerary:
    """Send one probe from the host `source` to `target` and return its way, there and back.

    `target`: an address, a Service (`web`, `svc/web`, `web.prod`) or a host, with `:PORT` or
    without. `port` is a number, or the name of a Service's port; it may be left out if there is
    only one. `protocol`: TCP, UDP, SCTP or ICMP; that of the port, or TCP. `family`: the lab's
    first that the target has. `http`: HOST/PATH of a request, which an ingress needs to pass it on.
    Nothing stays in the lab.
    Raises BadInput, and Unsupported if this kernel cannot trace.
    """
    wanted = Wanted(
        source=source, target=target, port=port, protocol=protocol, family=family, http=http
    )
    with Tracer(lab) as tracer:
        return tracer.trace(wanted)[0].itinerary


_TIMES = 3  # if somebody else, as a load balancer that checks, had the relay connect meanwhile
_THROUGH_S = 20.0  # for all connections through proxies, one after another; usually 10 ms for each


class Traced(NamedTuple):
    """A probe: what was seen of it, and its packets in every place."""

    itinerary: Itinerary
    packets: tuple[Packet, ...]


class Tracer:
    """Traces probes in one lab, batch by batch. A context manager; not thread-safe.

    What it adds to the lab's hosts stays there until it is closed.
    """

    def __init__(self, lab: Lab, explainer: Explainer | None = None) -> None:
        """With an `explainer`, its taps and traces are used, as only one can trace in a host.
        Questions must be of its family then.
        """
        self._lab = lab
        self._explainer = explainer
        self._open = ExitStack()
        self._prober: Prober | None = None
        self._ways = self._open.enter_context(Ways(lab))
        self._traces: dict[Variant, Traces] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def trace(self, wanted: Wanted, count: int = 1) -> list[Traced]:
        """Send so many probes at once and return what was seen of each; see `trace_all`."""
        return self.trace_all([wanted] * count)

    def trace_all(self, wanted: Sequence[Wanted]) -> list[Traced]:
        """Send a probe for each question, all at once, and return what was seen of each, in order.

        Raises BadInput, Unsupported, and KernelRefused if there were too many.
        """
        lab = self._lab
        network, hosts, services = lab.network, lab.hosts, _services(lab)
        asked = [meant(each, network, hosts, services, lab.spec.families) for each in wanted]
        for each, packet in zip(wanted, asked, strict=True):
            if each.http is not None and packet.protocol != "TCP":
                raise BadInput([f"a request of HTTP is sent over TCP, not {packet.protocol}"])
        variants = {
            family: lab.iptables_variant(family)
            for family in {family_of(packet.address) for packet in asked}
        }
        found: dict[int, Traced] = {}
        for variant in sorted(set(variants.values())):  # one, but where families differ in it
            places = [
                place
                for place, packet in enumerate(asked)
                if variants[family_of(packet.address)] == variant
            ]
            pairs = [(wanted[place], asked[place]) for place in places]
            found |= zip(places, self._send(pairs, variant, network), strict=True)
        return [found[place] for place in range(len(asked))]

    def _send(
        self, asked: Sequence[tuple[Wanted, Probe]], variant: Variant, network: Network
    ) -> Iterator[Traced]:
        """Send probes, each with its question; yield what was seen of each."""
        prober, traces = self._begin(variant)
        traces.discard()
        self._ways.begin()
        packets = [packet for _, packet in asked]
        journeys = prober.follow_many(packets)
        steps = traces.read({journey.tag for journey in journeys})
        relays = RelaysOf(self._lab)
        facts = Facts(self._lab.hosts, relays=relays.proxies)
        met, reasons = [], []
        for packet, journey in zip(packets, journeys, strict=True):
            reason = explain(packet, journey, steps.get(journey.tag, []), facts, traces.describe)
            relay = relays.met(packet, journey)
            met.append(relay)
            reasons.append(relayed(reason, packet, network) if relay else reason)
        made = self._ways.of(packets, journeys, steps, reasons, traces)
        deadline = time.monotonic() + _THROUGH_S
        for (wanted, packet), journey, itinerary, relay in zip(
            asked, journeys, made, met, strict=True
        ):
            question = replace(itinerary.question, target=wanted.target)
            through = None
            if relay and time.monotonic() < deadline:
                through = self._through(wanted, packet, question, relay, relays, facts, traces)
            named = replace(itinerary, question=question)
            yield through or Traced(named, packets_of(journey.seen, itinerary.hops))

    def _through(
        self,
        wanted: Wanted,
        packet: Probe,
        question: Question,
        relay: Relay,
        relays: RelaysOf,
        facts: Facts,
        traces: Traces,
    ) -> Traced | None:
        """Make a connection that a relay accepts; return what was seen of it, and of its own. None
        if nothing was, unlike of the probe before.
        """
        lab = self._lab
        prober, _ = self._begin(lab.iptables_variant(family_of(packet.address)))
        http = wanted.http
        if http is None and relays.wants_http(relay):
            http = ""
        found = None
        for _ in range(_TIMES):
            self._ways.begin()
            made = connect(lab, prober, traces, packet, relay, http)
            if all(each.packet.key != made.key for each in made.caught):
                return found
            itinerary, packets, sure = self._ways.through(question, made, relays, facts, traces)
            found = Traced(itinerary, tuple(packets))
            if sure:
                break
        return found

    def _begin(self, variant: Variant) -> tuple[Prober, Traces]:
        """Open the taps and traces that are not open yet."""
        if self._prober is None:
            if self._explainer:
                self._prober, self._traces[variant] = self._explainer.watching()
            else:
                self._prober = self._open.enter_context(Prober(self._lab))
        if variant not in self._traces:
            traces = Traces(deciding(self._lab), variant, families=self._lab.spec.families)
            self._traces[variant] = self._open.enter_context(traces)
        return self._prober, self._traces[variant]


_FOR_CLIENTS = (FrontendKind.LOAD_BALANCER, FrontendKind.EXTERNAL_IP, FrontendKind.NODE_PORT)


def _services(lab: Lab) -> list[NamedPort]:
    """Return the ports of all Services that have a cluster IP."""
    found: dict[tuple[str, str, str, int, str], dict[Family, str]] = {}
    outside: dict[tuple[str, str, str, int, str], dict[Family, tuple[str, int]]] = {}
    node = next(iter(lab.nodes.values()))
    if lab.spec.control_plane:
        for service in lab.objects(Service):
            for port in service.spec.ports:
                key = (*_name(service), port.name, port.port, port.protocol)
                for address in service.spec.cluster_ips:
                    if address and address != "None":
                        found.setdefault(key, {})[family_of(address)] = address
                balancers = [each.ip for each in service.status.load_balancer.ingress if each.ip]
                for address in (*service.spec.external_ips[::-1], *balancers[::-1]):
                    outside.setdefault(key, {})[family_of(address)] = (address, port.port)
                if port.node_port:
                    for family in found.get(key, {}):
                        at_node = (node.addresses[family], port.node_port)
                        outside.setdefault(key, {}).setdefault(family, at_node)
    else:
        for family in lab.spec.families:
            for plan in list(lab.plans(family).values())[:1]:
                for name, planned in plan.services.items():
                    at, *others = planned.frontends
                    key = (name.namespace, name.name, name.port, at.port, name.protocol)
                    found.setdefault(key, {})[family] = at.address
                    for each in sorted(others, key=lambda each: _FOR_CLIENTS.index(each.kind))[:1]:
                        address = each.address or node.addresses[family]
                        outside.setdefault(key, {})[family] = (address, each.port)
    return [
        NamedPort(
            namespace=namespace,
            service=service,
            name=name,
            port=port,
            protocol=protocol,
            addresses=addresses,
            outside=outside.get((namespace, service, name, port, protocol), {}),
        )
        for (namespace, service, name, port, protocol), addresses in found.items()
    ]


def _name(service: Service) -> tuple[str, str]:
    return service.metadata.namespace, service.metadata.name
