"""UDP flows are read from the kernel's text about connections."""

from __future__ import annotations

import pytest

from kproxy.address import Family
from kproxy.kernel.conntrack_file import UdpLine, parsed

TEXT = b"""\
ipv4     2 tcp      6 431999 ESTABLISHED src=10.0.0.9 dst=10.96.0.10 sport=4000 dport=53 \
src=10.244.1.2 dst=10.0.0.9 sport=53 dport=4000 [ASSURED] mark=0 zone=0 use=2
ipv4     2 udp      17 29 src=10.0.0.9 dst=10.96.0.10 sport=4000 dport=53 [UNREPLIED] \
src=10.244.1.2 dst=10.0.0.9 sport=5353 dport=4000 mark=0 zone=0 use=2
ipv6     10 udp      17 119 \
src=fd00:0000:0000:0000:0000:0000:0000:0009 dst=fd00:0096:0000:0000:0000:0000:0000:0010 \
sport=1 dport=53 \
src=fd00:0244:0001:0000:0000:0000:0000:0002 dst=fd00:0000:0000:0000:0000:0000:0000:0009 \
sport=53 dport=1 [ASSURED] mark=16384 zone=7 use=1
ipv4     2 icmp     1 29 src=10.0.0.9 dst=10.0.0.1 type=8 code=0 id=7 \
src=10.0.0.1 dst=10.0.0.9 type=0 code=0 id=7 mark=0 zone=0 use=2
ipv4     2 udplite  136 29 src=10.0.0.9 dst=10.0.0.1 sport=3 dport=4 \
src=10.0.0.1 dst=10.0.0.9 sport=4 dport=3 mark=0 use=2
ipv4     2 udp      17 src=10.0.0.8 dst=10.96.0.11 sport=5 dport=6 packets=3 bytes=90 \
src=10.244.1.3 dst=10.0.0.8 sport=7 dport=5 packets=2 bytes=60 [OFFLOAD] mark=0 use=3
"""
V4, V6 = Family.IPV4, Family.IPV6


def test_udp_flows_of_both_families() -> None:
    assert parsed(TEXT) == [
        UdpLine(V4, ("10.0.0.9", 4000), ("10.96.0.10", 53), ("10.244.1.2", 5353), 0),
        UdpLine(V6, ("fd00::9", 1), ("fd00:96::10", 53), ("fd00:244:1::2", 53), 7),
        UdpLine(V4, ("10.0.0.8", 5), ("10.96.0.11", 6), ("10.244.1.3", 7), 0),
    ]


def test_no_connections() -> None:
    assert parsed(b"") == []


@pytest.mark.parametrize("zone", [b"zone-orig=3", b"zone-reply=3"])
def test_a_zone_of_one_direction_is_left_to_netlink(zone: bytes) -> None:
    assert parsed(TEXT.replace(b"zone=7", zone)) is None
