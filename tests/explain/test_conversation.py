"""A request, and what answers it, are picked from all that was caught."""

from __future__ import annotations

from msgspec.structs import replace
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPerror, UDPerror
from scapy.packet import Packet, Raw

from kproxy.explain.conversation import Caught, Conversation, Met, conversation
from kproxy.kernel.trace import TABLE, TraceStep
from kproxy.kernel.tracked import Entry, Tuple
from kproxy.probe.foreign import foreign
from kproxy.probe.packets import Role

CLIENT, SERVICE, POD = "10.244.1.11", "10.96.0.11", "10.244.2.11"
WINDOW_NS = 800
QUERY = Raw(b"query")


def caught(host: str, outgoing: bool, time_ns: int, packet: Packet) -> Caught:
    data = bytes(packet)
    found = foreign(data)
    assert found
    return Caught(host, "eth0", outgoing, time_ns, False, data, found)


def met(host: str, packet: Packet) -> Met:
    data = bytes(packet)[:40]
    found = foreign(data)
    assert found
    step = TraceStep(
        order=1,
        family="ip",
        table="nat",
        chain="PREROUTING",
        kind="rule",
        verdict="accept",
        rule=1,
        packet=data,
    )
    return Met(host, step, found)


def syn(source: str, destination: str, ttl: int, sequence: int = 7) -> Packet:
    return IP(src=source, dst=destination, ttl=ttl) / TCP(
        sport=9, dport=80, flags="S", seq=sequence
    )


def syn_ack(source: str, destination: str, ttl: int) -> Packet:
    return IP(src=source, dst=destination, ttl=ttl) / TCP(sport=80, dport=9, flags="SA", ack=8)


def datagram(source: str, destination: str, identification: int, words: Raw = QUERY) -> Packet:
    sport, dport = (9, 53) if source == CLIENT else (53, 9)
    head = IP(src=source, dst=destination, id=identification)
    return head / UDP(sport=sport, dport=dport) / words


def places(found: Conversation, role: Role) -> list[tuple[str, bool]]:
    return [(each.host, each.outgoing) for each in found.seen if each.sighting.role is role]


def test_a_connection_among_others() -> None:
    packets = [
        caught("pod", True, 1, syn(CLIENT, SERVICE, 64)),
        caught("node", False, 2, syn(CLIENT, SERVICE, 64)),
        caught("node", False, 2, syn("10.9.9.9", SERVICE, 64, sequence=99)),
        caught("node", True, 3, syn(CLIENT, POD, 63)),
        caught("node", False, 4, syn_ack(POD, CLIENT, 64)),
        caught("node", True, 5, syn_ack(SERVICE, CLIENT, 63)),
        caught("pod", False, 6, syn_ack(SERVICE, CLIENT, 63)),
        caught("pod", True, 1000, syn(CLIENT, SERVICE, 64)),  # sent again
    ]
    steps = [met("node", syn(CLIENT, SERVICE, 64)), met("node", syn(CLIENT, SERVICE, 64, 99))]
    found = conversation(("TCP", 7), packets, steps, {}, WINDOW_NS)
    assert places(found, Role.REQUEST) == [("pod", True), ("node", False), ("node", True)]
    assert places(found, Role.ANSWER) == [("node", False), ("node", True), ("pod", False)]
    assert [(each.host, each.role) for each in found.steps] == [("node", Role.REQUEST)]
    assert (found.first, found.made_there, found.reply) == ("pod", True, Role.ANSWER)
    assert found.made == (CLIENT, 9, SERVICE, 80)
    # As long as its answer is only on its way, it has not come back.
    assert conversation(("TCP", 7), packets[:6], steps, {}, WINDOW_NS).reply is None


def test_what_was_seen_long_before_the_request_is_of_another_one() -> None:
    """A connection with the same number, of which not all was seen."""
    late = WINDOW_NS + 100
    packets = [
        caught("client", False, 10, syn_ack(POD, CLIENT, 62)),
        caught("client", True, late, syn(CLIENT, SERVICE, 64)),
    ]
    found = conversation(("TCP", 7), packets, [], {}, WINDOW_NS)
    assert [each.time_ns for each in found.seen] == [late]
    assert found.reply is None


def test_it_came_in_from_elsewhere() -> None:
    packets = [
        caught("node", False, 2, syn(CLIENT, SERVICE, 64)),
        caught("node", True, 3, syn(CLIENT, POD, 63)),
        caught("node", False, 4, syn_ack(POD, CLIENT, 64)),
        caught("node", True, 5, syn_ack(SERVICE, CLIENT, 63)),
    ]
    found = conversation(("TCP", 7), packets, [], {}, WINDOW_NS)
    assert (found.first, found.made_there, found.reply) == ("node", False, Role.ANSWER)
    assert conversation(("TCP", 7), packets[:3], [], {}, WINDOW_NS).reply is None


def test_a_host_that_translates_what_it_sends() -> None:
    """Taps see the packet translated; rules, and else conntrack, tell what was asked."""
    packets = [caught("node", True, 1, syn(CLIENT, POD, 64))]
    steps = [met("node", syn(CLIENT, SERVICE, 64))]
    assert conversation(("TCP", 7), packets, steps, {}, WINDOW_NS).made[2] == SERVICE
    entry = Entry(
        Tuple("TCP", CLIENT, 9, SERVICE, 80), Tuple("TCP", POD, 80, CLIENT, 9), "SYN_SENT", 0
    )
    found = conversation(("TCP", 7), packets, [], {"node": [entry]}, WINDOW_NS)
    assert found.made == (CLIENT, 9, SERVICE, 80)
    assert conversation(("TCP", 7), packets, [], {}, WINDOW_NS).made == (CLIENT, 9, POD, 80)


def test_only_a_rule_has_seen_it() -> None:
    found = conversation(("TCP", 7), [], [met("node", syn(CLIENT, SERVICE, 64))], {}, WINDOW_NS)
    assert (found.first, found.made_there, found.seen) == ("node", True, ())


def test_the_first_datagram_that_comes_back_is_the_answer() -> None:
    packets = [
        caught("node", False, 1, datagram(CLIENT, SERVICE, 5)),
        caught("node", True, 2, datagram(CLIENT, POD, 5)),
        caught("node", False, 3, datagram(POD, CLIENT, 8, Raw(b"first"))),
        caught("node", True, 4, datagram(SERVICE, CLIENT, 8, Raw(b"first"))),
        caught("node", False, 5, datagram(POD, CLIENT, 9, Raw(b"second"))),
        caught("node", False, 6, datagram(CLIENT, SERVICE, 6)),
    ]
    found = conversation(packets[0].packet.key, packets, [], {}, WINDOW_NS)
    assert [each.time_ns for each in found.seen] == [1, 2, 3, 4]
    assert found.reply is Role.ANSWER
    assert {each[2] for each in found.ends} == {SERVICE, POD}


def test_an_error_about_the_translated_datagram() -> None:
    quoted = IPerror(src=CLIENT, dst=POD, id=5) / UDPerror(sport=9, dport=53)
    error = IP(src=POD, dst=CLIENT) / ICMP(type=3, code=3) / quoted
    other = IPerror(src=CLIENT, dst=POD, id=5) / UDPerror(sport=10, dport=53)
    packets = [
        caught("node", False, 1, datagram(CLIENT, SERVICE, 5)),
        caught("node", True, 2, datagram(CLIENT, POD, 5)),
        caught("node", False, 3, error),
        caught("node", False, 4, IP(src=POD, dst=CLIENT) / ICMP(type=3, code=3) / other),
    ]
    found = conversation(packets[0].packet.key, packets, [met("node", error)], {}, WINDOW_NS)
    assert [each.time_ns for each in found.seen] == [1, 2, 3]
    assert [each.role for each in found.steps] == [Role.REFUSAL]


def test_our_own_rule_only_tells_that_the_trace_has_begun() -> None:
    packet = syn(CLIENT, SERVICE, 64)
    own = met("node", packet)
    own = own._replace(step=replace(own.step, table=f"{TABLE}-7"))
    packets = [caught("node", True, 1, syn(CLIENT, POD, 64))]
    found = conversation(("TCP", 7), packets, [own], {}, WINDOW_NS)
    assert not found.steps
    assert found.marked == {("node", Role.REQUEST)}
    assert found.made == (CLIENT, 9, SERVICE, 80)
