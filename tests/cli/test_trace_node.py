"""The filter of `kproxy trace --node`, from what is given on the command line."""

from __future__ import annotations

import pytest

from kproxy.address import Family
from kproxy.api.types import ServicePort
from kproxy.cli.trace_node import packet_filter
from kproxy.errors import BadInput
from kproxy.explain.names import Names
from kproxy.kernel.trace.wanted import PacketFilter
from tests.explain.named_objects import pod, service

GOOD = [  # FROM, TO, protocol -> source, its port, destination, its port, families
    (None, "10.96.0.10:80", None, ("", 0, "10.96.0.10", 80), [Family.IPV4]),
    (None, ":53", "udp", ("", 0, "", 53), list(Family)),
    ("::ffff:10.244.1.11", None, None, ("10.244.1.11", 0, "", 0), [Family.IPV4]),
    ("10.244.1.11", None, None, ("10.244.1.11", 0, "", 0), [Family.IPV4]),
    ("fd00:0::1", "[fd00::2]:80", "tcp", ("fd00::1", 0, "fd00::2", 80), [Family.IPV6]),
    ("10.0.0.1:1024", "10.0.0.2", None, ("10.0.0.1", 1024, "10.0.0.2", 0), [Family.IPV4]),
]


@pytest.mark.parametrize(("source", "target", "proto", "ends", "families"), GOOD)
def test_ends(
    source: str | None,
    target: str | None,
    proto: str | None,
    ends: tuple[str, int, str, int],
    families: list[Family],
) -> None:
    found = packet_filter(source, target, proto)
    given = (found.source, found.source_port, found.destination, found.destination_port)
    assert given == ends
    assert list(found.families) == families


NAMED = Names(
    [
        service("web", ["10.96.0.10", "fd00::10"], ServicePort(name="http", port=80)),
        service("web", ["10.96.0.20"], ServicePort(name="http", port=81), namespace="shop"),
        service("headless", ["None"], ServicePort(port=80)),
        pod("client", "10.244.1.7", "fd00:1::7"),
    ]
)
BY_NAME = [  # FROM, TO, family -> source, its port, destination, its port
    (None, "svc/web", None, ("", 0, "10.96.0.10", 0)),
    (None, "svc/web:http", Family.IPV6, ("", 0, "fd00::10", 80)),
    (None, "svc/web.shop.svc:http", None, ("", 0, "10.96.0.20", 81)),
    (None, "service/web.shop.svc.cluster.local:http", None, ("", 0, "10.96.0.20", 81)),
    ("pod/client", "svc/web:8080", None, ("10.244.1.7", 0, "10.96.0.10", 8080)),
    ("pod/client:53", "fd00::99", None, ("fd00:1::7", 53, "fd00::99", 0)),
    ("fd00::99", "svc/web", None, ("fd00::99", 0, "fd00::10", 0)),
]


@pytest.mark.parametrize(("source", "target", "family", "ends"), BY_NAME)
def test_names(
    source: str | None, target: str, family: Family | None, ends: tuple[str, int, str, int]
) -> None:
    found = packet_filter(source, target, None, family=family, names=NAMED)
    given = (found.source, found.source_port, found.destination, found.destination_port)
    assert given == ends


BAD_NAMES = [
    (None, "svc/nosuch", None, "no svc/nosuch with an address; there are: svc/web, svc/web.shop"),
    (None, "svc/headless", None, "no svc/headless with an address"),
    (None, "node/a", None, "no node/a with an address; there is none"),
    (None, "svc/web:https", None, "svc/web:https: there is no port 'https'"),
    (None, "svc/web:0", None, "svc/web:0: there is no port '0'"),
    (None, "web", None, "'web' is not an ADDRESS, svc/NAME, pod/NAME or node/NAME"),
    (None, "svc/web.shop", Family.IPV6, "svc/web.shop: no address of IPv6"),
    ("fd00::1", "svc/web.shop", None, "fd00::1 and svc/web.shop: not of one IP family"),
    (None, ":53", Family.IPV6, ":53: an address tells the family"),
]


@pytest.mark.parametrize(("source", "target", "family", "said"), BAD_NAMES)
def test_names_that_there_are_not(
    source: str | None, target: str, family: Family | None, said: str
) -> None:
    with pytest.raises(BadInput) as caught:
        packet_filter(source, target, None, family=family, names=NAMED)
    assert said in caught.value.problems[0]


def test_protocols() -> None:
    assert packet_filter(None, "10.0.0.1", None).protocols == ("TCP", "UDP", "SCTP", "ICMP")
    assert packet_filter(None, "10.0.0.1:80", None).protocols == ("TCP", "UDP", "SCTP")
    assert packet_filter(None, "10.0.0.1", "icmp").protocols == ("ICMP",)


BAD = [
    (None, None, None, "which packets?"),
    (None, "web", None, "'web' is not ADDRESS, ADDRESS:PORT or :PORT"),
    (None, "10.0.0.1:0", None, "'10.0.0.1:0' is not"),
    (None, ":65536", None, "':65536' is not"),
    (None, "fe80::1%eth0", None, "is not"),
    ("10.0.0.1", "fd00::1", None, "10.0.0.1 and fd00::1: not of one IP family"),
    (None, "10.0.0.1:80", "icmp", "10.0.0.1:80: ICMP has no ports"),
]


@pytest.mark.parametrize(("source", "target", "proto", "said"), BAD)
def test_bad_input(source: str | None, target: str | None, proto: str | None, said: str) -> None:
    with pytest.raises(BadInput) as caught:
        packet_filter(source, target, proto)
    assert said in caught.value.problems[0]


def test_a_filter_takes_what_has_all_that_is_given() -> None:
    wanted = PacketFilter(protocols=("TCP",), source="10.0.0.1", destination_port=80)
    assert wanted.takes("TCP", "10.0.0.1", 5, "10.0.0.2", 80)
    assert not wanted.takes("UDP", "10.0.0.1", 5, "10.0.0.2", 80)
    assert not wanted.takes("TCP", "10.0.0.3", 5, "10.0.0.2", 80)
    assert not wanted.takes("TCP", "10.0.0.1", 5, "10.0.0.2", 81)
    assert not wanted.takes("TCP", "10.0.0.1", 80, "10.0.0.2", 5)
