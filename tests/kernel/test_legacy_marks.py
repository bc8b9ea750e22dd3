"""The rules that mark packets without nf_tables, and where the answers come from."""

from __future__ import annotations

import pytest

from kproxy.address import Family
from kproxy.kernel.trace.answering import Place, answers_from, translated
from kproxy.kernel.trace.legacy_marks import matches
from kproxy.kernel.trace.wanted import PacketFilter

WEB = PacketFilter(destination="10.96.0.11", destination_port=80)
NAT = {
    "PREROUTING": ['-m comment --comment "kubernetes service portals" -j KUBE-SERVICES'],
    "KUBE-SERVICES": [
        "-d 10.96.0.11/32 -p tcp -m tcp --dport 80 -j KUBE-SVC-A",
        "-d 10.96.0.11/32 -p tcp -m tcp --dport 81 -j KUBE-SVC-B",
        "-d 10.96.0.12/32 -p tcp -m tcp --dport 80 -j KUBE-SVC-B",
        "-m addrtype --dst-type LOCAL -j KUBE-NODEPORTS",
    ],
    "KUBE-NODEPORTS": ["-p tcp -m tcp --dport 30080 -g KUBE-EXT-A"],
    "KUBE-EXT-A": ["-j KUBE-MARK-MASQ", "-j KUBE-SVC-A"],
    "KUBE-SVC-A": ["-m statistic --mode random -j KUBE-SEP-1", "-j KUBE-SEP-2"],
    "KUBE-SVC-B": ["-j KUBE-SEP-3", "-j KUBE-SVC-B"],
    "KUBE-SEP-1": ["-p tcp -m tcp -j DNAT --to-destination 10.244.1.5:8080"],
    "KUBE-SEP-2": ["-p tcp -m tcp -j DNAT --to-destination [fd00::5]:8080"],
    "KUBE-SEP-3": ["-p tcp -j DNAT --to-destination 10.244.1.6"],
    "DOCKER": [
        "! -d 10.96.0.11/32 ! --dport 80 -j DNAT --to-destination 10.0.0.1:1",
        "-p tcp -m tcp --dport 8000:8010 -j DNAT --to-destination 10.0.0.1-10.0.0.9:2",
    ],
}
A, B = {("10.244.1.5", 8080), ("fd00::5", 8080)}, {("10.244.1.6", 0)}


@pytest.mark.parametrize(
    ("wanted", "places"),
    [
        (WEB, A),
        (PacketFilter(destination="192.168.10.11", destination_port=30080), A),
        (PacketFilter(destination="10.96.0.12"), A | B),  # and all node ports
        (PacketFilter(destination_port=81), B),
        (PacketFilter(destination="10.0.0.9", destination_port=9), set()),
    ],
)
def test_destinations_that_rules_may_give(wanted: PacketFilter, places: set[Place]) -> None:
    assert {*translated(wanted, NAT)} == places


def test_answers_come_from_there_or_from_where_they_are_asked() -> None:
    assert answers_from(WEB, [("10.244.1.5", 8080)]) == [
        PacketFilter(source="10.244.1.5", source_port=8080),
        PacketFilter(source="10.96.0.11", source_port=80),
    ]
    by_source = PacketFilter(source="10.244.1.7", source_port=1024)
    turned = PacketFilter(destination="10.244.1.7", destination_port=1024)
    assert answers_from(by_source, [("10.244.1.5", 8080)]) == [turned]


def test_of_many_endpoints_only_the_ports_count() -> None:
    many = [(f"10.244.1.{number}", 8080) for number in range(2, 20)]
    ports = [PacketFilter(source_port=80), PacketFilter(source_port=8080)]
    assert answers_from(WEB, [*many, ("10.244.2.1", 0)]) == ports


def test_rules_match_no_more_than_they_must() -> None:
    answers = [PacketFilter(source="10.244.1.5", source_port=8080)]
    wanted = PacketFilter(protocols=("TCP", "UDP"), destination="10.96.0.11", destination_port=80)
    assert [*matches(wanted, answers, Family.IPV4)] == [
        "-p tcp -d 10.96.0.11 -m tcp --dport 80 --tcp-flags FIN,SYN,RST,ACK SYN",
        "-p tcp -s 10.244.1.5 -m tcp --sport 8080 --tcp-flags SYN,ACK SYN,ACK",
        "-p tcp -s 10.244.1.5 -m tcp --sport 8080 --tcp-flags RST RST",
        "-p udp -d 10.96.0.11 -m udp --dport 80",
        "-p udp -s 10.244.1.5 -m udp --sport 8080",
        "-p icmp -m icmp --icmp-type 3",
        "-p icmp -m icmp --icmp-type 11",
    ]
    echo = PacketFilter(protocols=("ICMP",), source="fd00::1", destination="fd00::2")
    assert [*matches(echo, [PacketFilter(source="fd00::2")], Family.IPV6)][:2] == [
        "-p icmpv6 -m icmp6 --icmpv6-type 128 -s fd00::1 -d fd00::2",
        "-p icmpv6 -m icmp6 --icmpv6-type 129 -s fd00::2",
    ]
