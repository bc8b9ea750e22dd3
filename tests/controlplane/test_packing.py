"""Endpoints keep their slices; few slices change; none holds too many."""

from __future__ import annotations

from collections import Counter
from itertools import accumulate, pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from kproxy.address import Family
from kproxy.api.types import Endpoint, EndpointSlice, Metadata
from kproxy.controlplane.packing import Packing, pack, recycled
from tests.controlplane.clusters import NAMED, NODES, Cluster, counts, ips_of, pod, service

BLANK = EndpointSlice(metadata=Metadata(name=""), address_type="IPv4")


def endpoint(number: int, zone: str | None = None) -> Endpoint:
    return Endpoint(addresses=(f"10.244.0.{number}",), zone=zone)


def slices(*groups: str) -> list[EndpointSlice]:
    """Return slices: each text is one, named by its place, and each letter an endpoint of it."""
    return [
        EndpointSlice(
            metadata=Metadata(name=str(i)),
            address_type="IPv4",
            endpoints=tuple(endpoint(ord(letter)) for letter in letters),
        )
        for i, letters in enumerate(groups)
    ]


def letters(found: tuple[EndpointSlice, ...]) -> list[str]:
    """Return texts such as `2:ab`: slice 2 holds endpoints a and b (upper case in a zone)."""
    return [
        f"{each.metadata.name}:"
        + "".join(
            chr(int(e.addresses[0].split(".")[-1]) - (32 if e.zone else 0)) for e in each.endpoints
        )
        for each in found
    ]


PACKINGS = [  # most, slices, wanted -> created, updated, deleted
    (3, [], "", [], [], []),
    (3, [], "abcd", [":abc", ":d"], [], []),
    (3, ["ab"], "ab", [], [], []),
    (3, ["ab"], "abc", [], ["0:abc"], []),
    (3, ["abc"], "abcd", [":d"], [], []),
    (3, ["abc", "d"], "abde", [], ["0:abe"], []),  # one that changes anyway is filled first
    (3, ["abc", "de"], "abdefg", [], ["0:abf", "1:deg"], []),  # then one that has room
    (3, ["abcd"], "abcd", [], [], []),  # too many already: left as they are
    (4, ["a", "bc", "def"], "abcdefg", [], ["2:defg"], []),  # the fullest with room
    (4, ["a", "bc", "def"], "abcdefgh", [], ["1:bcgh"], []),  # all new ones in one slice
    (4, ["abc", "def"], "abcdefgh", [":gh"], [], []),  # no slice has room for all
    (4, ["abc", "def"], "abdeg", [], ["0:abg", "1:de"], []),
    (4, ["a", "b", "c"], "abc", [], [], []),  # no repacking for its own sake
    (4, ["ab", "cd"], "abc", [], ["1:c"], []),
    (4, ["ab", "cd"], "ab", [], [], ["1:cd"]),
    (4, ["ab", "bc"], "abc", [], ["1:c"], []),  # no endpoint twice
    (4, ["ab"], "cd", [":cd"], [], ["0:ab"]),
    (4, ["ab"], "Ab", [], ["0:Ab"], []),  # the same endpoint, but in another zone
    (4, ["ab", "cdef"], "acdeg", [], ["1:cdeg", "0:a"], []),  # of those that change, the fullest
    (4, [""], "a", [], ["0:a"], []),
    (4, [""], "abcd", [":abcd"], [], []),  # Kubernetes leaves the empty one, too
    (4, ["a"], "abcde", [":bcde"], [], []),  # what fills a slice gets a new one
]


@pytest.mark.parametrize(("most", "old", "wanted", "created", "updated", "deleted"), PACKINGS)
def test_pack(
    most: int,
    old: list[str],
    wanted: str,
    created: list[str],
    updated: list[str],
    deleted: list[str],
) -> None:
    endpoints = [
        endpoint(ord(letter.lower()), "zone-a" if letter.isupper() else None) for letter in wanted
    ]
    packing = pack(slices(*old), endpoints, blank=BLANK, most=most)
    assert letters(packing.create) == created
    assert letters(packing.update) == updated
    assert letters(packing.delete) == deleted
    touched = {each.metadata.name for each in (*packing.update, *packing.delete)}
    assert packing.unchanged == tuple(
        each for each in slices(*old) if each.metadata.name not in touched
    )


RECYCLED = [  # how many to create and to delete -> created, updated, deleted
    (0, 2, (0, 0, 2)),
    (2, 0, (2, 0, 0)),
    (1, 3, (0, 1, 2)),
    (3, 1, (2, 1, 0)),
    (2, 2, (0, 2, 0)),
]


@pytest.mark.parametrize(("create", "delete", "expected"), RECYCLED)
def test_a_slice_to_delete_is_used_again(
    create: int, delete: int, expected: tuple[int, int, int]
) -> None:
    new = tuple(slices(*"abc"[:create]))
    old = tuple(
        EndpointSlice(metadata=Metadata(name=f"old-{i}"), address_type="IPv4")
        for i in range(delete)
    )
    packing = recycled(Packing(create=new, delete=old))
    assert (len(packing.create), len(packing.update), len(packing.delete)) == expected
    assert all(each.metadata.name.startswith("old-") for each in packing.update)
    written = (*packing.create, *packing.update)
    assert Counter(e for each in written for e in each.endpoints) == Counter(
        e for each in new for e in each.endpoints
    )


GROWN = [  # pods in each slice before, pods then -> in each slice, created, updated
    ([], 250, [100, 100, 50], 3, 0),
    ([62, 61], 250, [100, 89, 61], 1, 1),  # the rest is added where it makes the fullest slice
    ([80, 80], 250, [90, 80, 80], 1, 0),  # no slice has room for all 90
]


@pytest.mark.parametrize(("before", "pods", "sizes", "created", "updated"), GROWN)
def test_as_the_tests_of_kubernetes_have_it(
    before: list[int], pods: int, sizes: list[int], created: int, updated: int
) -> None:
    """Source: k8s.io/endpointslice reconciler_test.go (TestReconcileManyPods and the next two)"""
    endpoints = [Endpoint(addresses=(ips_of(i)[0],)) for i in range(pods)]
    places = [0, *accumulate(before)]
    old = [
        replace(BLANK, metadata=Metadata(name=str(i)), endpoints=tuple(endpoints[start:end]))
        for i, (start, end) in enumerate(pairwise(places))
    ]
    packing = pack(old, endpoints, blank=BLANK, most=100)
    assert (len(packing.create), len(packing.update), len(packing.delete)) == (created, updated, 0)
    present = (*packing.create, *packing.update, *packing.unchanged)
    assert sorted((len(each.endpoints) for each in present), reverse=True) == sizes


# --- any history of pods -------------------------------------------------------------------------

POD = st.fixed_dictionaries(
    {
        "ready": st.booleans(),
        "terminating": st.booleans(),
        "port": st.sampled_from([0, 1, 1, 1, 2]),
        "node": st.sampled_from(["node-a", "node-b"]),
    }
)
STATES = st.lists(st.dictionaries(st.integers(0, 14), POD, max_size=15), min_size=1, max_size=5)


@given(STATES, st.sampled_from([1, 2, 3, 5, 100]), st.booleans())
def test_after_any_history(states: list[dict[int, dict[str, Any]]], most: int, hint: bool) -> None:
    """Every endpoint is there once, no slice is too full, one flip is one update per family."""
    of = service(
        NAMED,
        families=(Family.IPV4, Family.IPV6),
        traffic_distribution="PreferSameNode" if hint else None,
    )
    cluster = Cluster(most)
    for state in states:
        pods = [pod(f"web-{i}", *ips_of(i), **how) for i, how in state.items()]
        cluster.sync(of, pods)
        assert cluster.sync(of, pods).update == ()
        held = [
            (e.addresses[0], tuple((p.name, p.port) for p in each.ports), e.node_name, e.conditions)
            for each in cluster.slices.values()
            for e in each.endpoints
        ]
        assert sorted(entry[0] for entry in held) == sorted(ip for i in state for ip in ips_of(i))
        by_address = {entry[0]: entry[1:] for entry in held}
        for i, how in state.items():
            for address in ips_of(i):
                ports, node_name, conditions = by_address[address]
                assert ports == ((("http", how["port"]),) if how["port"] else ())
                assert node_name == how["node"]
                assert conditions.ready is (how["ready"] and not how["terminating"])
                assert (conditions.serving, conditions.terminating) == (
                    how["ready"],
                    how["terminating"],
                )
        assert max(cluster.sizes(), default=0) <= most
    if pods:
        first, how = next(iter(states[-1].items()))
        flipped = pod(f"web-{first}", *ips_of(first), **how | {"ready": not how["ready"]})
        changes = cluster.sync(of, [flipped, *pods[1:]], NODES)
        assert counts(changes) == (0, 2, 0)
        assert {each.address_type for each in changes.update} == {"IPv4", "IPv6"}


def test_a_rolling_update_of_many() -> None:
    """New pods fill the room of deleted ones: the number of slices hardly grows."""
    of, pods = service(), [pod(f"web-{i}", ips_of(i)[0]) for i in range(1000)]
    cluster = Cluster()
    cluster.sync(of, pods)
    assert cluster.sizes() == [100] * 10
    for i in range(0, 1000, 10):
        pods[i : i + 10] = [pod(f"new-{j}", ips_of(j + 1000)[0]) for j in range(i, i + 10)]
        assert counts(cluster.sync(of, pods)) == (0, 1, 0)
    assert cluster.sizes() == [100] * 10
