"""The filter programs that keep clients away from a listener, run by an interpreter."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from ipaddress import ip_address

import pytest
from kproxy_userspace.sockets import program_for

from kproxy.backend import Family, contains, family_of

RANGES = {
    Family.IPV4: ("10.0.0.0/8", "192.168.7.0/25", "203.0.113.9/32", "203.0.113.11", "9.9.8.0/23"),
    Family.IPV6: ("fd00:1::/33", "2001:db8:0:1::/64", "fe80::7", "fd00:2::/96", "fd00:3::a0/123"),
}
NOBODY: tuple[str, ...] = ()
SOURCE = {Family.IPV4: 12, Family.IPV6: 8}


def lets_pass(program: bytes, source: str) -> bool:
    """Run the program as the kernel would; tell whether a packet from `source` passes."""
    family = family_of(source)
    header = bytes(SOURCE[family]) + ip_address(source).packed
    instructions = [*struct.iter_unpack("=HBBI", program)]
    accumulator, at = 0, 0
    while True:
        code, if_true, if_false, value = instructions[at]
        at += 1
        match code:
            case 0x20:  # ld: a word, in network order
                (accumulator,) = struct.unpack_from("!I", header, value - 0xFFF00000)
            case 0x54:  # and
                accumulator &= value
            case 0x15:  # jeq
                at += if_true if accumulator == value else if_false
            case 0x06:  # ret: the number of bytes to keep
                return bool(value)


def around(cidr: str) -> Iterator[str]:
    """Yield the first and last addresses of a range, and the ones beside it."""
    base, _, length = cidr.partition("/")
    first = ip_address(base)
    size = 1 << (first.max_prefixlen - int(length or first.max_prefixlen))
    for number in (-1, 0, 1, size - 1, size):
        yield str(first + number)


@pytest.mark.parametrize("family", Family)
@pytest.mark.parametrize("count", range(6))
def test_only_sources_in_a_range_pass(family: Family, count: int) -> None:
    ranges = RANGES[family][:count]
    program = program_for(family, ranges)
    sources = [source for cidr in RANGES[family] for source in around(cidr)]
    for source in sources:
        assert lets_pass(program, source) == any(contains(cidr, source) for cidr in ranges)


@pytest.mark.parametrize("family", Family)
def test_ranges_of_the_other_family_let_nothing_pass(family: Family) -> None:
    program = program_for(family, RANGES[family.other])
    assert not any(lets_pass(program, each) for cidr in RANGES[family] for each in around(cidr))


def test_the_range_of_all_addresses() -> None:
    assert lets_pass(program_for(Family.IPV4, ("10.0.0.0/8", "0.0.0.0/0")), "203.0.113.9")
    assert lets_pass(program_for(Family.IPV6, ("::/0",)), "fd00::1")
