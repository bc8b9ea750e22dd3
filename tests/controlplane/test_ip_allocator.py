"""Cluster IPs: those allocated, in their order, and the refusals of others."""

from __future__ import annotations

from ipaddress import ip_address
from random import Random

import pytest

from kproxy.controlplane.ip_allocator import IPAllocator, family_of_cidr
from kproxy.errors import BadInput


def allocator(*cidrs: str, seed: int = 0) -> IPAllocator:
    """Return an allocator of the first range's family."""
    ips = IPAllocator(family_of_cidr(cidrs[0]), Random(seed))
    ips.use(cidrs)
    return ips


def drain(ips: IPAllocator, count: int | None = None) -> list[str]:
    return [ips.allocate_next() for _ in range(ips.free if count is None else count)]


BANDS = [  # cidr, addresses in all, of them static, first, first dynamic, last
    ("10.96.0.0/30", 2, 0, "10.96.0.1", "10.96.0.1", "10.96.0.2"),
    ("10.96.0.0/28", 14, 0, "10.96.0.1", "10.96.0.1", "10.96.0.14"),
    ("10.96.0.0/27", 30, 16, "10.96.0.1", "10.96.0.17", "10.96.0.30"),
    ("10.96.0.0/24", 254, 16, "10.96.0.1", "10.96.0.17", "10.96.0.254"),
    ("10.96.0.0/22", 1022, 64, "10.96.0.1", "10.96.0.65", "10.96.3.254"),
    ("10.96.0.0/20", 4094, 256, "10.96.0.1", "10.96.1.1", "10.96.15.254"),
    ("10.96.0.0/16", 65534, 256, "10.96.0.1", "10.96.1.1", "10.96.255.254"),
    ("fd00:10:96::/120", 255, 16, "fd00:10:96::1", "fd00:10:96::11", "fd00:10:96::ff"),
    ("fd00:10:96::/112", 65535, 256, "fd00:10:96::1", "fd00:10:96::101", "fd00:10:96::ffff"),
    ("fd00:10:96::/108", 2**20 - 1, 256, "fd00:10:96::1", "fd00:10:96::101", "fd00:10:96::f:ffff"),
    (
        "fd00:10:96::/64",
        2**63 - 1,
        256,
        "fd00:10:96::1",
        "fd00:10:96::101",
        "fd00:10:96:0:7fff:ffff:ffff:ffff",
    ),
]


@pytest.mark.parametrize(("cidr", "size", "static", "first", "dynamic", "last"), BANDS)
def test_bands(cidr: str, size: int, static: int, first: str, dynamic: str, last: str) -> None:
    ips = allocator(cidr)
    assert ips.free == size
    for edge in (first, last):
        ips.allocate(edge)
        ips.release(edge)
    if size > 5000:
        some = drain(ips, 50)  # a whole range of this size takes long
        assert all(int(ip_address(dynamic)) <= int(ip_address(ip)) for ip in some)
        return
    upper = drain(ips, size - static)
    assert min(map(ip_address, upper)) == ip_address(dynamic)
    assert max(map(ip_address, upper)) == ip_address(last)
    lower = drain(ips)
    assert len({*upper, *lower}) == size
    if static:
        assert min(map(ip_address, lower)) == ip_address(first)
    with pytest.raises(BadInput, match=r"^range is full$"):
        ips.allocate_next()


REFUSED = [  # ranges, address
    (["10.96.0.0/24"], "10.96.0.0"),
    (["10.96.0.0/24"], "10.96.0.255"),
    (["10.96.0.0/24"], "10.97.0.1"),
    (["10.96.0.9/24"], "10.97.0.1"),
    (["10.96.0.0/24"], "fd00::1"),
    (["10.96.0.0/31"], "10.96.0.1"),
    (["10.96.0.0/32"], "10.96.0.0"),
    (["fd00:10:96::/112"], "fd00:10:96::"),
    (["fd00:10:96::/108"], "fd00:10:96::10:0"),
    (["fd00:10:96::/112"], "10.96.0.1"),
    (["10.96.0.0/24", "10.97.0.0/24"], "10.98.0.1"),
    (["10.96.0.0/24", "10.97.0.0/24"], "10.97.0.255"),
    (["10.96.0.0/24", "fd00::/112"], "fd00::1"),  # of another family
    (["fd00::/112", "fd01::/63"], "fd01::1"),  # too large a range
]


@pytest.mark.parametrize(("cidrs", "address"), REFUSED)
def test_out_of_range(cidrs: list[str], address: str) -> None:
    ips = allocator(*cidrs)
    free = ips.free
    with pytest.raises(BadInput) as refused:
        ips.allocate(address)
    assert refused.value.problems == ["the provided network does not match the current range"]
    assert ips.free == free


def test_overlapping_ranges_share_their_addresses() -> None:
    ips = allocator("10.96.0.0/29", "10.96.0.0/28", "10.96.0.0/29")
    ips.allocate("10.96.0.7")  # the broadcast address of the first
    assert sorted(map(ip_address, drain(ips, 13))) == [
        ip_address(f"10.96.0.{i}") for i in range(1, 15) if i != 7
    ]
    with pytest.raises(BadInput, match=r"^range is full$"):
        ips.allocate_next()


def test_all_ranges_are_used() -> None:
    ips = allocator("10.96.0.0/30", "10.97.0.0/30")
    assert sorted(drain(ips)) == ["10.96.0.1", "10.96.0.2", "10.97.0.1", "10.97.0.2"]
    ips.use(["10.97.0.0/30", "10.98.0.0/30"])
    assert drain(ips, 1) + drain(ips, 1) != []
    with pytest.raises(BadInput, match=r"^range is full$"):
        ips.allocate_next()
    ips.release("10.96.0.1")  # in no range any more
    with pytest.raises(BadInput, match="does not match"):
        ips.allocate("10.96.0.1")


@pytest.mark.parametrize("written", ["10.96.0.05", "::ffff:10.96.0.5"])
def test_an_address_is_the_same_however_it_is_written(written: str) -> None:
    ips = allocator("10.96.0.0/24")
    ips.allocate(written)
    with pytest.raises(BadInput, match="already allocated"):
        ips.allocate("10.96.0.5")
    ips.release(written)
    ips.allocate("10.96.0.5")


def test_reserved_addresses_are_not_given_out() -> None:
    ips = allocator("10.96.0.0/30")
    for address in ("10.96.0.1", "192.0.2.1", "fd00::1"):
        ips.reserve(address)
    assert drain(ips, 1) == ["10.96.0.2"]
    ips.release("10.96.0.1")
    assert drain(ips, 1) == ["10.96.0.1"]


@pytest.mark.parametrize("cidr", ["10.96.0.0", "10.96.0.0/33", "services", ""])
def test_no_cidr(cidr: str) -> None:
    with pytest.raises(BadInput, match="invalid CIDR address"):
        allocator(cidr)


def test_an_address_is_given_out_once_until_it_is_released() -> None:
    ips = allocator("10.96.0.0/28")
    ips.allocate("10.96.0.10")
    with pytest.raises(BadInput, match=r"^provided IP is already allocated$"):
        ips.allocate("10.96.0.10")
    assert "10.96.0.10" not in drain(ips)
    ips.release("10.96.0.10")
    ips.release("10.96.0.10")
    ips.release("192.0.2.1")
    assert drain(ips) == ["10.96.0.10"]


def test_the_order_is_that_of_the_seed() -> None:
    orders = [drain(allocator("10.96.0.0/16", seed=seed), 5) for seed in (1, 1, 2)]
    assert orders[0] == orders[1] != orders[2]
