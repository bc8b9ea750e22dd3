"""Whatever happened before, the kernel ends where a fresh start on the final objects would."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from kproxy.api.types import Endpoint, EndpointSlice
from kproxy.testing.random_cluster import RandomCluster
from netns_tests.modes import IPTABLES, MODES, Mode
from netns_tests.node import Bench, bench, fresh_state

EDITS = {"iptables": 200, "nftables": 200, "ipvs": 40}  # the kernel with ip_vs may be a slow one
CHECKED_EVERY = 20


@pytest.mark.parametrize("mode", MODES, ids=str)
@pytest.mark.parametrize("seed", [1, 2])
def test_random_edits_converge(mode: Mode, seed: int) -> None:
    cluster = RandomCluster(seed)
    with bench(mode) as node:
        node.sync(cluster.objects.values())
        for number in range(1, EDITS[mode.name] + 1):
            _follow(node, cluster)
            node.sync()
            if number % CHECKED_EVERY == 0:
                fresh = fresh_state(mode, cluster.objects.values())
                assert node.state() == fresh, f"after edit {number} of seed {seed}"


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_edits_between_syncs_are_one_change(mode: Mode) -> None:
    """Bursts: deleted and made again, changed and changed back, all before the next sync."""
    cluster = RandomCluster(3)
    with bench(mode) as node:
        node.sync(cluster.objects.values())
        for _ in range(10):
            for _ in range(20):
                _follow(node, cluster)
            node.sync()
        assert node.state() == fresh_state(mode, cluster.objects.values())


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_a_restarted_proxy_takes_over_what_it_finds(mode: Mode) -> None:
    cluster = RandomCluster(4)
    for _ in range(40):
        cluster.edit()
    with bench(mode) as node:
        node.sync(cluster.objects.values())
        for _ in range(40):
            cluster.edit()
        successor = Bench(mode)
        successor.sync(cluster.objects.values())
        assert successor.state() == fresh_state(mode, cluster.objects.values())


@pytest.mark.parametrize("mode", IPTABLES, ids=str)
def test_comments_follow_the_size_of_the_cluster(mode: Mode) -> None:
    """Above 1000 endpoints comments are left out, also of rules that were there before."""
    cluster = RandomCluster(5)
    for _ in range(40):
        cluster.edit()
    small = list(cluster.objects.values())
    one = next(o for o in small if isinstance(o, EndpointSlice) and o.address_type == "IPv4")
    crowd = tuple(
        Endpoint(addresses=(f"10.244.{n // 250 + 10}.{n % 250 + 1}",)) for n in range(1001)
    )
    large = [*small, replace(one, metadata=replace(one.metadata, name="crowd"), endpoints=crowd)]
    with bench(mode) as node:
        for objects in (small, large, small):
            node.sync(objects)
            assert node.state() == fresh_state(mode, objects)


def _follow(node: Bench, cluster: RandomCluster) -> None:
    key, obj = cluster.edit()
    if obj is None:
        node.store.delete(key)
    else:
        node.store.upsert(obj)
