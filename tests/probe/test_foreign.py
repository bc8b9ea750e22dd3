"""Packets of other programs are recognised wherever they are, and however NAT changes them."""

from __future__ import annotations

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPerror, UDPerror
from scapy.layers.inet6 import ICMPv6EchoReply, ICMPv6EchoRequest, IPv6
from scapy.layers.sctp import SCTP, SCTPChunkAbort, SCTPChunkInit, SCTPChunkInitAck
from scapy.packet import Packet, Raw

from kproxy.outcome import How
from kproxy.probe.foreign import Foreign, foreign, turned
from kproxy.probe.packets import Role

CLIENT, SERVICE, POD = "10.244.1.11", "10.96.0.11", "10.244.2.11"


def parsed(packet: Packet, length: int = 2048) -> Foreign:
    found = foreign(bytes(packet)[:length])
    assert found
    return found


def test_a_connection_of_tcp() -> None:
    syn = parsed(IP(src=CLIENT, dst=SERVICE) / TCP(sport=9, dport=80, flags="S", seq=77))
    assert (syn.protocol, syn.role, syn.ends) == ("TCP", Role.REQUEST, (CLIENT, 9, SERVICE, 80))
    translated = IP(src="192.168.10.11", dst=POD) / TCP(sport=1, dport=8080, flags="SEC", seq=77)
    assert parsed(translated).key == syn.key
    back = IP(src=POD, dst="192.168.10.11") / TCP(sport=8080, dport=1, flags="SA", seq=5, ack=78)
    assert (parsed(back).role, parsed(back).key) == (Role.ANSWER, syn.key)
    reset = IP(src=POD, dst=CLIENT) / TCP(sport=8080, dport=9, flags="RA", ack=78)
    assert (parsed(reset).role, parsed(reset).how) == (Role.REFUSAL, How.RST)
    assert parsed(reset).key == syn.key
    assert parsed(IP() / TCP(flags="SA", ack=0)).key == ("TCP", 0xFFFFFFFF)
    assert parsed(IPv6() / TCP(flags="S", seq=77)).key == syn.key


@pytest.mark.parametrize(
    "packet",
    [
        IP() / TCP(flags="A"),
        IP() / TCP(flags="PA") / Raw(b"GET"),
        IP() / TCP(flags="R"),
        IP(frag=10) / UDP(),
        IP(proto=89) / Raw(bytes(40)),
        IP() / SCTP() / Raw(bytes(20)),
        Raw(b""),
        Raw(b"\x45"),
    ],
)
def test_what_begins_and_answers_nothing(packet: Packet) -> None:
    assert foreign(bytes(packet)) is None


@pytest.mark.parametrize("length", range(70))
def test_packets_that_are_cut_off(length: int) -> None:
    for packet in (
        IP() / TCP(flags="S"),
        IP() / SCTP() / SCTPChunkInit(),
        IP() / ICMP(type=3, code=3) / IPerror() / UDPerror(),
        IPv6() / ICMPv6EchoRequest(),
    ):
        whole = foreign(bytes(packet))
        assert whole
        cut = foreign(bytes(packet)[:length])
        assert cut is None or cut.ends == whole.ends


def test_an_association_of_sctp() -> None:
    head = IP(src=CLIENT, dst=POD) / SCTP(sport=9, dport=80)
    back = IP(src=POD, dst=CLIENT) / SCTP(sport=80, dport=9, tag=77)
    begun = parsed(head / SCTPChunkInit(init_tag=77))
    assert (begun.role, begun.ends) == (Role.REQUEST, (CLIENT, 9, POD, 80))
    answer, refusal = parsed(back / SCTPChunkInitAck()), parsed(back / SCTPChunkAbort())
    assert (answer.role, answer.key) == (Role.ANSWER, begun.key)
    assert (refusal.role, refusal.how, refusal.key) == (Role.REFUSAL, How.ABORT, begun.key)
    assert foreign(bytes(head / SCTPChunkAbort(TCB=1))) is None  # of an INIT ACK


def test_datagrams() -> None:
    """The same one has the same key also in a trace, which has twenty bytes of it."""
    asked = IP(src=CLIENT, dst=SERVICE, id=7) / UDP(sport=9, dport=53) / Raw(b"x" * 40)
    there = IP(src=CLIENT, dst=POD, id=7) / UDP(sport=9, dport=8053) / Raw(b"x" * 40)
    assert parsed(asked).key == parsed(there).key == parsed(there, 40).key
    assert parsed(asked).role is None
    for other in (
        IP(src=CLIENT, dst=SERVICE, id=8) / UDP(sport=9, dport=53) / Raw(b"x" * 40),
        IP(src=CLIENT, dst=SERVICE, id=7) / UDP(sport=9, dport=53) / Raw(b"y" * 40),
        IP(src=CLIENT, dst=SERVICE, id=7) / UDP(sport=9, dport=53) / Raw(b"x" * 41),
    ):
        assert parsed(other).key != parsed(asked).key


def test_echoes() -> None:
    request = parsed(IPv6(src="fd00::1", dst="fd00::2") / ICMPv6EchoRequest(id=5, seq=1))
    reply = parsed(IPv6(src="fd00::2", dst="fd00::1") / ICMPv6EchoReply(id=5, seq=1))
    assert (request.role, request.ends) == (Role.REQUEST, ("fd00::1", 5, "fd00::2", 0))
    assert (reply.role, reply.ends) == (Role.ANSWER, turned(request.ends))


def test_an_error_tells_what_it_is_about() -> None:
    quoted = IPerror(src=CLIENT, dst=POD, id=7) / UDPerror(sport=9, dport=53)
    error = IP(src=POD, dst=CLIENT) / ICMP(type=3, code=3) / quoted
    found = parsed(error)
    assert (found.protocol, found.role, found.how) == ("UDP", Role.REFUSAL, How.PORT_UNREACHABLE)
    assert (found.quoted, found.identification) == ((CLIENT, 9, POD, 53), 7)
    short = parsed(error, 40)  # as a trace of nf_tables has it
    assert (short.protocol, short.quoted, short.identification) == ("", None, 7)
