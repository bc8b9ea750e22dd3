"""Queries as bytes: their answers, how long these may be, and queries that get none."""

from __future__ import annotations

from typing import Any

import dns.flags
import dns.message
import dns.opcode
import pytest
from dns.message import Message
from dns.rcode import Rcode
from hypothesis import given
from hypothesis import strategies as st

from kproxy.dns.messages import respond
from kproxy.dns.records import Records
from tests.dns.cluster import at, named, records, slice_of

ALL = records()
MANY = Records(
    [named("many", cluster_ips=("None",)), named("few", cluster_ips=("None",))],
    [
        slice_of("many", *(at(f"10.244.{n // 100}.{n % 100}") for n in range(200))),
        slice_of("few", *(at(f"10.244.9.{n}") for n in range(10))),
    ],
)
WEB = "web.default.svc.cluster.local."
MANY_NAME, FEW_NAME = "many.default.svc.cluster.local.", "few.default.svc.cluster.local."


def exchange(query: Message | bytes, of: Records = ALL, *, udp: bool = True) -> Message:
    wire = query if isinstance(query, bytes) else query.to_wire()
    response = respond(of, wire, udp=udp)
    assert response is not None
    return dns.message.from_wire(response)


def question(name: str = WEB, rdtype: str = "A", rdclass: str = "IN", **edns: Any) -> Message:
    return dns.message.make_query(name, rdtype, rdclass, id=4711, **edns)


@pytest.mark.parametrize("udp", [True, False])
def test_a_query_is_answered(udp: bool) -> None:
    response = exchange(question(), udp=udp)
    assert response.id == 4711
    assert response.rcode() is Rcode.NOERROR
    assert response.flags == dns.flags.QR | dns.flags.AA | dns.flags.RD | dns.flags.RA
    assert response.question == question().question
    assert [str(rrset) for rrset in response.answer] == [f"{WEB} 5 IN A 10.96.0.20"]
    assert response.edns == -1


def test_case_is_kept() -> None:
    response = exchange(question("wEb.default.SVC.cluster.local."))
    assert str(response.question[0].name) == "wEb.default.SVC.cluster.local."
    assert str(response.answer[0].name) == "wEb.default.SVC.cluster.local."


def test_the_upstream_zone_is_not_ours() -> None:
    response = exchange(question("www.example.com."))
    assert response.answer
    assert not response.flags & dns.flags.AA


TRUNCATION = [  # name, the client's limit over UDP (None: no EDNS) -> records, TC
    (MANY_NAME, None, 0, True),
    (MANY_NAME, 1232, 0, True),
    (MANY_NAME, 0, 0, True),
    (MANY_NAME, 3300, 200, False),
    (MANY_NAME, 65535, 200, False),
    (FEW_NAME, None, 10, False),
    (FEW_NAME, 100, 10, False),  # less than 512 means 512: RFC 6891
]


@pytest.mark.parametrize(("name", "payload", "count", "truncated"), TRUNCATION)
def test_truncation(name: str, payload: int | None, count: int, truncated: bool) -> None:
    query = question(name) if payload is None else question(name, use_edns=0, payload=payload)
    wire = respond(MANY, query.to_wire(), udp=True)
    assert wire is not None
    assert len(wire) <= max(payload or 512, 512)
    response = dns.message.from_wire(wire)
    assert bool(response.flags & dns.flags.TC) == truncated
    assert sum(map(len, response.answer)) == count
    assert response.edns == (-1 if payload is None else 0)


def test_nothing_is_truncated_over_tcp() -> None:
    response = exchange(question(MANY_NAME), MANY, udp=False)
    assert not response.flags & dns.flags.TC
    assert len(response.answer[0]) == 200


def test_glue_that_does_not_fit_is_left_out_without_a_word() -> None:
    """TC is not set: the client can do without glue, RFC 2181, section 9."""
    response = exchange(question(FEW_NAME, "SRV", use_edns=0, payload=800), MANY)
    assert len(response.answer[0]) == 10
    assert len(response.additional) < 10
    assert not response.flags & dns.flags.TC


def with_header(wire: bytes, *, flags: int = 0, questions: int = 1) -> bytes:
    return wire[:2] + flags.to_bytes(2, "big") + questions.to_bytes(2, "big") + wire[6:]


WIRE = question().to_wire()
COMPLAINTS = [
    ("two questions", with_header(WIRE, questions=2), Rcode.FORMERR),
    ("no question", with_header(WIRE[:12], questions=0), Rcode.FORMERR),
    ("a name cut off", WIRE[:-8], Rcode.FORMERR),
    ("something behind", WIRE + b"x", Rcode.FORMERR),
    ("a name that points to itself", WIRE[:12] + b"\xc0\x0c\0\1\0\1", Rcode.FORMERR),
    ("an update", with_header(WIRE, flags=dns.opcode.UPDATE << 11), Rcode.NOTIMP),
    ("an opcode that nobody knows", with_header(WIRE, flags=15 << 11), Rcode.NOTIMP),
    ("another class", question(rdclass="CH").to_wire(), Rcode.REFUSED),
    ("a transfer", question("cluster.local.", "AXFR").to_wire(), Rcode.REFUSED),
    ("EDNS to come", question(use_edns=1).to_wire(), Rcode.BADVERS),
]


@pytest.mark.parametrize(("what", "query", "rcode"), COMPLAINTS, ids=[row[0] for row in COMPLAINTS])
def test_what_is_refused(what: str, query: bytes, rcode: Rcode) -> None:
    response = exchange(query)
    assert (response.id, response.rcode()) == (4711, rcode), what
    assert not response.answer


@pytest.mark.parametrize(
    "datagram", [b"", b"kproxy\n", WIRE[:11], with_header(WIRE, flags=dns.flags.QR)]
)
def test_what_is_not_answered(datagram: bytes) -> None:
    assert respond(ALL, datagram, udp=True) is None


@given(st.one_of(st.binary(max_size=100), st.binary(max_size=60).map(lambda tail: WIRE + tail)))
def test_anything_may_come(datagram: bytes) -> None:
    response = respond(ALL, datagram, udp=True)
    if response is not None:
        assert response[:2] == datagram[:2]
        assert dns.message.from_wire(response).flags & dns.flags.QR


@given(st.integers(0, len(WIRE) - 1), st.binary(min_size=1, max_size=4))
def test_any_damage_may_be_done(at_byte: int, damage: bytes) -> None:
    query = WIRE[:at_byte] + damage + WIRE[at_byte + len(damage) :]
    response = respond(ALL, query, udp=True)
    assert response is None or response[:2] == query[:2]


def test_more_than_a_message_can_hold_is_cut_also_over_tcp() -> None:
    slices = [
        slice_of("many", *(at(f"10.{high}.{n // 250}.{n % 250}") for n in range(2500)))
        for high in (1, 2)
    ]
    of = Records([named("many", cluster_ips=("None",))], slices)
    response = exchange(question(MANY_NAME), of, udp=False)
    assert response.flags & dns.flags.TC
    assert not response.answer
