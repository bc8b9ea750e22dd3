"""A packet inside a VXLAN packet is found, and nothing else is mistaken for one."""

from __future__ import annotations

import pytest
from scapy.layers.inet import IP, TCP, UDP, IPOption_NOP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.layers.vxlan import VXLAN
from scapy.packet import Packet, Raw

from kproxy.probe.vxlan import inner

V4 = IP(src="192.168.10.11", dst="192.168.10.12")
V6 = IPv6(src="fd00:192::11", dst="fd00:192::12")
SYN = IP(src="10.244.1.11", dst="10.244.2.11") / TCP(sport=1, dport=80, flags="S")
SYN_V6 = IPv6(src="fd00:10:244:1::11", dst="fd00:10:244:2::11") / TCP(sport=1, dport=80, flags="S")
LINUX, IANA, DNS = (UDP(sport=50000, dport=port) for port in (8472, 4789, 53))
HEADERS = VXLAN(vni=1, flags="Instance") / Ether(dst="02:00:00:00:00:02", src="02:00:00:00:00:01")

LONG = IP(src="192.168.10.11", dst="192.168.10.12", options=[IPOption_NOP()] * 4)
CARRIERS = [V4 / LINUX, V4 / IANA, V6 / LINUX, LONG / LINUX]


@pytest.mark.parametrize("carried", [SYN, SYN_V6], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize("carrier", CARRIERS, ids=["Linux", "IANA", "IPv6", "options"])
def test_inner_packet(carrier: Packet, carried: Packet) -> None:
    assert inner(bytes(carrier / HEADERS / carried)) == bytes(carried)


OTHERS = {
    "another port": V4 / DNS / HEADERS / SYN,
    "no VNI": V4 / LINUX / VXLAN(flags=0) / Ether() / SYN,
    "other flags": V4 / LINUX / VXLAN(flags=0xF7) / Ether() / SYN,
    "TCP": V4 / TCP(dport=8472) / HEADERS / SYN,
    "nothing inside": V4 / LINUX / HEADERS,
    "cut off": V4 / LINUX / Raw(b"\x08"),
    "empty": V4 / LINUX,
    "not encapsulated": SYN,
    "not encapsulated, IPv6": SYN_V6,
}


@pytest.mark.parametrize("packet", OTHERS.values(), ids=OTHERS.keys())
def test_other_packets(packet: Packet) -> None:
    assert inner(bytes(packet)) is None
