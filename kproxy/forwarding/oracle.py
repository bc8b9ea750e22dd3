"""The oracle: predicts what happens to a packet, only from the plans of the nodes.

A packet is followed from host to host. At each node the rules of the mode, with the plan, may
translate it, reject it, drop it or leave it alone (`rules`); then it is routed (`routing`). A
translation to several endpoints splits the path; each branch is followed to its end, and its reply
is followed back.

It assumes the following of the lab, as seen on Linux 6.18 and 6.1:
- strict reverse path filtering is off. IPv4 still drops a packet that comes back to its own sender
  (a martian source); IPv6 has no such check.
- a packet that is neither translated nor routed ends with an ICMP error (net unreachable, or time
  exceeded after bouncing between a node and the router). It counts as refused: TCP's connect()
  fails with it at once. A connected UDP socket only gets the error port unreachable.
- packets delivered on the translating node itself are not masqueraded (they skip POSTROUTING),
  except those of its own processes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from msgspec import Struct, structs

from kproxy.address import Family, family_of
from kproxy.errors import BadInput
from kproxy.forwarding.network import Host, HostKind, Network, Packet
from kproxy.forwarding.plan import Plan
from kproxy.forwarding.routing import (
    HOP_LIMIT,
    address_towards,
    is_loopback,
    is_own,
    next_hop,
    path,
    primary_address,
    source_for,
)
from kproxy.forwarding.rules import (
    Arrival,
    Passage,
    Refusal,
    Rules,
    Translation,
    masquerades,
)
from kproxy.outcome import Outcome, Prediction


def predict(
    network: Network, plans: Mapping[str, Plan], packet: Packet, rules: Rules
) -> Prediction:
    """Return what happens to the first packet of a new connection.

    `rules` are those of the mode of all proxies (`kproxy.backend.rules_of`). `plans` has the plan
    of each node in the packet's family, by node name; a node that is missing has no service proxy.
    The client is assumed to have no session affinity yet: all candidates are returned.
    Raises BadInput if the network has no such client, or is not one that the oracle knows.
    """
    if not network.routed:
        raise BadInput(["the oracle knows the network `routed` without an edge, and no other"])
    network = with_bound_addresses(network, plans, rules)
    client = network.hosts.get(packet.client)
    if client is None:
        raise BadInput([f"no host called {packet.client!r} in the network"])
    source = packet.source or source_for(network, client, packet.address)
    if not source:
        return Prediction(
            outcome=Outcome.REFUSED,
            at=client.name,
            why=f"{client.name} has no address of the family of {packet.address}",
        )
    start = _Flight(
        host=client,
        arrival=Arrival.PROCESS,
        source=source,
        address=packet.address,
        port=packet.port,
        protocol=packet.protocol,
    )
    return _prediction(list(_Journey(network, plans, rules, client).visit(start)))


class _Step(NamedTuple):
    """A translation: the node that made it, the packet's source before, and the endpoint.

    `remark` says what is special about this endpoint, or is "". With `relay` the node has made a
    connection of its own.
    """

    node: str
    source: str
    endpoint: str
    why: str
    remark: str = ""
    relay: bool = False


class _Flight(Struct, frozen=True, kw_only=True):
    """A packet that has arrived at `host`. `steps` are its translations so far.

    `hops_left` is its TTL or hop limit as `host` receives it. `note` says why its own node let it
    pass although it refuses others, or is "".
    """

    host: Host
    arrival: Arrival
    source: str
    address: str
    port: int
    protocol: str
    hops_left: int = HOP_LIMIT
    steps: tuple[_Step, ...] = ()
    note: str = ""


class _End(Struct, frozen=True, kw_only=True):
    """The end of one branch. `answered` means that a reply from there reaches the client."""

    outcome: Outcome
    flight: _Flight
    why: str
    answered: bool = True


class _Journey(NamedTuple):
    """The packets of `client`, followed through the network; the values that stay the same."""

    network: Network
    plans: Mapping[str, Plan]
    rules: Rules
    client: Host

    def visit(self, flight: _Flight) -> Iterator[_End]:
        """Yield all ends of a packet that has arrived at `flight.host`."""
        here = flight.host
        if _is_martian(flight):
            yield _End(
                outcome=Outcome.DROPPED,
                flight=flight,
                why=f"{here.name} drops a packet that comes in from {flight.source}, "
                "an address of its own (martian source)",
            )
            return
        plan = self._plan(here)
        translation = self.rules.translate(plan, _passage(flight)) if plan else None
        # A second translation by one node means endpoints that are frontends themselves: the packet
        # circulates until the hop limit, and so it does if it is not translated here.
        if translation is None or any(step.node == here.name for step in flight.steps):
            yield from self._onward(flight)
        elif isinstance(translation, Refusal):
            yield self._ended(flight, translation)
        elif translation.relay:
            yield from self._relayed(flight, translation)
        else:
            for branch in self._translated(flight, translation):
                yield from self._onward(branch)

    def _translated(self, flight: _Flight, translation: Translation) -> Iterator[_Flight]:
        """Yield one flight for each endpoint."""
        here = flight.host
        for endpoint in translation.endpoints:
            source, remark = flight.source, ""
            if masquerades(translation, flight.source, endpoint):
                source, remark = self._masqueraded(flight, endpoint.address)
                if not translation.masquerade:
                    remark = f"{endpoint} asks itself (hairpin) and sees {source}"
            step = _Step(here.name, flight.source, str(endpoint), translation.why, remark)
            yield structs.replace(
                flight,
                source=source,
                address=endpoint.address,
                port=endpoint.port,
                steps=(*flight.steps, step),
            )

    def _relayed(self, flight: _Flight, translation: Translation) -> Iterator[_End]:
        """Follow the connection that the node makes to each endpoint.

        If that fails, a TCP client is reset, as its connection was accepted; a UDP client gets no
        reply.
        """
        here = flight.host
        for endpoint in translation.endpoints:
            step = _Step(here.name, flight.source, str(endpoint), translation.why, relay=True)
            own = structs.replace(
                flight,
                arrival=Arrival.PROCESS,
                source=source_for(self.network, here, endpoint.address),
                address=endpoint.address,
                port=endpoint.port,
                hops_left=HOP_LIMIT,
                steps=(*flight.steps, step),
            )
            for end in self._onward(own):
                if end.outcome is Outcome.DELIVERED:
                    yield end
                    continue
                if flight.protocol == "TCP":  # whatever failed, the client sees it at this node
                    yield structs.replace(end, flight=own)
                else:
                    yield structs.replace(end, outcome=Outcome.DROPPED)

    def _masqueraded(self, flight: _Flight, endpoint: str) -> tuple[str, str]:
        """Return the source that a marked packet leaves with, and a remark if it is unchanged."""
        here = flight.host
        neighbour = next_hop(self.network, here, endpoint)
        if neighbour is not here:
            return address_towards(here, neighbour, flight.source), ""
        if flight.arrival is Arrival.PROCESS:  # goes out through lo, hence through POSTROUTING
            return primary_address(here, flight.source), ""
        return flight.source, f"{endpoint} is the node itself, where nothing is masqueraded"

    def _onward(self, flight: _Flight) -> Iterator[_End]:
        """Yield the ends of a packet after translation, by the filter table and the routes."""
        here = flight.host
        following = next_hop(self.network, here, flight.address)
        plan = self._plan(here)
        to_node = following is here
        refusal = self.rules.refuse(plan, _passage(flight), to_node) if plan else None
        forwarded = flight.arrival is not Arrival.PROCESS
        if refusal:
            yield self._ended(flight, refusal)
        elif following is here:
            yield self._received(flight)
        elif following is None:
            yield self._refused(
                flight, f"{here.name} has no route to {flight.address} (ICMP net unreachable)"
            )
        elif forwarded and flight.hops_left == 1:
            yield self._refused(
                flight,
                f"no node takes {flight.address} port {flight.port}/{flight.protocol}, so it "
                f"loops until its hop limit ends at {here.name} (ICMP time exceeded)",
            )
        else:
            yield from self.visit(
                structs.replace(
                    flight,
                    host=following,
                    arrival=Arrival.POD_LINK if here.kind is HostKind.POD else Arrival.UPLINK,
                    hops_left=flight.hops_left - forwarded,
                    note=flight.note if forwarded else self._unhindered(flight),
                )
            )

    def _unhindered(self, flight: _Flight) -> str:
        """Return the refusal that a process escapes, because OUTPUT has no rule for it, or ""."""
        plan = self._plan(flight.host)
        if plan is None:
            return ""
        forwarded = structs.replace(_passage(flight), arrival=Arrival.UPLINK)
        refusal = self.rules.refuse(plan, forwarded, False)
        if refusal is None:
            return ""
        return f"{flight.host.name} does not refuse its own processes, though {refusal.why}"

    def _received(self, flight: _Flight) -> _End:
        here = flight.host
        if (flight.protocol, flight.port) not in here.listens:
            return self._refused(
                flight,
                f"{here.name} has {flight.address}, but no process there listens "
                f"on port {flight.port}/{flight.protocol}",
            )
        return _End(
            outcome=Outcome.DELIVERED,
            flight=flight,
            why=f"{here.name} has {flight.address}: no Service is involved",
            answered=self._returns(flight),
        )

    def _ended(self, flight: _Flight, refusal: Refusal) -> _End:
        name = flight.host.name
        if refusal.outcome is Outcome.DROPPED:
            why = f"{name} drops it: {refusal.why}"
            return _End(outcome=Outcome.DROPPED, flight=flight, why=why)
        return self._refused(flight, f"{name} rejects it: {refusal.why}")

    def _refused(self, flight: _Flight, why: str) -> _End:
        """Return a refused end; dropped if no error returns by the nodes that translated."""
        if self._returns(flight):
            return _End(outcome=Outcome.REFUSED, flight=flight, why=why)
        return _End(outcome=Outcome.DROPPED, flight=flight, why=f"{why}, and {_bypass(flight)}")

    def _returns(self, flight: _Flight) -> bool:
        """Tell whether a reply from `flight.host` reaches the client, each translation undone."""
        here, towards = flight.host, flight.source
        for step in reversed(flight.steps):
            if step.node not in path(self.network, here, towards):
                return False
            here, towards = self.network.hosts[step.node], step.source
        last = path(self.network, here, towards)[-1]
        return last == self.client.name and is_own(self.client, towards)

    def _plan(self, host: Host) -> Plan | None:
        return self.plans.get(host.name) if host.kind is HostKind.NODE else None


def with_bound_addresses(network: Network, plans: Mapping[str, Plan], rules: Rules) -> Network:
    """Return the network whose nodes have the addresses that their proxies bind, for many
    predictions with the same plans.
    """
    if network.complete:
        return network
    nodes = {
        name: structs.replace(network.hosts[name], bound=rules.bound(plan, network.hosts[name]))
        for name, plan in plans.items()
        if name in network.hosts
    }
    return structs.replace(network, hosts={**network.hosts, **nodes}, complete=True)


def _is_martian(flight: _Flight) -> bool:
    if flight.arrival is Arrival.PROCESS:
        return False
    return is_loopback(flight.source) or (
        family_of(flight.source) is Family.IPV4 and is_own(flight.host, flight.source)
    )


def _passage(flight: _Flight) -> Passage:
    return Passage(
        node=flight.host,
        arrival=flight.arrival,
        source=flight.source,
        address=flight.address,
        port=flight.port,
        protocol=flight.protocol,
    )


def _prediction(ends: list[_End]) -> Prediction:
    """Return one prediction for all branches (at least one) of one packet."""
    delivered = [end for end in ends if end.outcome is Outcome.DELIVERED]
    failed = [end for end in ends if end.outcome is not Outcome.DELIVERED]
    dropped = [end for end in failed if end.outcome is Outcome.DROPPED]
    first = (delivered or dropped or failed)[0]
    steps = first.flight.steps
    unanswered = [end for end in delivered if not end.answered]
    clauses = [f"{step.node}: {step.why}" for step in steps]
    if not (delivered and steps):
        clauses += [*filter(None, [first.flight.note]), first.why]
    if delivered:
        clauses += [step.remark for end in delivered for step in end.flight.steps if step.remark]
        clauses += [
            f"{end.flight.host.name} answers, but {_bypass(end.flight)}" for end in unanswered
        ]
        clauses += [f"{_endpoint(end)} fails: {end.why}" for end in failed]
    return Prediction(
        outcome=first.outcome,
        sources={end.flight.host.name: end.flight.source for end in delivered},
        unanswered=frozenset(end.flight.host.name for end in unanswered),
        failing={_endpoint(end): end.outcome for end in failed if end.flight.steps},
        relay=next((step.node for step in steps if step.relay), ""),
        at=steps[0].node if delivered and steps else first.flight.host.name,
        why="; ".join(clauses),
    )


def _endpoint(end: _End) -> str:
    return end.flight.steps[-1].endpoint


def _bypass(flight: _Flight) -> str:
    """Return why a reply is lost."""
    if not flight.steps:
        return f"the way back to {flight.source} does not lead to the client"
    nodes = " and ".join(step.node for step in flight.steps)
    return f"the reply bypasses {nodes}, so the client does not know it"
