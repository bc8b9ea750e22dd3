"""One sentence for the outcome of a probe, only from observations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from kproxy.address import Family, family_of, host_port
from kproxy.explain.facts import Facts
from kproxy.explain.rule_names import name_of
from kproxy.explain.traces import TracedStep
from kproxy.explain.walk import Flow, Visit, visits
from kproxy.forwarding.network import HostKind, Network, Packet
from kproxy.outcome import How, Observation, Outcome
from kproxy.probe.journey import Journey
from kproxy.probe.packets import Role

Describe = Callable[[TracedStep], str]


# Matches, of iptables and nft, that depend on chance or on other packets.
_VARYING = {"limit", "hashlimit", "connlimit", "recent", "statistic", "quota", "numgen", "count"}


class Mechanism(StrEnum):
    """The mechanism that decided where a packet ended."""

    ANSWERED = "answered"
    RULE = "rule"  # a rule of netfilter dropped or rejected it
    MARTIAN = "martian source"
    REVERSE_PATH = "reverse path filter"
    NO_ROUTE = "no route"
    BYPASS = "answer from elsewhere"  # it bypassed the host that would have translated it back
    LISTENER = "silent listener"  # a socket with a filter dropped it
    REFUSED = "refused"
    UNSERVED = "not served"  # an ingress or a relay accepted it, but got no answer behind it
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """The reason why a packet ended where it did."""

    mechanism: Mechanism
    at: str
    """The host where the packet, or its answer, ended."""
    text: str
    """A sentence for people."""
    way: tuple[str, ...] = ()
    """A clause for each translation of the packet before that, in order."""
    lasts: bool = False
    """A second packet like it would end in the same way, without any doubt."""


def explain(
    packet: Packet, journey: Journey, steps: Sequence[TracedStep], facts: Facts, describe: Describe
) -> Reason:
    """Return the reason for the outcome of a probe. `steps`: its traced steps."""
    made = Flow(journey.source, journey.source_port, packet.address, packet.port)
    walked = visits(journey.seen, Role.REQUEST, made)
    way = _translations(walked, steps, facts, describe)
    observed = journey.observed
    if observed.answered:
        text = "; ".join(way) or f"{observed.at} is reached without any translation"
        return Reason(mechanism=Mechanism.ANSWERED, at=observed.at, text=text, way=tuple(way))
    if observed.outcome is Outcome.REFUSED:
        end = _refusal(observed, steps, describe)
    elif observed.outcome is Outcome.DELIVERED:
        way.append(f"{observed.at} gets it from {observed.source}")
        end = _lost_answer(packet, observed, journey, walked, steps, facts, describe)
    else:
        end = _end(Role.REQUEST, walked, packet.client, steps, facts, describe)
    return replace(end, way=tuple(way))


def relayed(reason: Reason, packet: Packet, network: Network) -> Reason:
    """Return the reason in a mode whose proxies make connections of their own: what a node answers
    that serves no such port has been accepted by its proxy.
    """
    host = network.hosts[reason.at]
    own = (packet.protocol, packet.port) in host.listens
    if reason.mechanism is not Mechanism.ANSWERED or host.kind is not HostKind.NODE or own:
        return reason
    text = f"a proxy on {reason.at} accepts it, and makes a connection of its own to an endpoint"
    return replace(reason, text=text)


def _translations(
    walked: Sequence[Visit], steps: Sequence[TracedStep], facts: Facts, describe: Describe
) -> list[str]:
    found = []
    for visit in walked:
        mine = [each for each in steps if each.host == visit.host and each.role is Role.REQUEST]
        if visit.destination_changed:
            address, port = visit.after.destination, visit.after.destination_port
            by = _translating(mine, describe, ("DNAT", "dnat"))
            if not by and facts.has_virtual_servers(visit.host):
                by = "IPVS"  # in other modes the rule has been replaced meanwhile
            elif not by and facts.relays:
                by = "its proxy, by a datagram of its own"
            rule = f" ({by})" if by else ""
            found.append(f"{visit.host} sends it to {host_port(address, port)}{rule}")
        if visit.source_changed:
            by = _translating(mine, describe, ("MASQUERADE", "SNAT", "masquerade", "snat"))
            rule = f" ({by})" if by else ""
            found.append(f"{visit.host} sets its source to {visit.after.source}{rule}")
    return found


def _translating(steps: Sequence[TracedStep], describe: Describe, words: Sequence[str]) -> str:
    """Return the name of the rule among these that translates, "" if there is none."""
    for traced in steps:
        if traced.step.kind == "rule" and traced.step.verdict == "accept":
            text = describe(traced)
            if any(word in text.split() for word in words):
                return name_of(traced.step, text)
    return ""


def _refusal(observed: Observation, steps: Sequence[TracedStep], describe: Describe) -> Reason:
    dropped = _dropping(observed.at, Role.REQUEST, steps)
    by = f": {name_of(dropped.step, describe(dropped))}" if dropped else ""
    return Reason(
        mechanism=Mechanism.RULE if dropped else Mechanism.REFUSED,
        at=observed.at,
        text=f"{observed.at} refuses it with {(observed.how or How.OTHER).value}{by}",
        # Not from routing, which refuses only some packets: with this message IPVS refuses those
        # that it has no server for.
        lasts=_is_constant(describe(dropped)) if dropped else observed.how is How.PORT_UNREACHABLE,
    )


def _lost_answer(
    packet: Packet,
    observed: Observation,
    journey: Journey,
    asked: Sequence[Visit],
    steps: Sequence[TracedStep],
    facts: Facts,
    describe: Describe,
) -> Reason:
    """Return why an answer did not reach the client. `asked`: the visits of the request."""
    walked = visits(journey.seen, Role.ANSWER)
    if not walked:
        return Reason(
            mechanism=Mechanism.UNKNOWN, at=observed.at, text=f"{observed.at} does not answer"
        )
    last = walked[-1]
    if last.host == packet.client:
        return _unknown_answer(last, host_port(packet.address, packet.port))
    end = _end(Role.ANSWER, walked, observed.at, steps, facts, describe)
    if end.mechanism is Mechanism.UNKNOWN and not last.exit:
        for visit in asked:  # a host that has the request's source as an address of its own
            sent = visit.after
            if visit.host == last.host and sent.source == last.before.destination:
                if not visit.source_changed:
                    return _own_address(last)
                return _unknown_answer(last, host_port(sent.destination, sent.destination_port))
    return end


def _own_address(visit: Visit) -> Reason:
    """Return the reason if an answer is for an address that a host on its way has, too."""
    return Reason(
        mechanism=Mechanism.BYPASS,
        at=visit.host,
        text=f"{visit.host} keeps the answer: {visit.before.destination} is an address of its own, "
        "but the request came from another host that has it, too",
        lasts=True,
    )


def _unknown_answer(visit: Visit, expected: str) -> Reason:
    """Return the reason if an answer reaches the host that waits for it from another address than
    that host had sent to.
    """
    source = host_port(visit.before.source, visit.before.source_port)
    return Reason(
        mechanism=Mechanism.BYPASS,
        at=visit.host,
        text=f"the answer comes to {visit.host} from {source} instead of {expected}: "
        f"it has passed no host that translates it back, and {visit.host} does not know it",
        lasts=True,
    )


def _end(
    role: Role,
    walked: Sequence[Visit],
    maker: str,
    steps: Sequence[TracedStep],
    facts: Facts,
    describe: Describe,
) -> Reason:
    """Return why a packet that was not refused was seen no further. `maker`: its first host."""
    it = "it" if role is Role.REQUEST else "the answer"
    host = walked[-1].host if walked else maker
    if dropped := _dropping(host, role, steps):
        described = describe(dropped)
        rule = name_of(dropped.step, described)
        return Reason(
            mechanism=Mechanism.RULE,
            at=host,
            text=f"{host} drops {it}: {rule}",
            lasts=_is_constant(described),
        )
    if walked and (last := walked[-1]).exit:
        return Reason(
            mechanism=Mechanism.UNKNOWN,
            at=host,
            text=f"{it} leaves {host} by {last.exit}, and no host receives it there",
        )
    if walked:
        found = _not_accepted(it, walked[-1], facts)
        if found:
            return found
        at = walked[-1].after
        if facts.listener_drops(host, at.destination, at.destination_port):
            place = host_port(at.destination, at.destination_port)
            return Reason(
                mechanism=Mechanism.LISTENER,
                at=host,
                text=f"{host} drops {it} at the socket that listens at {place}: "
                "the socket's counter of drops shows it",
            )
    return Reason(
        mechanism=Mechanism.UNKNOWN, at=host, text=f"{it} ends on {host}, which gives no reason"
    )


def _not_accepted(it: str, visit: Visit, facts: Facts) -> Reason | None:
    """Return why routing on the host drops a packet that it received; None if it does not.

    None as well if the packet was made there, for the host itself.
    """
    if not visit.entry:
        return None
    host, source, destination = visit.host, visit.before.source, visit.after.destination
    arrival = f"{it} comes in by {visit.entry} from {source}"
    if family_of(source) is Family.IPV4:
        if source in facts.addresses(host):
            return Reason(
                mechanism=Mechanism.MARTIAN,
                at=host,
                text=f"{host} drops it: {arrival}, an address of its own (martian source)",
                lasts=True,
            )
        back = facts.link_towards(host, source)
        if facts.is_strict(host, visit.entry) and back != visit.entry:
            way = f"the way back is {back}" if back else "there is no way back"
            return Reason(
                mechanism=Mechanism.REVERSE_PATH,
                at=host,
                text=f"{host} drops it: {arrival}, but {way} (strict reverse path filter)",
                lasts=True,
            )
    if not facts.link_towards(host, destination):
        return Reason(
            mechanism=Mechanism.NO_ROUTE,
            at=host,
            text=f"{host} drops {it}: it has no route to {destination}",
            # Without any route Linux refuses some packets; a black hole refuses none.
            lasts=facts.is_black_hole(host, destination),
        )
    return None


def _is_constant(rule: str) -> bool:
    """Tell whether a rule treats all packets alike that are alike."""
    return not _VARYING & {*rule.split()}


def _dropping(host: str, role: Role, steps: Sequence[TracedStep]) -> TracedStep | None:
    """Return the rule or policy that dropped a packet on a host."""
    return next(
        (
            each
            for each in steps
            if each.host == host and each.role is role and each.step.verdict == "drop"
        ),
        None,
    )
