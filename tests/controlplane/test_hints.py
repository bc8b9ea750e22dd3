"""Hints: trafficDistribution, mode Auto with its safeguards, and what a change of them costs."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from kproxy.api.types import EndpointHints, Node, Pod, Service
from kproxy.controlplane.hints import (
    NO_ZONE,
    NODES_UNKNOWN,
    OVERLOAD,
    TOO_FEW_ENDPOINTS,
    TOPOLOGY_AWARE_HINTS,
    TOPOLOGY_MODE,
    cpu_ratios,
)
from tests.controlplane.clusters import Cluster, counts, ips_of, node, pod, service

MASTER: dict[str, Any] = {"node-role.kubernetes.io/control-plane": ""}
TWO = (node("node-a", "zone-a"), node("node-b", "zone-b"))
THREE = (*TWO, node("node-c", "zone-c"))
AUTO = service(annotations={TOPOLOGY_MODE: "Auto"})
ZONES = {"a": "node-a", "b": "node-b", "c": "node-c", "x": "node-x"}


def pods(where: str, **how: Any) -> list[Pod]:
    """Return a pod for each letter, on the node of that letter."""
    return [
        pod(f"web-{i}", ips_of(i)[0], node=ZONES[letter], **how) for i, letter in enumerate(where)
    ]


def hints(cluster: Cluster) -> list[str]:
    """Return `zone-a`, `zone-a@node-a` or `-` (none) for each endpoint in order of its name."""
    found = {
        e.target_ref.name if e.target_ref else "": text(e.hints)
        for each in cluster.slices.values()
        for e in each.endpoints
    }
    return [found[name] for name in sorted(found)]


def text(of: EndpointHints | None) -> str:
    if of is None:
        return "-"
    return "@".join(",".join(x.name for x in each) for each in (of.for_zones, of.for_nodes) if each)


A, B, NO_SUCH = pods("abx")
DISTRIBUTIONS = [  # trafficDistribution, pods -> hints
    (None, [A, B], ["-", "-"]),
    ("PreferClose", [A, B], ["zone-a", "zone-b"]),
    ("PreferSameZone", [A, B], ["zone-a", "zone-b"]),
    ("PreferSameNode", [A, B], ["zone-a@node-a", "zone-b@node-b"]),
    ("PreferSameZone", pods("ab", ready=False), ["-", "-"]),
    ("PreferSameNode", pods("ab", terminating=True), ["-", "-"]),
    ("PreferSameZone", pods("ax"), ["zone-a", "-"]),  # node-x is in no zone
    ("PreferSameNode", pods("ax"), ["zone-a@node-a", "node-x"]),
]


@pytest.mark.parametrize(("distribution", "members", "expected"), DISTRIBUTIONS)
def test_traffic_distribution(
    distribution: str | None, members: list[Pod], expected: list[str]
) -> None:
    cluster = Cluster()
    of = service(traffic_distribution=distribution)
    nodes = (*TWO, node("node-x"))
    assert cluster.sync(of, members, nodes).warnings == ()
    assert hints(cluster) == expected
    assert counts(cluster.sync(of, members, nodes)) == (0, 0, 0)


RATIOS = [
    (TWO, {"zone-a": 0.5, "zone-b": 0.5}),
    ((*TWO, node("node-c", "zone-b", "8")), {"zone-a": 0.25, "zone-b": 0.75}),
    (
        (node("node-a", "zone-a", "500m"), node("node-b", "zone-b", "1.5")),
        {"zone-a": 0.25, "zone-b": 0.75},
    ),
    ((), {}),
    (TWO[:1], {}),
    ((*TWO, node("node-c", "")), {}),
    ((*TWO, node("node-c", "zone-c", "")), {}),
    ((*TWO, node("node-c", "zone-c", "0")), {}),
    ((*TWO, node("node-c", "", ready=False)), {"zone-a": 0.5, "zone-b": 0.5}),
    ((*TWO, node("node-c", "zone-c", **MASTER)), {"zone-a": 0.5, "zone-b": 0.5}),
]


@pytest.mark.parametrize(("nodes", "ratios"), RATIOS)
def test_cpu_ratios(nodes: tuple[Node, ...], ratios: dict[str, float]) -> None:
    assert cpu_ratios(nodes) == ratios


BIG_B = (TWO[0], node("node-b", "zone-b", "12"))
UNEVEN = (node("node-a", "zone-a", "45"), node("node-b", "zone-b", "55"))
THIRDS = (
    node("node-a", "zone-a", "35"),
    node("node-b", "zone-b", "35"),
    node("node-c", "zone-c", "30"),
)
TINY_A = (
    node("node-a", "zone-a", "3"),
    node("node-b", "zone-b", "46"),
    node("node-c", "zone-c", "51"),
)
ALLOCATIONS = [  # nodes, where pods are -> endpoints for each zone
    (TWO, "ab", {"zone-a": 1, "zone-b": 1}),
    (TWO, "aabb", {"zone-a": 2, "zone-b": 2}),
    (TWO, "aaaabbb", {"zone-a": 4, "zone-b": 3}),  # half an endpoint too many is no reason to give
    (TWO, "aaaa", {"zone-a": 2, "zone-b": 2}),
    (BIG_B, "aabb", {"zone-a": 1, "zone-b": 3}),
    (BIG_B, "aaaaaaaa", {"zone-a": 2, "zone-b": 6}),
    (THREE, "aaaaaabbb", {"zone-a": 3, "zone-b": 3, "zone-c": 3}),
    (UNEVEN, "ab", {"zone-a": 1, "zone-b": 1}),  # this and the next: TestAddHints of Kubernetes
    (TINY_A, "abbbbbcccc", {"zone-a": 1, "zone-b": 5, "zone-c": 4}),  # one is the least for a zone
    (THIRDS, "abccaaabca", {"zone-a": 4, "zone-b": 3, "zone-c": 3}),
]


@pytest.mark.parametrize(("nodes", "where", "expected"), ALLOCATIONS)
def test_auto(nodes: tuple[Node, ...], where: str, expected: dict[str, int]) -> None:
    cluster = Cluster(most=3)
    assert cluster.sync(AUTO, pods(where), nodes).warnings == ()
    assert Counter(hints(cluster)) == expected
    assert counts(cluster.sync(AUTO, pods(where), nodes)) == (0, 0, 0)


SAFEGUARDS = [  # nodes, pods -> why there are no hints
    (TWO[:1], pods("aa"), NODES_UNKNOWN),
    ((*TWO, node("node-c")), pods("ab"), NODES_UNKNOWN),
    (TWO, pods("a"), f"{TOO_FEW_ENDPOINTS} (1 endpoints, 2 zones)"),
    (
        TWO,
        [*pods("a"), *pods("ab", ready=False)[1:]],
        f"{TOO_FEW_ENDPOINTS} (1 endpoints, 2 zones)",
    ),
    (TWO, pods("aaabb"), f"{OVERLOAD} (5 endpoints, 2 zones)"),  # 3 each would be needed
    (BIG_B, pods("ab"), f"{OVERLOAD} (2 endpoints, 2 zones)"),
    (THREE, pods("abca"), f"{OVERLOAD} (4 endpoints, 3 zones)"),
    ((*TWO, node("node-x", ready=False)), pods("abxx"), NO_ZONE),
]


@pytest.mark.parametrize(("nodes", "members", "reason"), SAFEGUARDS)
def test_safeguards(nodes: tuple[Node, ...], members: list[Pod], reason: str) -> None:
    """The result is the same from nothing, and from hints that were in force."""
    fresh, hinted = Cluster(), Cluster()
    assert fresh.sync(AUTO, members, nodes).warnings == (f"no topology hints for IPv4: {reason}",)
    hinted.sync(AUTO, pods("aabb"), TWO)
    assert "-" not in hints(hinted)
    for cluster in (fresh, hinted):
        cluster.sync(AUTO, members, nodes)
        assert set(hints(cluster)) == {"-"}
        assert counts(cluster.sync(AUTO, members, nodes)) == (0, 0, 0)


def annotated(**annotations: str) -> Service:
    keys = {"mode": TOPOLOGY_MODE, "hints": TOPOLOGY_AWARE_HINTS}
    return service(
        annotations={keys[key]: value for key, value in annotations.items()},
        traffic_distribution="PreferSameNode",
    )


MODES = [  # all Services say PreferSameNode, too -> hint of a pod in zone-a
    (annotated(mode="Auto"), "zone-a"),
    (annotated(mode="auto"), "zone-a"),
    (annotated(hints="auto"), "zone-a"),
    (annotated(hints="Disabled", mode="Auto"), "zone-a@node-a"),
    (annotated(mode="AUTO"), "zone-a@node-a"),
]


@pytest.mark.parametrize(("of", "expected"), MODES)
def test_which_wins(of: Service, expected: str) -> None:
    cluster = Cluster()
    cluster.sync(of, pods("ab"), TWO)
    assert hints(cluster)[0] == expected


def test_adding_and_removing_hints_updates_all_slices() -> None:
    cluster, members = Cluster(most=2), pods("aabb")
    cluster.sync(service(), members, TWO)
    for of in (service(traffic_distribution="PreferSameZone"), service(), AUTO, service()):
        assert counts(cluster.sync(of, members, TWO)) == (0, 2, 0)


def test_a_zone_without_nodes_keeps_its_endpoints_until_others_need_them() -> None:
    """Its endpoints' hints cannot be valid, and yet nothing is written repeatedly."""
    cluster, members = Cluster(), pods("aabbcc")
    nodes = (*TWO, node("node-c", "zone-c", ready=False))
    cluster.sync(AUTO, members, nodes)
    assert Counter(hints(cluster)) == {"zone-a": 2, "zone-b": 2, "zone-c": 2}
    assert counts(cluster.sync(AUTO, members, nodes)) == (0, 0, 0)


def test_hints_follow_the_cpus() -> None:
    """Only the hints of a slice that gives its zone too many endpoints change."""
    cluster, members = Cluster(most=2), pods("aabb")
    cluster.sync(AUTO, members, TWO)
    assert counts(cluster.sync(AUTO, members, BIG_B)) == (0, 1, 0)
    assert Counter(hints(cluster)) == {"zone-a": 1, "zone-b": 3}


def test_a_flip_leaves_other_slices_alone() -> None:
    cluster, members = Cluster(most=10), pods("ab" * 20)
    cluster.sync(AUTO, members, TWO)
    members[0] = pod("web-0", ips_of(0)[0], ready=False)
    assert counts(cluster.sync(AUTO, members, TWO)) == (0, 1, 0)
    assert hints(cluster)[0] == "-"
