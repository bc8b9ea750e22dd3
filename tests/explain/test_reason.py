"""Each mechanism, from journeys and rules written by hand.

Clients ask 10.96.0.10:80. The pod is web on node-a, the client is client on node-b.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

import pytest

from kproxy.explain.facts import Facts
from kproxy.explain.reason import Mechanism, Reason, explain
from kproxy.explain.traces import TracedStep
from kproxy.explain.walk import Flow
from kproxy.forwarding.network import Packet
from kproxy.kernel.trace import TraceStep
from kproxy.kernel.trace.steps import Kind
from kproxy.outcome import How, Observation
from kproxy.probe.journey import Journey, Seen
from kproxy.probe.packets import Role
from tests.explain.journeys import (
    ANSWER,
    ANSWERS,
    ASKS,
    CLIENT,
    POD,
    REQUEST,
    A,
    B,
    seen,
)


@dataclass
class KnownFacts:
    """Facts about hosts. Routes: (host, address) -> link."""

    own: dict[str, frozenset[str]] = field(default_factory=dict)
    routes: dict[tuple[str, str], str] = field(default_factory=dict)
    strict: frozenset[str] = frozenset()
    virtual: frozenset[str] = frozenset()
    silent: frozenset[tuple[str, str, int]] = frozenset()
    black_holes: frozenset[tuple[str, str]] = frozenset()
    relays: bool = False

    def addresses(self, host: str) -> frozenset[str]:
        return self.own.get(host, frozenset())

    def link_towards(self, host: str, address: str) -> str:
        return self.routes.get((host, address), "")

    def is_black_hole(self, host: str, address: str) -> bool:
        return (host, address) in self.black_holes

    def is_strict(self, host: str, _link: str) -> bool:
        return host in self.strict

    def has_virtual_servers(self, host: str) -> bool:
        return host in self.virtual

    def listener_drops(self, host: str, address: str, port: int) -> bool:
        return (host, address, port) in self.silent


def traced(
    host: str,
    verdict: str,
    table: str,
    chain: str,
    text: str = "",
    role: Role = Role.REQUEST,
    kind: Kind = "rule",
) -> TracedStep:
    """Make a step that carries its rule in place of its packet."""
    step = TraceStep(
        order=1,
        family="ip",
        table=table,
        chain=chain,
        kind=kind,
        verdict=verdict,
        rule=1,
        packet=text.encode(),
    )
    return TracedStep(host, role, step)


def reason(
    observed: Observation,
    walked: tuple[Seen, ...],
    steps: tuple[TracedStep, ...] = (),
    facts: KnownFacts | None = None,
    made: Flow = ASKS,
    client: str = "client",
) -> Reason:
    """Return the reason. `steps`: made by `traced`."""
    return explain(
        Packet(client=client, address=made.destination, port=made.destination_port),
        Journey(8, made.source, made.source_port, walked, observed),
        steps,
        cast(Facts, facts or KnownFacts()),
        lambda each: each.step.packet.decode(),
    )


DNAT = traced("node-b", "accept", "nat", "KUBE-SEP-X", "-A KUBE-SEP-X -j DNAT --to-destination ...")
MASQUERADE = traced("node-b", "accept", "nat", "KUBE-POSTROUTING", '-j MASQUERADE comment "SNAT"')
NFT = traced("node-b", "accept", "kube-proxy", "service-x", "ip daddr 10.96.0.10 dnat to ...")
MARK = traced("node-b", "continue", "nat", "KUBE-MARK-MASQ", "-A KUBE-MARK-MASQ -j MARK DNAT")
DROP = traced("node-a", "drop", "filter", "KUBE-FORWARD", "-A KUBE-FORWARD -j DROP")
LOST = Observation.dropped("node-a")
TRANSLATED = "node-b sends it to 10.244.1.11:8080"
BY_DNAT = f"{TRANSLATED} (nat KUBE-SEP-X: -j DNAT --to-destination ...)"
FROM_B = "node-b sets its source to 192.168.10.12"
IPVS = KnownFacts(virtual=frozenset({"node-b"}))

SENT_ON = seen("node-b:eth0>", Flow(B, 4711, POD, 8080))
ANSWERED = [  # sightings, rules -> translations
    (REQUEST[:1], (), "web is reached without any translation"),
    (REQUEST, (DNAT,), BY_DNAT),
    (
        REQUEST,
        (MARK, NFT),
        f"{TRANSLATED} (kube-proxy service-x: ip daddr 10.96.0.10 dnat to ...)",
    ),
    (REQUEST, (MARK,), f"{TRANSLATED} (IPVS)"),
    (REQUEST, (traced("node-a", *("accept", "nat", "X", "-A X -j DNAT")),), f"{TRANSLATED} (IPVS)"),
    (REQUEST, (DNAT._replace(role=Role.ANSWER),), f"{TRANSLATED} (IPVS)"),
    (
        (*REQUEST[:2], SENT_ON),
        (DNAT, MASQUERADE),
        f'{BY_DNAT}; {FROM_B} (nat KUBE-POSTROUTING "SNAT")',
    ),
    (
        (*REQUEST[:2], SENT_ON),
        (),
        f"{TRANSLATED} (IPVS); {FROM_B}",
    ),
]


@pytest.mark.parametrize(("walked", "steps", "text"), ANSWERED)
def test_answered(walked: tuple[Seen, ...], steps: tuple[TracedStep, ...], text: str) -> None:
    found = reason(Observation.delivered("web", CLIENT), walked, steps, IPVS)
    assert (found.mechanism, found.at, found.text) == (Mechanism.ANSWERED, "web", text)


def test_ipvs_is_not_said_to_be_where_it_is_not() -> None:
    """The name of a rule that has been replaced since is not known."""
    assert reason(Observation.delivered("web", CLIENT), REQUEST, (MARK,)).text == TRANSLATED


def test_what_was_done_before_the_end_stands_beside_it() -> None:
    found = reason(LOST, REQUEST[:8], (DNAT, DROP))
    assert found.text == "node-a drops it: filter KUBE-FORWARD: -j DROP"
    assert found.way == (BY_DNAT,)


POLICY = traced("node-a", "drop", "filter", "FORWARD", kind="policy")
DROPPED_BY = [  # sightings, rules -> host where it ended, and reason
    (REQUEST[:8], (DROP,), "node-a", "node-a drops it: filter KUBE-FORWARD: -j DROP"),
    (REQUEST[:8], (POLICY,), "node-a", "node-a drops it: filter FORWARD, its policy"),
    (  # it was not seen to leave its first host
        (),
        (DROP._replace(host="client"),),
        "client",
        "client drops it: filter KUBE-FORWARD: -j DROP",
    ),
]


@pytest.mark.parametrize(("walked", "steps", "at", "text"), DROPPED_BY)
def test_rule(walked: tuple[Seen, ...], steps: tuple[TracedStep, ...], at: str, text: str) -> None:
    found = reason(LOST, walked, steps)
    assert (found.mechanism, found.at, found.text) == (Mechanism.RULE, at, text)


NOT_ITS_RULES = [  # another host's, another packet's, not a drop
    DROP._replace(host="router"),
    DROP._replace(role=Role.ANSWER),
    traced("node-a", "accept", "filter", "KUBE-FORWARD", "-A KUBE-FORWARD -j ACCEPT"),
]


@pytest.mark.parametrize("other", NOT_ITS_RULES)
def test_other_rules_are_not_blamed(other: TracedStep) -> None:
    facts = KnownFacts(routes={("node-a", POD): "web"})
    found = reason(LOST, REQUEST[:8], (other,), facts)
    assert (found.mechanism, found.at) == (Mechanism.UNKNOWN, "node-a")


# A packet from node-b to a pod, which node-a got by vx0 and does not forward.
V6_POD, V6_B = "fd00:10:244:1::11", "fd00:192::12"
FROM_NODE = Flow(B, 20000, POD, 8080)
FROM_NODE_V6 = Flow(V6_B, 20000, V6_POD, 8080)
TO_POD = {("node-a", POD): "web", ("node-a", V6_POD): "web"}
BACK_BY_ETH0 = {("node-a", B): "eth0", ("node-a", V6_B): "eth0"}
BACK_BY_VX0 = {("node-a", B): "vx0", ("node-a", V6_B): "vx0"}
STRICT = frozenset({"node-a"})
CAME = "it comes in by vx0 from 192.168.10.12"
MARTIAN = "node-a drops it: {}, an address of its own (martian source)".format
REVERSE = "node-a drops it: {}, but {} (strict reverse path filter)".format
SILENT = "it ends on node-a, which gives no reason"

REFUSED_ENTRY = [  # the packet, its own addresses, routes, strict -> mechanism, text
    (FROM_NODE, {B}, TO_POD, STRICT, Mechanism.MARTIAN, MARTIAN(CAME)),
    (
        FROM_NODE,
        {B},
        {},
        frozenset(),
        Mechanism.MARTIAN,
        MARTIAN(CAME),
    ),  # also if not strict
    (
        FROM_NODE,
        {A},
        TO_POD | BACK_BY_ETH0,
        STRICT,
        Mechanism.REVERSE_PATH,
        REVERSE(CAME, "the way back is eth0"),
    ),
    (
        FROM_NODE,
        {A},
        TO_POD,
        STRICT,
        Mechanism.REVERSE_PATH,
        REVERSE(CAME, "there is no way back"),
    ),
    (FROM_NODE, {A}, TO_POD | BACK_BY_VX0, STRICT, Mechanism.UNKNOWN, SILENT),
    (FROM_NODE, {A}, TO_POD | BACK_BY_ETH0, frozenset(), Mechanism.UNKNOWN, SILENT),
    (
        FROM_NODE,
        {A},
        BACK_BY_VX0,
        STRICT,
        Mechanism.NO_ROUTE,
        "node-a drops it: it has no route to 10.244.1.11",
    ),
    # IPv6 has neither of the two checks.
    (FROM_NODE_V6, {V6_B}, TO_POD, STRICT, Mechanism.UNKNOWN, SILENT),
    (FROM_NODE_V6, {A}, TO_POD | BACK_BY_ETH0, STRICT, Mechanism.UNKNOWN, SILENT),
    (
        FROM_NODE_V6,
        {A},
        {},
        STRICT,
        Mechanism.NO_ROUTE,
        "node-a drops it: it has no route to fd00:10:244:1::11",
    ),
]


@pytest.mark.parametrize(("flow", "own", "routes", "strict", "mechanism", "text"), REFUSED_ENTRY)
def test_what_a_host_does_not_take(
    flow: Flow,
    own: set[str],
    routes: dict[tuple[str, str], str],
    strict: frozenset[str],
    mechanism: Mechanism,
    text: str,
) -> None:
    facts = KnownFacts({"node-a": frozenset(own)}, routes, strict)
    walked = (seen("node-b:vx0>", flow), seen("node-a:vx0", flow))
    found = reason(LOST, walked, facts=facts, made=flow, client="node-b")
    assert (found.mechanism, found.at, found.text) == (mechanism, "node-a", text)


def test_a_rule_that_dropped_it_goes_before_what_the_host_would_say() -> None:
    facts = KnownFacts({"node-a": frozenset({CLIENT})}, strict=STRICT)
    assert reason(LOST, REQUEST[:8], (DROP,), facts).mechanism is Mechanism.RULE


@pytest.mark.parametrize(
    ("place", "mechanism"),
    [
        (("node-a", B, 30080), Mechanism.LISTENER),
        (("node-a", B, 30081), Mechanism.UNKNOWN),
        (("node-b", B, 30080), Mechanism.UNKNOWN),
    ],
)
def test_a_listener_that_drops_is_told_if_the_packet_ended_there(
    place: tuple[str, str, int], mechanism: Mechanism
) -> None:
    flow = Flow(CLIENT, 4711, B, 30080)
    routes = BACK_BY_VX0 | {("node-a", B): "lo"}
    facts = KnownFacts(routes=routes, silent=frozenset({place}))
    walked = (seen("node-b:vx0>", flow), seen("node-a:vx0", flow))
    found = reason(LOST, walked, facts=facts, made=flow, client="node-b")
    assert (found.mechanism, found.at) == (mechanism, "node-a")


UNANSWERED = Observation.delivered("web", CLIENT, answered=False)
CHECK = traced(
    "router", "drop", "raw", "SOURCE-node-a", '-j DROP comment "check"', role=Role.ANSWER
)
AT_ROUTER = (*ANSWER[:1], seen("router:node-a", ANSWERS, Role.ANSWER))
ELSEWHERE = (*ANSWER[:5], seen("client:eth0", ANSWERS, Role.ANSWER))
# node-b set the request's source to its own address, and got an answer from another address.
MASQUERADED = (*REQUEST[:2], SENT_ON, *REQUEST[9:])
TO_NODE = Flow(A, 30080, B, 4711)
AT_NODE = (
    *ANSWER[:1],
    seen("node-a:eth0>", TO_NODE, Role.ANSWER),
    seen("node-b:eth0", TO_NODE, Role.ANSWER),
)
ANSWERS_PAST = (
    "the answer comes to client from 10.244.1.11:8080 instead of 10.96.0.10:80: "
    "it has passed no host that translates it back"
)
NOT_RECEIVED = "the answer leaves node-a by vx0, and no host receives it there"
LOST_ANSWERS = [  # sightings of the answer, rules -> mechanism, host, text
    ((), (), Mechanism.UNKNOWN, "web", "web does not answer"),
    (
        AT_ROUTER,
        (CHECK,),
        Mechanism.RULE,
        "router",
        'router drops the answer: raw SOURCE-node-a "check"',
    ),
    (
        AT_ROUTER,
        (CHECK._replace(role=Role.REQUEST),),
        Mechanism.NO_ROUTE,
        "router",
        "router drops the answer: it has no route to 10.244.2.11",
    ),
    (ANSWER[:3], (), Mechanism.UNKNOWN, "node-a", NOT_RECEIVED),
    (ELSEWHERE, (), Mechanism.BYPASS, "client", f"{ANSWERS_PAST}, and client does not know it"),
]


@pytest.mark.parametrize(("back", "steps", "mechanism", "at", "text"), LOST_ANSWERS)
def test_lost_answers(
    back: tuple[Seen, ...], steps: tuple[TracedStep, ...], mechanism: Mechanism, at: str, text: str
) -> None:
    found = reason(UNANSWERED, (*REQUEST, *back), steps)
    assert (found.mechanism, found.at, found.text) == (mechanism, at, text)
    assert found.way[-1] == f"web gets it from {CLIENT}"


def test_an_answer_to_a_host_that_masqueraded_the_request() -> None:
    facts = KnownFacts(routes={("node-b", B): "lo"})
    found = reason(UNANSWERED, (*MASQUERADED, *AT_NODE), facts=facts)
    assert (found.mechanism, found.at) == (Mechanism.BYPASS, "node-b")
    assert found.text == (
        "the answer comes to node-b from 192.168.10.11:30080 instead of 10.244.1.11:8080: "
        "it has passed no host that translates it back, and node-b does not know it"
    )


def test_an_answer_that_a_host_keeps_as_it_has_the_address_too() -> None:
    facts = KnownFacts(routes={("node-a", CLIENT): "lo"})
    back = (*ANSWER[:1], seen("node-a:web", ANSWERS, Role.ANSWER))
    found = reason(UNANSWERED, (*REQUEST, *back), facts=facts)
    assert (found.mechanism, found.at) == (Mechanism.BYPASS, "node-a")
    assert found.text == (
        f"node-a keeps the answer: {CLIENT} is an address of its own, "
        "but the request came from another host that has it, too"
    )


REJECT = traced("node-a", "drop", "filter", "KUBE-SERVICES", '-j REJECT comment "no endpoints"')
REFUSALS = [  # how, rules -> mechanism, text
    (
        How.PORT_UNREACHABLE,
        (REJECT,),
        Mechanism.RULE,
        'node-a refuses it with ICMP port unreachable: filter KUBE-SERVICES "no endpoints"',
    ),
    (
        How.PORT_UNREACHABLE,
        (),
        Mechanism.REFUSED,
        "node-a refuses it with ICMP port unreachable",
    ),
    (
        How.RST,
        (REJECT._replace(host="node-b"),),
        Mechanism.REFUSED,
        "node-a refuses it with RST",
    ),
]


@pytest.mark.parametrize(("how", "steps", "mechanism", "text"), REFUSALS)
def test_refusals(how: How, steps: tuple[TracedStep, ...], mechanism: Mechanism, text: str) -> None:
    found = reason(Observation.refused("node-a", how), REQUEST[:8], steps)
    assert (found.mechanism, found.at, found.text) == (mechanism, "node-a", text)


TO_ITSELF = Flow(B, 20000, B, 80)
UNKNOWN = [  # sightings -> host, text
    (  # no martian, though its source is an address of the host
        (seen("node-b:lo>", TO_ITSELF), seen("node-b:lo", TO_ITSELF)),
        "node-b",
        "it ends on node-b, which gives no reason",
    ),
    ((), "client", "it ends on client, which gives no reason"),
    (REQUEST[:3], "node-b", "it leaves node-b by vx0, and no host receives it there"),
]


@pytest.mark.parametrize(("walked", "at", "text"), UNKNOWN)
def test_unknown(walked: tuple[Seen, ...], at: str, text: str) -> None:
    facts = KnownFacts({"node-b": frozenset({B})})
    found = reason(Observation.dropped(at), walked, facts=facts)
    assert (found.mechanism, found.at, found.text) == (Mechanism.UNKNOWN, at, text)


def test_addresses_of_ipv6_stand_in_brackets() -> None:
    asks = Flow("fd00:10:244:2::11", 20000, "fd00:10:96::10", 80)
    gives = asks._replace(destination=V6_POD, destination_port=8080)
    walked = (seen("client:eth0>", asks), seen("node-b:client", asks), seen("node-b:vx0>", gives))
    found = reason(Observation.delivered("web", asks.source), walked, facts=IPVS, made=asks)
    assert found.text == "node-b sends it to [fd00:10:244:1::11]:8080 (IPVS)"


NO_WAY = "10.99.0.1"
TO_NOWHERE = Flow(CLIENT, 4711, NO_WAY, 80)
VARYING = traced("node-a", "drop", "filter", "X", "-A X -m limit --limit 1/sec -j DROP")
LASTING = [
    ((DROP,), KnownFacts(), True),
    ((VARYING,), KnownFacts(), False),
    ((), KnownFacts(strict=STRICT), True),
    ((), KnownFacts(), False),  # without a route Linux refuses some packets
    ((), KnownFacts(black_holes=frozenset({("node-a", NO_WAY)})), True),
    ((), KnownFacts(routes={("node-a", NO_WAY): "lo"}), False),  # no reason is known
]


@pytest.mark.parametrize(("steps", "facts", "lasts"), LASTING)
def test_some_reasons_last(steps: tuple[TracedStep, ...], facts: KnownFacts, lasts: bool) -> None:
    walked = (seen("node-b:vx0>", TO_NOWHERE), seen("node-a:vx0", TO_NOWHERE))
    assert reason(LOST, walked, steps, facts, TO_NOWHERE, "node-b").lasts == lasts


LASTING_REFUSALS = [
    (How.PORT_UNREACHABLE, (), True),  # as IPVS refuses what it has no server for
    (How.PORT_UNREACHABLE, (VARYING,), False),
    (How.NET_UNREACHABLE, (), False),
]


@pytest.mark.parametrize(("how", "steps", "lasts"), LASTING_REFUSALS)
def test_only_some_refusals_last(how: How, steps: tuple[TracedStep, ...], lasts: bool) -> None:
    assert reason(Observation.refused("node-a", how), REQUEST[:8], steps).lasts == lasts
