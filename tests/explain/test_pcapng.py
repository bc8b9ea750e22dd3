"""Capture files, read back by scapy, and block by block."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from io import BytesIO

import pytest
from scapy.layers.inet import IP, TCP
from scapy.utils import RawPcapNgReader

from kproxy.explain.pcapng import Packet, pcapng

SYN = bytes(IP(src="10.0.0.1", dst="10.0.0.2") / TCP(sport=1, dport=80, flags="S"))
TIME_NS = 1_796_000_000_123_456_789


def packet(interface: str, delay_ns: int, comment: str = "", data: bytes = SYN) -> Packet:
    return Packet(
        interface=interface,
        outgoing=interface.endswith("eth0"),
        time_ns=TIME_NS + delay_ns,
        data=data,
        comment=comment,
    )


PACKETS = [
    packet("node-a/eth0", 20, "prerouting nat KUBE-SEP-A\nzwei Übersetzungen"),
    packet("client/eth0", 10, data=SYN + b"x"),
    packet("node-a/client", 15, "-j DNAT"),
    packet("node-a/eth0", 21),
]


def blocks(data: bytes) -> Iterator[tuple[int, bytes]]:
    while data:
        kind, length = struct.unpack_from("<II", data)
        assert length % 4 == 0
        assert struct.unpack_from("<I", data, length - 4) == (length,)
        yield kind, data[8 : length - 4]
        data = data[length:]


def options(data: bytes) -> Iterator[tuple[int, bytes]]:
    while True:
        code, length = struct.unpack_from("<HH", data)
        if not code:
            assert data[4:] == b""
            return
        yield code, data[4 : 4 + length]
        data = data[4 + (length + 3) // 4 * 4 :]


def test_scapy_reads_it() -> None:
    with RawPcapNgReader(BytesIO(pcapng(PACKETS, "kproxy"))) as reader:
        found = [reader._read_packet() for _ in PACKETS]
        with pytest.raises(EOFError):
            reader._read_packet()
    assert [data for data, _ in found] == [SYN + b"x", SYN, SYN, SYN]
    assert [(each.tshigh << 32) + each.tslow - TIME_NS for _, each in found] == [10, 15, 20, 21]
    assert {each.tsresol for _, each in found} == {10**9}
    names = [each.ifname for _, each in found]
    assert names == [b"client/eth0", b"node-a/client", b"node-a/eth0", b"node-a/eth0"]
    assert [each.direction for _, each in found] == [2, 1, 2, 2]
    comments = [each.comments or [] for _, each in found]
    assert comments == [[], [b"-j DNAT"], [PACKETS[0].comment.encode()], []]


def test_an_interface_for_each_link_of_a_host() -> None:
    found = [*blocks(pcapng(PACKETS, "kproxy 1"))]
    assert [kind for kind, _ in found] == [0x0A0D0D0A, 1, 1, 1, 6, 6, 6, 6]
    section, *interfaces = (body for kind, body in found if kind != 6)
    assert struct.unpack_from("<IHHq", section) == (0x1A2B3C4D, 1, 0, -1)
    assert [*options(section[16:])] == [(4, b"kproxy 1")]
    for body, name in zip(interfaces, ("client/eth0", "node-a/client", "node-a/eth0"), strict=True):
        assert struct.unpack_from("<H", body) == (101,)
        assert [*options(body[8:])] == [(2, name.encode()), (9, b"\x09")]


def test_no_packets() -> None:
    assert [kind for kind, _ in blocks(pcapng([], "kproxy"))] == [0x0A0D0D0A]
