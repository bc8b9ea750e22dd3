"""Sightings, rules and conntrack put together: the packet on each host."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from msgspec.structs import replace as replaced

from kproxy.explain.captures import packets_of
from kproxy.explain.hops import Hooks, Observed, endpoints_of, hops_of
from kproxy.explain.itinerary import Ends, Hop
from kproxy.explain.traces import TracedStep
from kproxy.explain.walk import Flow
from kproxy.forwarding.network import Host, HostKind, Network
from kproxy.kernel.trace import TraceStep
from kproxy.kernel.tracked import Entry, Tuple
from kproxy.outcome import How, Observation
from kproxy.probe.journey import Journey, Seen
from kproxy.probe.packets import Role
from tests.explain.journeys import (
    ANSWER,
    ANSWERS,
    ASKS,
    CLIENT,
    GIVES,
    POD,
    REQUEST,
    SERVICE,
    seen,
    sighting,
)

HOOKS: Hooks = {
    ("ip", "nat", "PREROUTING"): "prerouting",
    ("ip", "filter", "FORWARD"): "forward",
    ("ip", "nat", "POSTROUTING"): "postrouting",
    ("ip", "filter", "OUTPUT"): "output",
}
NETWORK = Network(
    hosts={
        name: Host(name=name, kind=kind, addresses=addresses)
        for name, kind, addresses in (
            ("client", HostKind.POD, (CLIENT,)),
            ("web", HostKind.POD, (POD,)),
            ("node-a", HostKind.NODE, ()),
            ("node-b", HostKind.NODE, ()),
            ("router", HostKind.ROUTER, ()),
        )
    },
    routes={},
)
TRANSLATED = Entry(
    Tuple("TCP", CLIENT, 20000, SERVICE, 80), Tuple("TCP", POD, 8080, CLIENT, 20000), "SYN_RECV", 4
)


def traced(
    host: str,
    chain: str,
    verdict: str,
    *,
    flow: Flow = ASKS,
    role: Role = Role.REQUEST,
    hop_limit: int = 64,
    how: How | None = None,
) -> TracedStep:
    table, _, name = chain.partition(" ")
    step = TraceStep(
        order=1,
        family="ip",
        table=table,
        chain=name,
        kind="rule",
        verdict=verdict,
        rule=1,
        packet=b"",
    )
    return TracedStep(host, role, step, sighting(flow, role, how, hop_limit=hop_limit))


def hops(
    sightings: Sequence[Seen],
    steps: Sequence[TracedStep] = (),
    tracked: dict[str, list[Entry]] | None = None,
) -> list[Hop]:
    journey = Journey(
        8, CLIENT, 20000, tuple(sightings), Observation.dropped("client", hops=("client",))
    )
    observed = Observed(
        journey, "TCP", ASKS, steps, dict.fromkeys(NETWORK.hosts, HOOKS), tracked or {}
    )
    rules = {"KUBE-SEP": "-j DNAT --to-destination x", "KUBE-SVC": ""}
    return hops_of(
        observed,
        NETWORK,
        {"KUBE-SVC": "chooses"},
        lambda each: rules.get(each.step.chain, f"-A {each.step.chain}"),
    )


def test_there_and_back() -> None:
    found = hops((*REQUEST, *ANSWER))
    assert [(hop.host, hop.kind, hop.role, hop.packet, hop.entry, hop.exit) for hop in found] == [
        ("client", "pod", "request", "SYN", "", "eth0"),
        ("node-b", "node", "request", "SYN", "client", "vx0"),
        ("router", "router", "request", "SYN", "node-b", "node-a"),
        ("node-a", "node", "request", "SYN", "vx0", "web"),
        ("web", "pod", "request", "SYN", "eth0", ""),
        ("web", "pod", "reply", "SYN-ACK", "", "eth0"),
        ("node-a", "node", "reply", "SYN-ACK", "web", "vx0"),
        ("node-b", "node", "reply", "SYN-ACK", "vx0", "client"),
        ("client", "pod", "reply", "SYN-ACK", "eth0", ""),
    ]
    (endpoint,) = endpoints_of(found, NETWORK)
    assert (endpoint.address, endpoint.port, endpoint.host) == (POD, 8080, "web")
    assert endpoint.chosen_by == "node-b"


def test_rules_are_in_the_hook_of_their_base_chain() -> None:
    steps = [
        traced("node-b", "nat PREROUTING", "jump KUBE-SVC"),
        traced("node-b", "nat KUBE-SVC", "goto KUBE-SEP"),
        traced("node-b", "nat KUBE-SEP", "accept"),
        traced("node-b", "filter FORWARD", "accept", flow=GIVES),
        traced("node-b", "nat KUBE-X", "continue", flow=GIVES),
        traced("node-a", "nat POSTROUTING", "accept", flow=GIVES),
        traced("node-b", "filter FORWARD", "accept", flow=ANSWERS, role=Role.ANSWER),
    ]
    found = hops((*REQUEST, *ANSWER), steps)
    assert [(step.hook, step.chain, step.effect) for step in found[1].steps] == [
        ("prerouting", "PREROUTING", "jump"),
        ("prerouting", "KUBE-SVC", ""),
        ("prerouting", "KUBE-SEP", "dnat"),
        ("forward", "FORWARD", ""),
        ("forward", "KUBE-X", ""),
    ]
    assert found[1].steps[0].purpose == "chooses"
    assert [step.hook for step in found[3].steps] == ["postrouting"]
    assert [step.hook for step in found[7].steps] == ["forward"]


def limited(entry: Seen, hop_limit: int) -> Seen:
    from dataclasses import replace

    return replace(entry, sighting=replace(entry.sighting, hop_limit=hop_limit))


def test_a_host_that_is_crossed_twice_has_the_rules_of_each_time() -> None:
    places = [
        ("client:eth0>", 64),
        ("router:client", 64),
        ("router:node-a>", 63),
        ("node-a:eth0", 63),
        ("node-a:eth0>", 62),
        ("router:node-a", 62),
        ("router:node-b>", 61),
        ("node-b:eth0", 61),
    ]
    steps = [
        traced("router", "nat PREROUTING", "accept", hop_limit=64),
        traced("router", "filter FORWARD", "accept", hop_limit=63),
        traced("router", "nat PREROUTING", "accept", hop_limit=62),
        traced("node-b", "nat PREROUTING", "accept", hop_limit=61),
        traced("node-b", "filter FORWARD", "drop", hop_limit=60),  # it was lowered before
    ]
    found = hops([limited(seen(place, ASKS), limit) for place, limit in places], steps)
    assert [(hop.host, len(hop.steps)) for hop in found] == [
        ("client", 0),
        ("router", 2),
        ("node-a", 0),
        ("router", 1),
        ("node-b", 2),
    ]


def test_what_only_conntrack_has_seen_translated() -> None:
    """A tap sees an answer before the host that asked translates it back."""
    own = ASKS._replace(source="192.168.10.12")
    entry = TRANSLATED._replace(
        original=Tuple("TCP", *own), reply=Tuple("TCP", POD, 8080, own.source, 20000)
    )
    answer = Flow(POD, 8080, own.source, 20000)
    (found,) = hops([seen("node-b:eth0", answer, Role.ANSWER)], tracked={"node-b": [entry]})[1:]
    assert found.before == Ends(*answer)
    assert found.after == Ends(SERVICE, 80, own.source, 20000)
    assert found.conntrack is not None
    assert (found.conntrack.state, found.conntrack.mark) == ("SYN_RECV", 4)


def test_what_only_a_later_hook_has_seen_translated() -> None:
    """An entry is there only after the last hook: of a packet that is dropped there is none."""
    steps = [
        traced("node-b", "nat PREROUTING", "accept"),
        traced("node-b", "filter FORWARD", "drop", flow=GIVES, hop_limit=63),
    ]
    found = hops(REQUEST[:2], steps)[-1]
    assert (found.before, found.after) == (Ends(*ASKS), Ends(*GIVES))
    assert found.steps[-1].effect == "drop"


def test_an_entry_belongs_to_all_packets_of_its_connection() -> None:
    other = TRANSLATED._replace(
        original=TRANSLATED.original._replace(source_port=4),
        reply=TRANSLATED.reply._replace(destination_port=4),
    )
    found = hops((*REQUEST, *ANSWER), tracked={"node-b": [other, TRANSLATED]})
    held = [hop.host for hop in found if hop.conntrack]
    assert held == ["node-b", "node-b"]
    assert all(hop.conntrack.original.source_port == 20000 for hop in found if hop.conntrack)


def test_a_probe_that_its_own_host_drops_is_one_hop() -> None:
    steps = [traced("node-b", "filter OUTPUT", "drop")]
    (found,) = hops([], steps)
    assert (found.host, found.entry, found.exit) == ("node-b", "", "")
    assert [step.effect for step in found.steps] == ["drop"]
    (nowhere,) = hops([])
    assert (nowhere.host, nowhere.before) == ("client", Ends(*ASKS))


@pytest.mark.parametrize("how", [How.PORT_UNREACHABLE, How.RST])
def test_a_refusal_is_an_error_with_its_name(how: How) -> None:
    back = Flow("192.168.10.12", 0, CLIENT, 0)
    refusal = [
        seen("node-b:client>", back, Role.REFUSAL, how=how),
        seen("client:eth0", back, Role.REFUSAL, how=how),
    ]
    steps = [traced("node-b", "filter OUTPUT", "accept", flow=back, role=Role.REFUSAL, how=how)]
    found = hops((*REQUEST[:2], *refusal), steps, {"node-b": [TRANSLATED]})
    errors = [hop for hop in found if hop.role == "error"]
    assert [(hop.host, hop.packet) for hop in errors] == [
        ("node-b", how.value),
        ("client", how.value),
    ]
    assert [len(hop.steps) for hop in errors] == [1, 0]
    # An ICMP error has no ends of its own: it belongs to what it is about.
    assert bool(errors[0].conntrack) is (how is How.PORT_UNREACHABLE)


def test_packets_of_a_capture_have_the_rules_of_their_hop() -> None:
    rules = (
        traced("node-b", "nat KUBE-SEP", "accept"),
        traced("node-b", "nat POSTROUTING", "jump KUBE-SVC", flow=GIVES),
    )
    found = hops((*REQUEST, *ANSWER), [traced("node-b", "nat PREROUTING", "accept"), *rules])
    packets = packets_of((*REQUEST, *ANSWER), found)
    assert [each.interface for each in packets[:4]] == [
        "client/eth0",
        "node-b/client",
        "node-b/vx0",
        "node-b/eth0",
    ]
    assert [each.comment for each in packets[:5]] == [
        "",
        "prerouting nat -j DNAT --to-destination x",
        "",
        "postrouting nat -A POSTROUTING",
        "",
    ]
    (last,) = packets_of(REQUEST[1:2], [replaced(found[1], exit="")])
    assert last.comment.count("\n") == 1  # it went no further
