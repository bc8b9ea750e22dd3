"""Rules and elements of nf_tables in the words of nft; all texts were printed by nft 1.0.6."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import pytest
from kproxy_nftables import words

from kproxy.address import Family
from kproxy.forwarding.plan import DetectLocal, LocalDetector, NodeSettings
from kproxy.kernel.netlink import attribute
from kproxy.kernel.nftables import expressions as expr
from kproxy.kernel.nftables.expressions import Ct, Header, Meta, Verdict, verdict_data
from kproxy.kernel.nftables.objects import (
    AnonymousSet,
    Rule,
    Set,
    element,
    interval,
    numbered_elements,
)
from kproxy.kernel.nftables.text import rule_text
from kproxy.kernel.nftables.types import (
    INTEGER,
    PORT,
    PROTOCOL,
    VERDICT,
    address,
    concatenation,
)
from kproxy.kernel.nftables.values import elements_text

V4, V6 = Family.IPV4, Family.IPV6
IP, IP6 = address(V4), address(V6)
FRONTEND = concatenation(IP, PROTOCOL, PORT)
FRONTEND_6 = concatenation(IP6, PROTOCOL, PORT)
SLOT = concatenation(IP, PORT, INTEGER)
SETS = {
    each.name: each
    for each in (
        Set("ips", IP),
        Set("services", FRONTEND, VERDICT),
        Set("services-6", FRONTEND_6, VERDICT),
        Set("endpoints", SLOT, concatenation(IP, PORT)),
        Set("node-endpoints", concatenation(PORT, INTEGER), concatenation(IP6, PORT)),
        Set("ranges", concatenation(IP, PROTOCOL, PORT, IP), ranges=True),
        Set("clients", IP, timeout_s=10),
    )
}
BIT = NodeSettings(family=V4, node_name="node-a")
HIGHEST_BIT = NodeSettings(family=V4, node_name="node-a", masquerade_bit=31)
BRIDGE = LocalDetector(DetectLocal.BRIDGE, "cni0")
PREFIX = LocalDetector(DetectLocal.PREFIX, "veth")
STARRED = LocalDetector(DetectLocal.BRIDGE, "pods*")
CHOSEN = AnonymousSet(
    tuple(
        element(words.slot_bytes(slot), verdict_data(Verdict.GOTO, f"endpoint-{slot}"))
        for slot in (1, 0)
    ),
    INTEGER,
    VERDICT,
    target=0,
)


def ports(*numbers: int) -> tuple[bytes, ...]:
    return tuple(words.address_bytes("10.0.0.1") + words.port_bytes(number) for number in numbers)


FORMS: list[
    tuple[Family, Sequence[bytes | AnonymousSet], str]
] = [  # family, the parts of a rule -> its text
    (V4, [words.drop()], "drop"),
    (V4, [expr.verdict(Verdict.RETURN)], "return"),
    (V4, [words.ct_state_new(), words.jump("check")], "ct state new jump check"),
    (V4, [words.ct_status_dnat(), expr.masquerade()], "ct status dnat masquerade fully-random"),
    (V4, [expr.reject(V4)], "reject"),
    (V6, [expr.reject(V6)], "reject"),
    (V4, [expr.count_in("seen") + expr.reject(V4)], 'counter name "seen" reject'),
    (V6, [expr.count_in("seen")], 'counter name "seen"'),
    (V4, [words.loopback(V4)], "ip daddr 127.0.0.0/8"),
    (V6, [words.loopback(V6)], "ip6 daddr ::1"),
    (V4, [expr.fib_is_local(source=True), words.goto("c")], "fib saddr type local goto c"),
    (V6, [expr.fib_is_local(source=False)], "fib daddr type local"),
    (V4, [words.not_loopback(V4)], "ip daddr != 127.0.0.0/8"),
    (V6, [words.not_loopback(V6)], "ip6 daddr != ::1"),
    (V4, [words.saddr_within(V4, "10.244.0.0/16")], "ip saddr 10.244.0.0/16"),
    (V4, [words.saddr_within(V4, "10.128.0.0/9", equal=False)], "ip saddr != 10.128.0.0/9"),
    (V4, [words.saddr_within(V4, "0.0.0.0/0")], "ip saddr 0.0.0.0/0"),
    (V6, [words.saddr_within(V6, "::ffff:1.2.3.4/128")], "ip6 saddr ::ffff:1.2.3.4"),
    (V6, [words.saddr_within(V6, "fd00::2/127")], "ip6 saddr fd00::2/127"),
    (V4, words.saddr_outside(V4, ["10.0.0.0/8"]), "ip saddr != 10.0.0.0/8"),
    (
        V4,
        words.saddr_outside(V4, ["10.0.0.2/32", "255.255.255.255/32", "10.0.0.0/31"]),
        "ip saddr != { 10.0.0.0-10.0.0.2, 255.255.255.255 }",
    ),
    (
        V4,
        words.daddr_within(V4, ["0.0.0.0/1", "128.0.0.0/1"]),
        "ip daddr { 0.0.0.0/0 }",
    ),
    (
        V6,
        words.saddr_outside(V6, ["ffff::/16", "fd00:0:0:1::/64", "fd00::/64", "fd00:0:0:2::/64"]),
        "ip6 saddr != { fd00::-fd00::2:ffff:ffff:ffff:ffff, ffff::/16 }",
    ),
    (V4, [words.from_local_pod(V4, BRIDGE)], 'iifname "cni0"'),
    (V4, [words.from_local_pod(V4, PREFIX, negate=True)], 'iifname != "veth*"'),
    (V4, [words.from_local_pod(V4, STARRED)], r'iifname "pods\*"'),
    (V4, [words.mark(BIT)], "meta mark set meta mark | 0x00004000"),
    (
        V4,
        [words.marked(BIT), words.unmark(BIT)],
        "meta mark & 0x00004000 != 0x00000000 meta mark set meta mark ^ 0x00004000",
    ),
    (V4, [words.marked(HIGHEST_BIT)], "meta mark != 0x00000000/1"),  # so says nft
    (V4, [words.daddr(V4), expr.lookup("ips")], "ip daddr @ips"),
    (
        V4,
        [words.destination(V4), expr.lookup("services", 0)],
        "ip daddr . meta l4proto . th dport vmap @services",
    ),
    (
        V6,
        [words.destination(V6), expr.lookup("services-6", 0)],
        "ip6 daddr . meta l4proto . th dport vmap @services-6",
    ),
    (
        V4,
        [words.destination_and_source(V4), expr.lookup("ranges", inverted=True), words.drop()],
        "ip daddr . meta l4proto . th dport . ip saddr != @ranges drop",
    ),
    (
        V4,
        [
            words.slot_of(V4, "TCP", 3, node_port=False),
            expr.lookup("endpoints", 1),
            words.dnat(V4),
        ],
        "dnat ip to ip daddr . tcp dport . numgen random mod 3 map @endpoints",
    ),
    (
        V6,
        [
            words.slot_of(V6, "SCTP", 1, node_port=True),
            expr.lookup("node-endpoints", 1),
            words.dnat(V6),
        ],
        "dnat ip6 to sctp dport . numgen random mod 1 map @node-endpoints",
    ),
    (
        V4,
        [
            words.protocol_is("UDP") + words.random_slot(1),
            words.endpoint_map(V4, ports(9)),
            words.dnat(V4),
        ],
        "meta l4proto udp dnat ip to numgen random mod 1 map { 0 : 10.0.0.1 . 9 }",
    ),
    (
        V4,
        [words.random_slot(2), CHOSEN],
        "numgen random mod 2 vmap { 0 : goto endpoint-0, 1 : goto endpoint-1 }",
    ),
    (
        V4,
        [words.protocol_is("TCP") + words.dnat_to(V4, "10.0.0.1", 80)],
        "meta l4proto tcp dnat to 10.0.0.1:80",
    ),
    (
        V6,
        [words.protocol_is("TCP") + words.dnat_to(V6, "fd00::1", 80)],
        "meta l4proto tcp dnat to [fd00::1]:80",
    ),
    (V4, [words.saddr(V4) + expr.remember("clients")], "update @clients { ip saddr }"),
]


@pytest.mark.parametrize(("family", "parts", "text"), FORMS, ids=[each[2] for each in FORMS])
def test_every_form_of_a_rule(
    family: Family, parts: Sequence[bytes | AnonymousSet], text: str
) -> None:
    assert rule_text(family, Rule(tuple(parts)), SETS) == text
    assert rule_text(family, Rule(tuple(parts), "why"), SETS) == f'{text} comment "why"'


ONES = b"\xff" * 4
TCP_RESET = attribute(1, struct.pack(">L", 1)) + attribute(2, b"\0")
QUOTA = attribute(1, struct.pack(">L", 2)) + attribute(2, b"one\0")
UNKNOWN = [  # what is named, the expressions that kproxy never writes
    ("log", [attribute(expr.LIST_ELEM, attribute(1, b"log\0") + attribute(2, b""))]),
    ("payload", [expr.payload(Header.TRANSPORT, 0, 2)]),  # th sport
    ("payload", [expr.payload(Header.NETWORK, 9, 1)]),  # ip protocol
    ("payload", [words.daddr(V6)]),  # in a table of the other family
    ("meta", [expr.load_meta(Meta.OIFNAME)]),
    ("meta", [expr.set_mark()]),  # nothing was loaded
    ("cmp", [words.daddr(V4) + expr.compare(b"\x0a")]),  # one byte of four
    ("cmp", [expr.load_ct(Ct.STATE) + expr.masked(b"\4" * 4, bytes(4)) + expr.compare(bytes(4))]),
    ("cmp", [expr.load_meta(Meta.MARK) + expr.masked(ONES, ONES) + expr.compare(bytes(4))]),
    (
        "meta",
        [expr.load_meta(Meta.MARK) + expr.masked(ONES[:3] + b"\0", bytes(4)) + expr.set_mark()],
    ),
    ("lookup", [words.daddr(V4) + expr.lookup("no such set")]),
    ("lookup", [expr.payload(Header.NETWORK, 16, 3) + expr.lookup("ips")]),
    ("lookup", [words.daddr(V4) + expr.lookup("services", 0)]),  # a part of the key
    ("dynset", [expr.remember("clients")]),
    ("bitwise", [expr.masked(bytes(4), bytes(4))]),
    ("nat", [expr.translate_destination(V4, 1, 2)]),
    ("nat", [words.saddr(V4) + words.port(4) + expr.translate_destination(V4, 1, 2)]),
    ("masq", [attribute(expr.LIST_ELEM, attribute(1, b"masq\0") + attribute(2, b""))]),
    ("reject", [attribute(expr.LIST_ELEM, attribute(1, b"reject\0") + attribute(2, TCP_RESET))]),
    ("objref", [attribute(expr.LIST_ELEM, attribute(1, b"objref\0") + attribute(2, QUOTA))]),
]


@pytest.mark.parametrize(("named", "parts"), UNKNOWN)
def test_an_unknown_expression_is_named(named: str, parts: list[bytes]) -> None:
    with pytest.raises(ValueError, match=f"^no nft syntax is known for: {named} "):
        rule_text(V4, Rule(tuple(parts)), SETS)


def test_a_set_of_a_rule_needs_a_key() -> None:
    with pytest.raises(ValueError, match="no key of a set is in register 0"):
        rule_text(V4, Rule((CHOSEN,)), SETS)


def frontend(ip: str, protocol: str, port: int) -> bytes:
    return words.frontend_bytes(ip, protocol, port)


def text_of(set_: Set, *elements: bytes) -> tuple[str, ...]:
    return elements_text(set_.key, set_.value, elements, ranges=set_.ranges)


def test_addresses_are_in_numeric_order() -> None:
    packed = [element(words.address_bytes(ip)) for ip in ("10.0.1.0", "9.9.9.9", "10.0.0.255")]
    assert text_of(SETS["ips"], *packed) == ("9.9.9.9", "10.0.0.255", "10.0.1.0")


def test_concatenations_are_in_the_order_of_their_bytes_from_the_last_on() -> None:
    """nft reads them as one number in the byte order of the host."""
    packed = [
        element(frontend("10.96.0.2", "TCP", 80), verdict_data(Verdict.DROP)),
        element(frontend("10.96.0.1", "SCTP", 80), verdict_data(Verdict.GOTO, "there"), "a/b:c"),
        element(frontend("10.96.0.9", "UDP", 53), verdict_data(Verdict.JUMP, "check")),
    ]
    assert text_of(SETS["services"], *packed) == (
        "10.96.0.9 . udp . 53 : jump check",
        "10.96.0.2 . tcp . 80 : drop",
        '10.96.0.1 . sctp . 80 comment "a/b:c" : goto there',
    )


def test_endpoints_by_slot() -> None:
    key = words.destination_bytes("10.96.0.1", 80)
    assert text_of(SETS["endpoints"], *numbered_elements(key, ports(8080, 53))) == (
        "10.96.0.1 . 80 . 0 : 10.0.0.1 . 8080",
        "10.96.0.1 . 80 . 1 : 10.0.0.1 . 53",
    )


def test_intervals_of_concatenations_stay_as_they_were_added() -> None:
    start = frontend("203.0.113.9", "TCP", 80)
    packed = [
        interval(start + words.address_bytes(first), start + words.address_bytes(last))
        for first, last in (("192.168.0.0", "192.168.255.255"), ("10.0.0.1", "10.0.0.1"))
    ] + [interval(start + bytes(4), start + b"\xff\xff\xff\xfe")]
    assert text_of(SETS["ranges"], *packed) == (
        "203.0.113.9 . tcp . 80 . 192.168.0.0/16",
        "203.0.113.9 . tcp . 80 . 10.0.0.1",
        "203.0.113.9 . tcp . 80 . 0.0.0.0-255.255.255.254",
    )


def test_a_value_of_an_unknown_type_is_refused() -> None:
    with pytest.raises(ValueError, match="no text is known for 01 of nft's data type 12"):
        elements_text(concatenation(PROTOCOL), None, [element(b"\1\0\0\0")], ranges=False)
