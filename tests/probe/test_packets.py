"""Probe packets are recognised however they are changed on the way."""

from __future__ import annotations

from socket import IPPROTO_ICMP, IPPROTO_ICMPV6, IPPROTO_SCTP, IPPROTO_TCP

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6EchoReply,
    ICMPv6PacketTooBig,
    ICMPv6ParamProblem,
    ICMPv6TimeExceeded,
    IPv6,
)
from scapy.layers.sctp import SCTP, SCTPChunkAbort, SCTPChunkInit, SCTPChunkInitAck
from scapy.packet import Packet as ScapyPacket
from scapy.packet import Raw

from kproxy.errors import Unsupported
from kproxy.outcome import How
from kproxy.probe import datagrams
from kproxy.probe.packets import Probe, Role, Sighting, build, raw_reply, sighting

TAG = 0xFFFFFFFF  # the hardest case: it is acknowledged by 0
V4 = {"source": "192.0.2.1", "address": "10.96.0.1"}
PROTOCOLS = ["TCP", "UDP", "SCTP", "ICMP"]
V6 = {"source": "fd01::1", "address": "fd96::1"}


def probe(protocol: str, addresses: dict[str, str] = V4, payload_bytes: int = 0) -> Probe:
    return Probe(
        source=addresses["source"],
        source_port=20001,
        address=addresses["address"],
        port=80,
        protocol=protocol,
        tag=TAG,
        payload_bytes=payload_bytes,
    )


def see(packet: ScapyPacket | bytes, tag: int = TAG) -> Sighting | None:
    return sighting(bytes(packet), {tag})


@pytest.mark.parametrize("addresses", [V4, V6], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_built_probe_is_seen_as_a_request(protocol: str, addresses: dict[str, str]) -> None:
    assert see(build(probe(protocol, addresses))) == Sighting(
        tag=TAG,
        role=Role.REQUEST,
        source=addresses["source"],
        destination=addresses["address"],
        source_port=20001,
        destination_port=0 if protocol == "ICMP" else 80,
    )


@pytest.mark.parametrize("addresses", [V4, V6], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_trace_shows_enough_of_it(protocol: str, addresses: dict[str, str]) -> None:
    """A trace of nf_tables ends twenty bytes after the IP header."""
    whole = build(probe(protocol, addresses))
    assert see(whole[: (40 if addresses is V6 else 20) + 20]) == see(whole)


def test_other_protocols_cannot_be_probed() -> None:
    with pytest.raises(Unsupported, match="DCCP"):
        build(probe("DCCP"))


@pytest.mark.parametrize(("addresses", "headers"), [(V4, 28), (V6, 48)], ids=["IPv4", "IPv6"])
def test_a_datagram_of_a_given_size(addresses: dict[str, str], headers: int) -> None:
    data = build(probe("UDP", addresses, payload_bytes=1000))
    assert len(data) == headers + 1000
    assert see(data) is not None
    if addresses is V4:
        assert IP(data).flags == "DF"


def test_a_translated_and_routed_request_is_still_known() -> None:
    packet = IP(src="10.0.0.1", dst="10.0.0.2", ttl=61) / TCP(
        sport=9, dport=8080, flags="S", seq=TAG
    )
    seen = see(packet)
    assert seen is not None
    assert (seen.role, seen.source, seen.destination) == (Role.REQUEST, "10.0.0.1", "10.0.0.2")
    assert seen.hop_limit == 61


IPV4 = IP(src="10.0.0.2", dst="192.0.2.1")
IPV6 = IPv6(src="fd02::2", dst="fd01::1")
REPLY = UDP(sport=80, dport=20001) / Raw(datagrams.reply_prefix(datagrams.probe(TAG)) + b"{}\n")
REACTIONS = [  # packet, role, how
    (IPV4 / TCP(flags="SA", seq=5, ack=0), Role.ANSWER, None),
    (IPV6 / TCP(flags="SA", seq=5, ack=0), Role.ANSWER, None),
    (IPV4 / REPLY, Role.ANSWER, None),
    (IPV6 / REPLY, Role.ANSWER, None),
    (IPV4 / TCP(flags="RA", seq=0, ack=0), Role.REFUSAL, How.RST),
    (IPV6 / TCP(flags="RA", seq=0, ack=0), Role.REFUSAL, How.RST),
    (IPV4 / SCTP(tag=TAG) / SCTPChunkInitAck(init_tag=5), Role.ANSWER, None),
    (IPV6 / SCTP(tag=TAG) / SCTPChunkInitAck(init_tag=5), Role.ANSWER, None),
    (IPV4 / SCTP(tag=TAG) / SCTPChunkAbort() / Raw(bytes(4)), Role.REFUSAL, How.ABORT),
    (IPV4 / SCTP(tag=TAG) / SCTPChunkAbort(), Role.REFUSAL, How.ABORT),  # as Linux sends it
    (IPV6 / SCTP(tag=TAG) / SCTPChunkAbort(), Role.REFUSAL, How.ABORT),
    (IPV4 / ICMP(type=0) / Raw(datagrams.probe(TAG)), Role.ANSWER, None),
    (IPV6 / ICMPv6EchoReply() / Raw(datagrams.probe(TAG)), Role.ANSWER, None),
    (IPV4 / ICMP(type=3, code=3), Role.REFUSAL, How.PORT_UNREACHABLE),
    (IPV4 / ICMP(type=3, code=0), Role.REFUSAL, How.NET_UNREACHABLE),
    (IPV4 / ICMP(type=3, code=2), Role.REFUSAL, How.PROTOCOL_UNREACHABLE),
    (IPV4 / ICMP(type=3, code=13), Role.REFUSAL, How.PROHIBITED),
    (IPV4 / ICMP(type=3, code=4), Role.REFUSAL, How.TOO_BIG),
    (IPV4 / ICMP(type=11, code=0), Role.REFUSAL, How.TIME_EXCEEDED),
    (IPV6 / ICMPv6DestUnreach(code=4), Role.REFUSAL, How.PORT_UNREACHABLE),
    (IPV6 / ICMPv6DestUnreach(code=0), Role.REFUSAL, How.NET_UNREACHABLE),
    (IPV6 / ICMPv6PacketTooBig(), Role.REFUSAL, How.TOO_BIG),
    (IPV6 / ICMPv6TimeExceeded(), Role.REFUSAL, How.TIME_EXCEEDED),
    (IPV6 / ICMPv6ParamProblem(code=1), Role.REFUSAL, How.PROTOCOL_UNREACHABLE),
]


@pytest.mark.parametrize(("packet", "role", "how"), REACTIONS)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_reactions_carry_the_tag(
    packet: ScapyPacket, role: Role, how: How | None, protocol: str
) -> None:
    if how not in (None, How.RST, How.ABORT):  # an ICMP error quotes the probe
        packet = packet / build(probe(protocol, V6 if IPv6 in packet else V4))
    seen = see(packet)
    assert seen is not None
    assert (seen.role, seen.how) == (role, how)


def test_an_icmp_error_may_quote_eight_bytes_only() -> None:
    seen = see(IPV4 / ICMP(type=3, code=3) / build(probe("TCP"))[:28])
    assert seen is not None
    assert seen.how is How.PORT_UNREACHABLE


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    ("error", "addresses"),
    [(IPV4 / ICMP(type=3, code=3), V4), (IPV6 / ICMPv6DestUnreach(code=4), V6)],
    ids=["IPv4", "IPv6"],
)
def test_an_error_in_a_trace_is_known_by_what_tells_packets_apart(
    error: ScapyPacket, addresses: dict[str, str], protocol: str
) -> None:
    """A trace of nf_tables has only twelve bytes of the packet that an error quotes."""
    whole = bytes(error / build(probe(protocol, addresses)))
    short = whole[: (40 if addresses is V6 else 20) + 20]
    seen = sighting(short, {TAG, 8})
    assert seen is not None
    assert seen == sighting(whole, {TAG, 8})
    assert sighting(short, {TAG, TAG - (1 << 20)}) is None  # it may be about either
    assert sighting(short, {8}) is None


STRANGERS = [
    IPV4 / TCP(flags="S", seq=TAG - 1),  # another probe
    IPV4 / TCP(flags="R", seq=0),  # the client's kernel resets the connection it does not know
    IPV4 / SCTP(tag=TAG) / SCTPChunkAbort(TCB=1),  # it refuses the INIT ACK, with whose tag
    IPV4 / TCP(flags="A", seq=7, ack=0),
    IPV4 / UDP() / Raw(b"something else"),
    IPV4 / UDP() / Raw(datagrams.probe(0)),
    IPV4 / UDP() / Raw(datagrams.probe(TAG)[:-2]),
    IPV4 / ICMP(type=3, code=3) / IPV4 / REPLY,  # the client refuses the answer
    IPV4 / ICMP(type=8) / Raw(b"ping" * 20),
    IPV4,
    b"",
    b"E",
]


@pytest.mark.parametrize("data", STRANGERS, ids=repr)
def test_everything_else_is_ignored(data: ScapyPacket | bytes) -> None:
    assert see(data) is None


HEARD = [  # protocol, what was received, its reply
    (IPPROTO_TCP, TCP(sport=80, dport=20001, flags="SA", ack=0), (TAG, Role.ANSWER, 80, 20001)),
    (IPPROTO_TCP, TCP(sport=80, dport=20001, flags="RA", ack=0), (TAG, Role.REFUSAL, 80, 20001)),
    (IPPROTO_TCP, TCP(flags="A", ack=0), None),
    (
        IPPROTO_SCTP,
        SCTP(sport=80, dport=20001, tag=TAG) / SCTPChunkInitAck(),
        (TAG, Role.ANSWER, 80, 20001),
    ),
    (IPPROTO_SCTP, SCTP(tag=TAG) / SCTPChunkInit(), None),
    (
        IPPROTO_ICMP,
        ICMP(type=0, id=20001) / Raw(datagrams.probe(TAG)),
        (TAG, Role.ANSWER, 0, 20001),
    ),
    (IPPROTO_ICMP, ICMP(type=8, id=20001) / Raw(datagrams.probe(TAG)), None),
    (IPPROTO_ICMP, ICMP(type=0, id=20001) / Raw(b"ping"), None),
    (
        IPPROTO_ICMPV6,
        ICMPv6EchoReply(id=20001) / Raw(datagrams.probe(TAG)),
        (TAG, Role.ANSWER, 0, 20001),
    ),
]


@pytest.mark.parametrize(("protocol", "received", "reply"), HEARD, ids=repr)
def test_a_raw_socket_hears_the_reply(
    protocol: int, received: ScapyPacket, reply: tuple[int, Role, int, int] | None
) -> None:
    assert raw_reply(protocol, bytes(IPV4 / received), header=True) == reply
    assert raw_reply(protocol, bytes(received), header=False) == reply
