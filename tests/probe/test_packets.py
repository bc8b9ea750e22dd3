"""Probe packets are recognised however they are changed on the way."""

from __future__ import annotations

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6DestUnreach, ICMPv6TimeExceeded, IPv6
from scapy.packet import Packet as ScapyPacket
from scapy.packet import Raw

from kproxy.errors import Unsupported
from kproxy.outcome import How
from kproxy.probe import datagrams
from kproxy.probe.packets import Probe, Role, Sighting, build, segment_reply, sighting

TAG = 0xFFFFFFFF  # the hardest case: it is acknowledged by 0
V4 = {"source": "192.0.2.1", "address": "10.96.0.1"}
V6 = {"source": "fd01::1", "address": "fd96::1"}


def probe(protocol: str, addresses: dict[str, str] = V4) -> Probe:
    return Probe(**addresses, source_port=20001, port=80, protocol=protocol, tag=TAG)


def see(packet: ScapyPacket | bytes, tag: int = TAG) -> Sighting | None:
    return sighting(bytes(packet), {tag})


@pytest.mark.parametrize("addresses", [V4, V6], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize("protocol", ["TCP", "UDP"])
def test_a_built_probe_is_seen_as_a_request(protocol: str, addresses: dict[str, str]) -> None:
    assert see(build(probe(protocol, addresses))) == Sighting(
        tag=TAG,
        role=Role.REQUEST,
        source=addresses["source"],
        destination=addresses["address"],
        source_port=20001,
        destination_port=80,
    )


@pytest.mark.parametrize("addresses", [V4, V6], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize("protocol", ["TCP", "UDP"])
def test_a_trace_shows_enough_of_it(protocol: str, addresses: dict[str, str]) -> None:
    """A trace of nf_tables ends twenty bytes after the IP header."""
    whole = build(probe(protocol, addresses))
    assert see(whole[: (40 if addresses is V6 else 20) + 20]) == see(whole)


def test_other_protocols_cannot_be_probed() -> None:
    with pytest.raises(Unsupported, match="SCTP"):
        build(probe("SCTP"))


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
    (IPV4 / ICMP(type=3, code=3), Role.REFUSAL, How.PORT_UNREACHABLE),
    (IPV4 / ICMP(type=3, code=0), Role.REFUSAL, How.NET_UNREACHABLE),
    (IPV4 / ICMP(type=3, code=13), Role.REFUSAL, How.PROHIBITED),
    (IPV4 / ICMP(type=11, code=0), Role.REFUSAL, How.TIME_EXCEEDED),
    (IPV6 / ICMPv6DestUnreach(code=4), Role.REFUSAL, How.PORT_UNREACHABLE),
    (IPV6 / ICMPv6DestUnreach(code=0), Role.REFUSAL, How.NET_UNREACHABLE),
    (IPV6 / ICMPv6TimeExceeded(), Role.REFUSAL, How.TIME_EXCEEDED),
]


@pytest.mark.parametrize(("packet", "role", "how"), REACTIONS)
@pytest.mark.parametrize("protocol", ["TCP", "UDP"])
def test_reactions_carry_the_tag(
    packet: ScapyPacket, role: Role, how: How | None, protocol: str
) -> None:
    if TCP not in packet and UDP not in packet:  # an ICMP error quotes the probe
        packet = packet / build(probe(protocol, V6 if IPv6 in packet else V4))
    seen = see(packet)
    assert seen is not None
    assert (seen.role, seen.how) == (role, how)


def test_an_icmp_error_may_quote_eight_bytes_only() -> None:
    seen = see(IPV4 / ICMP(type=3, code=3) / build(probe("TCP"))[:28])
    assert seen is not None
    assert seen.how is How.PORT_UNREACHABLE


STRANGERS = [
    IPV4 / TCP(flags="S", seq=TAG - 1),  # another probe
    IPV4 / TCP(flags="R", seq=0),  # the client's kernel resets the connection it does not know
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


def test_a_raw_socket_hears_the_reply() -> None:
    segment = TCP(sport=80, dport=20001, flags="SA", ack=0)
    with_header = segment_reply(bytes(IPV4 / segment), header=True)
    assert with_header == segment_reply(bytes(segment), header=False)
    assert with_header == (TAG, Role.ANSWER, 80, 20001)
    assert segment_reply(bytes(TCP(flags="A", ack=0)), header=False) is None
