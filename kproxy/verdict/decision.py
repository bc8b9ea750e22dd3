"""The verdict of one node on one packet, by the rules of a mode. Pure."""

from __future__ import annotations

import enum
from collections.abc import Iterator

from msgspec import Struct
from msgspec.structs import replace

from kproxy.forwarding.plan import Endpoint, Plan
from kproxy.forwarding.routing import is_own
from kproxy.forwarding.rules import (
    Arrival,
    Passage,
    Refusal,
    Rules,
    Translation,
    masquerades,
)
from kproxy.outcome import Outcome
from kproxy.verdict.untouched import untouched


class Action(enum.StrEnum):
    """The treatment of a packet; the values are the words of the command's JSON."""

    FORWARD = "forward"  # to one of the endpoints
    REJECT = "reject"  # the client is told, by ICMP or a reset
    DROP = "drop"  # nobody is told
    PASS = "pass"  # nothing: it goes where it would without a proxy


class Verdict(Struct, frozen=True, kw_only=True):
    """The treatment of a packet. `endpoints` may be chosen: each `ip:port`, sorted as text.

    `masquerade`: some of them see an address of the node instead of the sender's. `reasons` are
    sentences, in the order of what happens.
    """

    action: Action
    endpoints: tuple[str, ...] = ()
    masquerade: bool = False
    reasons: tuple[str, ...] = ()


def decide(plan: Plan, rules: Rules, passage: Passage) -> Verdict:
    """Return the verdict on a packet. `plan` is that of the node, in the packet's family.

    The client is assumed to have no session affinity yet, so all candidates are returned.
    """
    node = replace(passage.node, bound=rules.bound(plan, passage.node))
    passage = replace(passage, node=node)
    translation = rules.translate(plan, passage)
    if isinstance(translation, Refusal):
        return _refused(translation)
    if translation is None:
        refusal = rules.refuse(plan, passage, is_own(node, passage.address))
        return _refused(refusal) if refusal else _passed(plan, rules, passage)
    if translation.relay:
        endpoints = tuple(sorted(map(str, translation.endpoints)))
        return Verdict(
            action=Action.FORWARD, endpoints=endpoints, masquerade=True, reasons=(translation.why,)
        )
    return _translated(plan, rules, passage, translation)


def _translated(plan: Plan, rules: Rules, passage: Passage, translation: Translation) -> Verdict:
    """Return the verdict on a packet that each endpoint would get, unless the filter refuses."""
    chosen: list[Endpoint] = []
    refusals: list[tuple[Endpoint, Refusal]] = []
    for endpoint in translation.endpoints:
        changed = replace(passage, address=endpoint.address, port=endpoint.port)
        refusal = rules.refuse(plan, changed, is_own(passage.node, endpoint.address))
        if refusal:
            refusals.append((endpoint, refusal))
        else:
            chosen.append(endpoint)
    refused = [f"{endpoint} is refused then: {refusal.why}" for endpoint, refusal in refusals]
    if not chosen:
        verdict = _refused(refusals[0][1])
        return replace(verdict, reasons=(translation.why, *refused))
    masquerade = any(_leaves_hidden(passage, translation, each) for each in chosen)
    if all(_asks_itself(passage, each) for each in chosen):
        masquerade = masquerade and not is_own(passage.node, passage.address)
        return Verdict(action=Action.PASS, masquerade=masquerade, reasons=(translation.why,))
    return Verdict(
        action=Action.FORWARD,
        endpoints=tuple(sorted(map(str, chosen))),
        masquerade=masquerade,
        reasons=(translation.why, *_remarks(passage, translation, chosen), *refused),
    )


def _asks_itself(passage: Passage, endpoint: Endpoint) -> bool:
    """Tell whether an endpoint's packet to its own place is not translated, only masqueraded."""
    asked = endpoint.address == passage.address == passage.source
    return asked and endpoint.port == passage.port


def _leaves_hidden(passage: Passage, translation: Translation, endpoint: Endpoint) -> bool:
    """Tell whether the packet leaves with an address of the node as its source."""
    return masquerades(translation, passage.source, endpoint) and not _stays(passage, endpoint)


def _stays(passage: Passage, endpoint: Endpoint) -> bool:
    """Tell whether the packet ends on the node without passing POSTROUTING."""
    return passage.arrival is not Arrival.PROCESS and is_own(passage.node, endpoint.address)


def _remarks(
    passage: Passage, translation: Translation, endpoints: list[Endpoint]
) -> Iterator[str]:
    """Yield what is special about single endpoints."""
    for endpoint in endpoints:
        if not masquerades(translation, passage.source, endpoint):
            continue
        if _stays(passage, endpoint):
            yield f"{endpoint} is the node itself, where nothing is masqueraded"
        elif not translation.masquerade:
            yield f"{endpoint} would ask itself (hairpin): then the source is masqueraded"


def _refused(refusal: Refusal) -> Verdict:
    action = Action.REJECT if refusal.outcome is Outcome.REFUSED else Action.DROP
    return Verdict(action=action, reasons=(refusal.why,))


def _passed(plan: Plan, rules: Rules, passage: Passage) -> Verdict:
    reasons = [*untouched(plan, passage)]
    if passage.arrival is Arrival.PROCESS and not is_own(passage.node, passage.address):
        # For a mode whose filter does not look at what the node itself sends.
        forwarded = replace(passage, arrival=Arrival.UPLINK)
        if refusal := rules.refuse(plan, forwarded, False):
            reasons = [f"processes of the node are not refused, though {refusal.why}"]
    return Verdict(action=Action.PASS, reasons=tuple(reasons))
