"""The filter of taps leaves datagrams out if nobody wants them, but for tunnels."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing, suppress

import pytest

from kproxy.address import Family
from kproxy.kernel.links import Links
from kproxy.kernel.netns import Namespace
from kproxy.probe.taps import Tap

ADDRESSES = {Family.IPV4: "127.0.0.1", Family.IPV6: "::1"}
PROTOCOL_AT, HEADER_BYTES = {Family.IPV4: 9, Family.IPV6: 6}, {Family.IPV4: 20, Family.IPV6: 40}
PLAIN, TUNNELS = 5353, (8472, 4789)


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    with Namespace.create() as made:
        with made.entered(), Links() as links:
            links.up("lo")
        yield made


def send(family: Family, kind: int, port: int) -> None:
    with socket.socket(family.socket_family, kind) as sender, suppress(ConnectionError):
        sender.connect((ADDRESSES[family], port))
        if kind == socket.SOCK_DGRAM:
            sender.send(bytes(60))


@pytest.mark.parametrize("family", Family)
@pytest.mark.parametrize("datagrams", [True, False])
def test_filter(namespace: Namespace, family: Family, datagrams: bool) -> None:
    with namespace.entered(), closing(Tap("here", namespace, datagrams=datagrams)) as tap:
        for port in (PLAIN, *TUNNELS):
            send(family, socket.SOCK_DGRAM, port)
        send(family, socket.SOCK_STREAM, 80)
        packets = [each.data for each in tap.read() if not each.outgoing]
    at = HEADER_BYTES[family] + 2
    found = {
        (data[PROTOCOL_AT[family]], int.from_bytes(data[at : at + 2], "big")) for data in packets
    }
    udp = {port for protocol, port in found if protocol == socket.IPPROTO_UDP}
    assert udp == ({PLAIN, *TUNNELS} if datagrams else {*TUNNELS})
    assert (socket.IPPROTO_TCP, 80) in found
    assert {protocol for protocol, _ in found} & {socket.IPPROTO_ICMP, socket.IPPROTO_ICMPV6}


def test_packets_that_have_no_room_are_counted(namespace: Namespace) -> None:
    with namespace.entered(), closing(Tap("here", namespace)) as tap:
        send(Family.IPV4, socket.SOCK_DGRAM, PLAIN)
        assert tap.lost() == 0
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for _ in range(20_000):
                sender.sendto(bytes(1_000), (ADDRESSES[Family.IPV4], PLAIN))
        assert tap.lost() > 0
        assert tap.lost() == 0
