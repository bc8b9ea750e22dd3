"""The cluster of the measurements, its changes, and the Services that are asked."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Network, ip_address
from itertools import combinations

import pytest
from click.testing import CliRunner

from kproxy.api.types import EndpointSlice
from kproxy.bench.cluster import (
    CLUSTER_CIDR,
    CLUSTER_IPS,
    ENDPOINTS,
    MOST_CHANGES,
    MOST_ENDPOINTS_IN_ALL,
    MOST_SERVICES,
    cluster_ip,
    endpoint_address,
    endpoint_slice,
    require_addresses,
    with_another_endpoint,
    with_one_endpoint_more,
)
from kproxy.bench.latency import asked
from kproxy.bench.results import SyncSize
from kproxy.bench.subject import variants
from kproxy.bench.sync import additions_and_removals, replacements
from kproxy.cli.bench import bench
from kproxy.errors import BadInput

LINE = "10.254.0.0/29"  # its hosts
ADDED_LATER = "10.255.0.0/16"


def addresses(each: EndpointSlice) -> list[str]:
    return [endpoint.addresses[0] for endpoint in each.endpoints]


def another(number: int) -> str:
    return addresses(with_another_endpoint(endpoint_slice(0, 5), number))[-1]


def one_more(number: int) -> str:
    return addresses(with_one_endpoint_more(endpoint_slice(0, 5), number))[-1]


@pytest.mark.parametrize(
    ("address", "count", "cidrs"),
    [
        (cluster_ip, MOST_SERVICES, (CLUSTER_IPS,)),
        (endpoint_address, MOST_ENDPOINTS_IN_ALL, ENDPOINTS),
        (another, 2 * MOST_CHANGES, (ADDED_LATER,)),
        (one_more, 2 * MOST_CHANGES, (ADDED_LATER,)),
    ],
)
def test_each_number_has_an_address_of_its_own(
    address: Callable[[int], str], count: int, cidrs: tuple[str, ...]
) -> None:
    networks = [IPv4Network(cidr) for cidr in cidrs]
    numbers = {*range(1000), *range(0, count, 101), count - 1}
    found = {address(number) for number in numbers}
    assert len(found) == len(numbers)
    for each in map(ip_address, found):
        assert any(each in network for network in networks)


def test_no_two_ranges_meet_and_all_endpoints_are_of_the_cluster() -> None:
    ranges = [IPv4Network(cidr) for cidr in (CLUSTER_IPS, *ENDPOINTS, LINE, ADDED_LATER)]
    assert not any(one.overlaps(other) for one, other in combinations(ranges, 2))
    assert all(each.subnet_of(IPv4Network(CLUSTER_CIDR)) for each in ranges[1:])


@pytest.mark.parametrize(
    ("services", "endpoints"), [(MOST_SERVICES, 6), (120_000, 50), (100_000, 5), (1, 1)]
)
def test_a_cluster_that_there_are_addresses_for(services: int, endpoints: int) -> None:
    require_addresses(services, endpoints)


def test_a_cluster_that_is_too_large_says_why() -> None:
    with pytest.raises(BadInput) as caught:
        require_addresses(1_000_000, 7)
    assert caught.value.problems == [
        (
            "--services 1000000 with --endpoints 7: 7,000,000 endpoints, but there are addresses "
            "for 6,000,000 in 10.128.0.0/10 and 10.192.0.0/11; for so many Services at most "
            "--endpoints 6"
        )
    ]


@pytest.mark.parametrize("measurement", ["sync", "latency"])
def test_too_large_a_cluster_is_refused_before_anything_is_measured(measurement: str) -> None:
    argv = [measurement, "--services", "10", "--services", "1000000", "--endpoints", "50"]
    result = CliRunner().invoke(bench, argv)
    assert isinstance(result.exception, BadInput)
    assert "at most --endpoints 6" in str(result.exception)
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("services", "endpoints", "changes"), [(1, 1, 9), (2, 1, 9), (7, 3, 200), (1000, 5, 200)]
)
def test_every_change_is_one_endpoint(services: int, endpoints: int, changes: int) -> None:
    """This is compared with what the Service had before, whatever its history."""
    size = SyncSize(
        mode="iptables", variant="nft", services=services, endpoints=endpoints, changes=changes
    )
    slices = [endpoint_slice(number, endpoints) for number in range(services)]
    known = {each.metadata.name: set(addresses(each)) for each in slices}
    current: dict[int, EndpointSlice] = {}

    def differences(events: list[EndpointSlice]) -> list[tuple[int, int]]:
        """Return how many endpoints each event adds and removes."""
        counted = []
        for event in events:
            former, now = known[event.metadata.name], set(addresses(event))
            assert len(now) == len(event.endpoints)
            counted.append((len(now - former), len(former - now)))
            known[event.metadata.name] = now
        return counted

    assert differences(list(replacements(size, current))) == [(1, 1)] * changes
    in_turns = ([(1, 0), (0, 1)] * changes)[:changes]
    assert differences(list(additions_and_removals(size, current))) == in_turns
    assert len(current) == min(services, changes)


@pytest.mark.parametrize(
    ("services", "asking_for", "connections", "different"),
    [
        *((1, 10, 1, 1), (1, 10, 50, 1), (10, 10, 1, 1), (10, 10, 2, 2)),
        *((10, 10, 2000, 10), (10_000, 10, 2000, 10), (10_000, 10_000, 2000, 2000)),
    ],
)
def test_services_are_asked_from_the_first_to_the_last(
    services: int, asking_for: int, connections: int, different: int
) -> None:
    numbers = asked(services, asking_for, connections)
    assert numbers == asked(services, asking_for, connections)
    assert len(numbers) == connections
    assert len(set(numbers)) == different
    assert min(numbers) == 0
    if connections > 1:
        assert max(numbers) == services - 1
        assert sum(numbers) / connections == pytest.approx((services - 1) / 2, abs=0.5)


@pytest.mark.parametrize(
    ("mode", "chosen", "measured"),
    [
        ("iptables", (), ("nft", "legacy")),
        ("iptables", ("legacy",), ("legacy",)),
        ("nftables", (), ("kube-proxy", "flat")),
        ("nftables", ("flat", "kube-proxy"), ("flat", "kube-proxy")),
        ("ipvs", (), ("auto",)),
        ("userspace", (), ("auto",)),
    ],
)
def test_variants(mode: str, chosen: tuple[str, ...], measured: tuple[str, ...]) -> None:
    assert variants(mode, chosen) == measured


@pytest.mark.parametrize(
    ("mode", "chosen", "problems"),
    [
        ("iptables", ("nft", "flat"), ["iptables mode has nft and legacy, not flat"]),
        ("ipvs", ("nft",), ["ipvs mode has no variants, not nft"]),
        ("userspace", ("nft",), ["userspace mode has no variants, not nft"]),
        (
            *("ebpf", ()),
            ["no backend called 'ebpf'; installed: iptables, ipvs, nftables, userspace"],
        ),
    ],
)
def test_strange_variants(mode: str, chosen: tuple[str, ...], problems: list[str]) -> None:
    with pytest.raises(BadInput) as caught:
        variants(mode, chosen)
    assert caught.value.problems == problems
