"""Messages of ctnetlink and the kernel's table of IPVS, as they are."""

from __future__ import annotations

import struct
from ipaddress import ip_address

import pytest

from kproxy.kernel.ipvs_connections import BalancedConnection, parse_connections
from kproxy.kernel.netlink import attribute
from kproxy.kernel.tracked import Entry, Tuple, parse_entry

NUMBERS = {"TCP": 6, "UDP": 17, "SCTP": 132, "ICMP": 1, "ICMPv6": 58}


def nested(kind: int, *parts: bytes) -> bytes:
    return attribute(kind | 0x8000, b"".join(parts))


def direction(kind: int, found: Tuple, protocol: str) -> bytes:
    source, destination = (ip_address(each).packed for each in (found.source, found.destination))
    first = 1 if len(source) == 4 else 3
    number = attribute(1, bytes([NUMBERS[protocol]]))
    if protocol.startswith("ICMP"):
        identifier = 4 if protocol == "ICMP" else 7
        ports = attribute(identifier, struct.pack(">H", found.source_port)) + attribute(5, b"\x08")
    else:
        ends = (found.source_port, found.destination_port)
        ports = b"".join(attribute(2 + i, struct.pack(">H", port)) for i, port in enumerate(ends))
    return nested(
        kind,
        nested(1, attribute(first, source), attribute(first + 1, destination)),
        nested(2, number, ports),
    )


def message(original: Tuple, reply: Tuple, protocol: str, *rest: bytes) -> memoryview:
    both = direction(1, original, protocol), direction(2, reply, protocol)
    return memoryview(bytes(4) + b"".join((*both, *rest)))


def status(bits: int) -> bytes:
    return attribute(3, struct.pack(">I", bits))


def state(kind: int, number: int) -> bytes:
    return nested(4, nested(kind, attribute(1, bytes([number]))))


V4 = ("10.0.0.1", 20000, "10.96.0.10", 80), ("10.244.1.11", 8080, "10.0.0.1", 20000)
V6 = ("fd00::1", 20000, "fd96::10", 80), ("fd00:244::11", 8080, "fd00::1", 20000)
ECHO = ("10.0.0.1", 77, "10.0.0.2", 0), ("10.0.0.2", 77, "10.0.0.1", 0)
ENTRIES = [  # protocol, ends, what else the message has, state
    ("TCP", V4, (status(0), state(1, 1)), "SYN_SENT"),
    ("TCP", V6, (status(2), state(1, 8)), "CLOSE"),
    ("SCTP", V4, (status(2), state(3, 3)), "COOKIE_ECHOED"),
    ("UDP", V4, (status(0),), "UNREPLIED"),
    ("UDP", V6, (status(0x18E),), "REPLIED"),
    ("ICMP", ECHO, (status(2),), "REPLIED"),
    ("ICMPv6", (("fd00::1", 7, "fd00::2", 0), ("fd00::2", 7, "fd00::1", 0)), (), "UNREPLIED"),
]


@pytest.mark.parametrize(("protocol", "ends", "rest", "expected"), ENTRIES)
def test_entries(
    protocol: str,
    ends: tuple[tuple[str, int, str, int], ...],
    rest: tuple[bytes, ...],
    expected: str,
) -> None:
    name = "ICMP" if protocol == "ICMPv6" else protocol
    original, reply = (Tuple(name, *each) for each in ends)
    mark = attribute(8, struct.pack(">I", 0x4000))
    found = parse_entry(message(original, reply, protocol, *rest, mark))
    assert found == Entry(original, reply, expected, 0x4000)


def test_an_entry_that_goes() -> None:
    original, reply = (Tuple("UDP", *each) for each in V4)
    found = parse_entry(message(original, reply, "UDP"), deleted=True)
    assert found == Entry(original, reply, "UNREPLIED", 0, deleted=True)


def test_other_protocols_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(NUMBERS, "GRE", 47)
    original, reply = (Tuple("GRE", *each) for each in V4)
    assert parse_entry(message(original, reply, "GRE")) is None


TABLE = """\
Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData
TCP 0AF4020B 4E20 0A60000A 0050 0AF4010B 1F90 SYN_RECV         59
UDP fd00:0010:0244:0002:0000:0000:0000:000b 4E21 fd00:0010:0096:0000:0000:0000:0000:000a 0050 \
fd00:0010:0244:0001:0000:0000:0000:000b 1F90 UDP             299
"""


def test_connections_of_ipvs() -> None:
    assert parse_connections(TABLE) == [
        BalancedConnection(
            "TCP", ("10.244.2.11", 20000), ("10.96.0.10", 80), ("10.244.1.11", 8080)
        ),
        BalancedConnection(
            "UDP",
            ("fd00:10:244:2::b", 20001),
            ("fd00:10:96::a", 80),
            ("fd00:10:244:1::b", 8080),
        ),
    ]
