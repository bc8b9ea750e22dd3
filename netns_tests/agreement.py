"""Differences between what `kproxy trace` saw of a probe, what a connection of the same client met,
and what `kproxy explain` says of every node on the way.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from kproxy.address import host_port, split_host_port
from kproxy.api.manifests import PROXY_KINDS, decode_texts
from kproxy.backend import load
from kproxy.backend.configuration import Configuration
from kproxy.backend.options import complete_options
from kproxy.config.decode import Read
from kproxy.explain.explainer import Explainer, Explanation
from kproxy.explain.itinerary import Ends, Hop, Itinerary
from kproxy.explain.reason import Mechanism
from kproxy.explain.targets import Wanted
from kproxy.explain.tracing import Tracer
from kproxy.forwarding.network import Packet
from kproxy.forwarding.plan import BackendOptions
from kproxy.forwarding.rules import Arrival
from kproxy.kernel.addresses import all_addresses
from kproxy.lab import Lab
from kproxy.outcome import Connection, How, Outcome
from kproxy.verdict.decision import Action, Verdict
from kproxy.verdict.places import Place
from kproxy.verdict.question import Answer, NodeProxy

_NOT_LET_IN = "strict reverse path filter"
"""Words of the reason why routing drops a packet: after rules that translate, but before IPVS and
processes of the node.
"""
_SAME = {
    Outcome.SUCCESS: {"delivered"},
    Outcome.REFUSED: {"refused"},
    Outcome.TIMEOUT: {"delivered", "dropped"},
}
"""The outcomes of a packet, by that of a connection."""


class Asked(NamedTuple):
    """A connection that was made, by its first packet.

    `http`: it was a request for this host to an ingress, which makes another connection to the
    server, or fails to.
    """

    packet: Packet
    measured: Explanation
    http: str | None = None


class Explained:
    """The answers of `kproxy explain` in a lab with its present objects, by node.

    It knows the objects that the proxies know, their configurations, and the addresses of each node
    that its Node object lacks, as `--node-ip` gives them.
    """

    def __init__(self, lab: Lab, options: BackendOptions) -> None:
        """`options`: those of the lab's mode. Nobody else may follow the lab's objects."""
        assert lab.mode is not None
        mode = load(lab.mode)
        self.lab, self.mode = lab, mode
        documents = {"apiVersion": "v1", "kind": "List", "items": lab.follow(lambda _: None)}
        decoded = decode_texts({"lab": json.dumps(documents)}, PROXY_KINDS | {"Pod"})
        assert decoded.problems == ()
        self.addresses: dict[str, frozenset[str]] = {}
        self._proxies: dict[str, NodeProxy] = {}
        for name, node in lab.nodes.items():
            with node.namespace.entered():
                self.addresses[name] = frozenset(all_addresses())
            config = lab.node_config(name)
            configuration = Configuration(
                read=Read(config), mode=mode, options=complete_options(mode, config, options)
            )
            gateways = [*node.gateways.values()]
            self._proxies[name] = NodeProxy(decoded.objects, configuration, name, gateways)

    def traced(
        self,
        packets: Sequence[Packet],
        explainer: Explainer | None = None,
        http: Sequence[str | None] = (),
    ) -> list[Itinerary]:
        """Trace each packet, all at once. `explainer`: the one that traces in the lab, if any.
        `http`: for each, the host of a request to an ingress.
        """
        wanted = [
            Wanted(
                source=each.client,
                target=each.address,
                port=each.port,
                protocol=each.protocol,
                http=host,
            )
            for each, host in zip(packets, http or [None] * len(packets), strict=True)
        ]
        with Tracer(self.lab, explainer) as tracer:
            return [each.itinerary for each in tracer.trace_all(wanted)]

    def disagreements(self, asked: Sequence[Asked], explainer: Explainer) -> list[str]:
        """Trace the packet of each connection that the explainer has made, and return all
        differences.
        """
        traced = self.traced(
            [each.packet for each in asked], explainer, [each.http for each in asked]
        )
        return [
            f"{each.packet.client} asks {found.question.address}:{found.question.port}/"
            f"{found.question.protocol}: {difference}"
            for each, found in zip(asked, traced, strict=True)
            for difference in (
                *self.unlike(found, each.measured, ingress=each.http is not None),
                *self.differences(found),
            )
        ]

    def differences(self, found: Itinerary) -> Iterator[str]:
        """Yield where a hop of the request differs from the verdict of the node that it is on.

        A node that meets the packet again is left out if it is of a known connection then, and so
        is a packet that comes in from an address of the node itself: for explain, that is the node.
        """
        known: set[tuple[str, Ends]] = set()
        requests = [hop for hop in found.hops if hop.role == "request"]
        for number, hop in enumerate(requests):
            if hop.host not in self._proxies:
                continue
            again = (hop.host, hop.before) in known
            if again or (hop.entry and hop.before.source in self.addresses[hop.host]):
                continue
            answer = self._answer(hop, found.question.protocol)
            problems = [*self._problems(answer.verdict, found, hop, last=hop is requests[-1])]
            if not known:  # the node that it meets first
                problems += _arrival_problems(answer, requests[:number], hop)
            known |= {(hop.host, hop.before), (hop.host, hop.after)}
            for each in problems:
                yield (
                    f"explain of {answer.node}, {hop.before.source} asks {answer.place}: "
                    f"{answer.verdict}; but {each}"
                )

    def _answer(self, hop: Hop, protocol: str) -> Answer:
        """Return the answer of a node's explain about a packet as it reaches the node."""
        return self._proxies[hop.host].answer(hop.before.source, _place(hop, protocol))

    def _problems(
        self, verdict: Verdict, found: Itinerary, hop: Hop, *, last: bool
    ) -> Iterator[str]:
        effects = {step.effect for step in hop.steps}
        ended = found.outcome if last and found.at == hop.host else ""
        how = next((each.packet for each in found.hops if each.role == "error"), "")
        moved = _moves(hop)
        match verdict.action:
            case Action.FORWARD:
                onward = _onward(found, hop.host)
                accepted = onward is not None
                if onward:
                    yield from self._onward_problems(verdict, onward)
                if ended == "dropped" and not self.mode.traced:
                    accepted = _NOT_LET_IN in found.sentence
                if not (moved or accepted or "dnat" in effects or hop.ipvs):
                    yield f"it was not translated: {found.sentence}"
                if moved and _destination(hop.after) not in verdict.endpoints:
                    yield f"it went to {_destination(hop.after)}"
                if {"reject", "drop"} & effects:
                    yield f"a rule ended it: {found.sentence}"
                if moved and hop.exit:
                    yield from self._source_problems(verdict, hop)
            case Action.REJECT:
                told = How.PORT_UNREACHABLE
                if self.mode.forwards_itself and found.question.protocol == "TCP":
                    told = How.RST  # no rule: nobody listens
                if (ended, how) != ("refused", told.value) or moved:
                    yield f"it was not rejected: {found.outcome} at {found.at}, {found.sentence}"
            case Action.DROP:
                if ended != "dropped" or (self.mode.traced and "drop" not in effects):
                    yield f"it was not dropped: {found.outcome} at {found.at}, {found.sentence}"
            case Action.PASS:
                if moved or hop.ipvs or {"dnat", "reject", "drop"} & effects:
                    yield f"it was touched: {found.sentence}"

    def unlike(
        self, found: Itinerary, measured: Explanation, *, ingress: bool = False
    ) -> Iterator[str]:
        """Yield where a trace differs from what a connection of the same client met.

        Where there is a choice of nodes or endpoints, both may have chosen differently, but only
        among these. Of a relay's own connection, only trace knows what it met. The choices for a
        request to an `ingress` are ingresses: each makes a connection of its own to the server.
        """
        connection, reason = measured.connection, measured.reason
        onward = any(hop.role == "onward request" for hop in found.hops)
        if reason.mechanism is Mechanism.UNSERVED:
            if found.answered or not onward:
                yield f"trace: {found.outcome}, {found.sentence}, the relay got no answer"
            return
        if found.answered != connection.success:
            yield f"trace: answered {found.answered}, connection: {connection}"
        if found.outcome not in _SAME[connection.outcome]:
            yield f"trace: {found.outcome}, connection: {connection}"
        choices = self._choices(found)
        if sum(len(each.verdict.endpoints) for each in choices) > 1:
            pods = {self._owner(each) for one in choices for each in one.verdict.endpoints}
            served = {each.host for each in found.endpoints[-1:]}
            makers = {
                hop.host for hop in found.hops if hop.role == "onward request" and not hop.entry
            }
            if ingress and makers:
                served = makers & pods or makers
            elif connection.success:
                served.add(self._host_of(connection))
            if not served <= pods:
                yield f"none of {pods}: trace: {found.endpoints}, connection: {connection}"
            return
        if onward:
            if reason.at not in [hop.host for hop in found.hops]:
                yield f"trace: {found.sentence!r}, measured: {reason.at}, {reason.text!r}"
        elif (found.at, _unnamed(found.sentence)) != (reason.at, _unnamed(reason.text)):
            yield f"trace: {found.at}, {found.sentence!r}, measured: {reason.at}, {reason.text!r}"
        if connection.success:
            yield from self._unlike_server(found, connection)

    def _unlike_server(self, found: Itinerary, connection: Connection) -> Iterator[str]:
        requests = [hop for hop in found.hops if hop.role in ("request", "onward request")]
        last = requests[-1]
        # Of a request to an ingress, the connection has the source that the ingress saw.
        seen = {each.before.source for each in requests if not each.exit}
        if connection.source not in seen:
            yield f"trace: {last.host} gets it from {seen}, connection: {connection}"
        pods = {last.host} & {each.host for each in found.endpoints[-1:]} or {last.host}
        if self._host_of(connection) not in pods:
            yield f"trace: {last.host}, {found.endpoints}, connection: {connection}"

    def _choices(self, found: Itinerary) -> list[Answer]:
        """Return the answer of the node that translates the packet. If a load balancer or a gateway
        has sent it there: those of all nodes that it might have chosen, which are healthy.
        """
        protocol = found.question.protocol
        for hop in found.hops:
            if hop.role == "request" and hop.host in self._proxies:
                places = self._alternatives(hop, protocol) or {hop.host: _place(hop, protocol)}
                answers = [
                    self._proxies[node].answer(hop.before.source, place)
                    for node, place in places.items()
                ]
                if any(each.verdict.endpoints for each in answers):
                    return answers
        return []

    def _alternatives(self, hop: Hop, protocol: str) -> dict[str, Place]:
        """Return the places that the packet might have been sent to, by node; none if it was sent
        by no load balancer.
        """
        asked = _place(hop, protocol)
        for state in self.lab.balancer_state():
            places = {
                each.backend.name: Place(
                    address=each.backend.address, port=each.backend.port, protocol=protocol
                )
                for each in state.backends
                if each.healthy and each.backend.name in self._proxies
            }
            if state.listener.key.protocol == protocol and asked in places.values():
                return places
        return {}

    def _host_of(self, connection: Connection) -> str:
        """Return the host that answered: of a pod on the host network, its node."""
        pod = self.lab.pods[connection.pod]
        return pod.node if pod.spec.host_network else pod.name

    def _owner(self, endpoint: str) -> str:
        """Return the name of the host that has the address of `ip:port`."""
        address, _ = split_host_port(endpoint) or ("", "")
        return next((each.name for each in self.lab.network.owners.get(address, ())), "")

    def _onward_problems(self, verdict: Verdict, hop: Hop) -> Iterator[str]:
        """Yield what is wrong with the connection that a node's proxy has made."""
        if _destination(hop.before) not in verdict.endpoints:
            yield f"its proxy connected to {_destination(hop.before)}"
        if verdict.masquerade and hop.after.source not in self.addresses[hop.host]:
            yield f"its proxy connected from {hop.after.source}"

    def _source_problems(self, verdict: Verdict, hop: Hop) -> Iterator[str]:
        """Yield what is wrong with the source that a translated packet left a node with."""
        before, after = hop.before.source, hop.after.source
        # One endpoint that asks itself is masqueraded, and perhaps only if it gets itself.
        own = {(split_host_port(each) or ("",))[0] for each in verdict.endpoints} & {before}
        hidden = verdict.masquerade and (not own or hop.after.destination == before)
        if hidden and after not in self.addresses[hop.host]:
            yield f"it was not masqueraded: {after}"
        by_network = any(
            (step.effect, step.chain) == ("masquerade", "POSTROUTING") for step in hop.steps
        )
        if not verdict.masquerade and after != before and not by_network:
            yield f"it was masqueraded: {after}"


def _arrival_problems(answer: Answer, before: Sequence[Hop], hop: Hop) -> Iterator[str]:
    """Yield where explain takes a packet for one that reached the node in another way.

    Explain takes a pod's packet to come from the pod. One that did not is left out: it has passed
    a load balancer that keeps its source, or left the pod by a port of the VPC.
    """
    if len(before) > 1 and before[0].kind == "pod":
        return
    if not hop.entry:
        arrived = Arrival.PROCESS
    elif before[-1].kind == "pod":
        arrived = Arrival.POD_LINK
    else:
        arrived = Arrival.UPLINK
    if answer.sender.arrival is not arrived:
        yield f"it came by the {arrived.value}, not the {answer.sender.arrival.value}"


def _place(hop: Hop, protocol: str) -> Place:
    ends = hop.before
    return Place(address=ends.destination, port=ends.destination_port, protocol=protocol)


def _destination(ends: Ends) -> str:
    return host_port(ends.destination, ends.destination_port)


def _moves(hop: Hop) -> bool:
    return _destination(hop.before) != _destination(hop.after)


def _onward(found: Itinerary, host: str) -> Hop | None:
    """Return the beginning of the connection that a relay on a host has made, if one has."""
    return next(
        (
            hop
            for hop in found.hops
            if (hop.role, hop.host, hop.entry) == ("onward request", host, "")
        ),
        None,
    )


def _unnamed(sentence: str) -> str:
    """Return a sentence without the names of rules: a trace of a busy host may lack one."""
    return re.sub(r" \((?:nat|filter|mangle|kube-proxy) [^)]*\)", "", sentence)
