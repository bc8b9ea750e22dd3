"""Deployments: how many Pods of which template there are, step by step."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from kproxy.api.types import Deployment, DeploymentStatus, Pod
from kproxy.controlplane.deployments import limits
from kproxy.controlplane.registry import HASH_LABEL
from kproxy.controlplane.replica_sets import by_deletion_order
from kproxy.errors import BadInput
from tests.controlplane.played import NODES, Played, deployment, node, pod, rolling, running

INVALID = 'Deployment.apps "web" is invalid: '
NEGATIVE = "must be greater than or equal to 0"
TOO_MANY = "must be less than or equal to 10000 in a lab"
KEY = ("Deployment", "default", "web")

LIMITS: list[tuple[int, int | str, int | str, tuple[int, int]]] = [
    # replicas, maxSurge, maxUnavailable -> Pods more, Pods less
    (4, "25%", "25%", (1, 1)),
    (3, "25%", "25%", (1, 0)),
    (10, "25%", "25%", (3, 2)),
    (3, 0, 0, (0, 1)),
    (3, 0, "10%", (0, 1)),
    (3, 2, "100%", (2, 3)),
    (0, "25%", "25%", (0, 1)),
]

ROLLOUTS: list[tuple[int, int | str, int | str, list[tuple[int, int]]]] = [
    # replicas, maxSurge, maxUnavailable -> live Pods of the old and the new template,
    # whenever nothing is left to do until the running Pods have become ready
    (3, 1, 0, [(3, 1), (2, 2), (1, 3), (0, 3)]),
    (3, 0, 1, [(2, 1), (1, 2), (0, 3)]),
    (3, 0, 0, [(2, 1), (1, 2), (0, 3)]),
    (4, "25%", "25%", [(3, 2), (1, 4), (0, 4)]),
    (10, "25%", "25%", [(8, 5), (3, 10), (0, 10)]),
    (2, "100%", 0, [(2, 2), (0, 2)]),
    (2, 0, "100%", [(0, 2)]),
    (0, 1, 0, []),
]

RANKS = [  # name, Node, phase, ready, in order of deletion; their age follows the order only
    ("unscheduled", "", "Pending", False),
    ("pending", "node-a", "Pending", False),
    ("unknown", "node-a", "Unknown", True),
    ("not-ready", "node-b", "Running", False),
    ("doubled-newer", "node-a", "Running", True),
    ("doubled", "node-a", "Running", True),
    ("alone-newer", "node-c", "Running", True),
    ("alone", "node-b", "Running", True),
]


def counts(played: Played, version: str) -> tuple[int, int]:
    """Return the numbers of live Pods of other templates, and of this one."""
    live = [each for each in played.cluster.objects(Pod) if not each.metadata.deletion_timestamp]
    new = sum(each.metadata.labels["version"] == version for each in live)
    return len(live) - new, new


def status(played: Played) -> DeploymentStatus:
    found = played.cluster.object(KEY)
    assert isinstance(found, Deployment)
    return found.status


@pytest.mark.parametrize(("replicas", "surge", "unavailable", "expected"), LIMITS)
def test_limits(
    replicas: int, surge: int | str, unavailable: int | str, expected: tuple[int, int]
) -> None:
    strategy = rolling(surge, unavailable)
    assert limits(deployment(replicas=replicas, strategy=strategy)) == expected


@pytest.mark.parametrize(("replicas", "surge", "unavailable", "expected"), ROLLOUTS)
def test_a_rolling_update(
    replicas: int, surge: int | str, unavailable: int | str, expected: list[tuple[int, int]]
) -> None:
    strategy = rolling(surge, unavailable)
    played = Played(*NODES, deployment(replicas=replicas, strategy=strategy))
    played.settle()
    played.apply(deployment(replicas=replicas, version="2", strategy=strategy))
    found = [counts(played, "2")]
    while played.round():
        found.append(counts(played, "2"))
    steps = [each for i, each in enumerate(found) if each not in found[:i]]
    assert steps == (expected or [(0, 0)])
    assert status(played) == DeploymentStatus(
        replicas=replicas, updated_replicas=replicas, ready_replicas=replicas
    )


def test_a_rollout_stops_where_new_pods_do_not_become_ready() -> None:
    played = Played(*NODES, deployment(replicas=4))
    played.settle()
    played.ready = False
    played.apply(deployment(replicas=4, version="2"))
    played.settle()
    assert counts(played, "2") == (3, 2)
    assert status(played) == DeploymentStatus(replicas=5, updated_replicas=2, ready_replicas=3)


def test_new_pods_are_not_counted_on_before_they_are_ready() -> None:
    played = Played(*NODES, deployment(replicas=4))
    played.settle()
    played.set_ready("web-1", False)
    played.set_ready("web-2", False)
    played.ready = False
    played.apply(deployment(replicas=4, version="2"))
    played.settle()
    assert counts(played, "2") == (3, 2)  # two of the old are ready, and no more may go
    assert "web-1" in played.pods


def test_unhealthy_pods_go_first() -> None:
    played = Played(*NODES, deployment(strategy=rolling(0, 1)))
    played.settle()
    played.set_ready("web-2", False)
    played.apply(deployment(version="2", strategy=rolling(0, 1)))
    assert played.pods == ["web-1", "web-2†", "web-3", "web-4"]
    played.apply(deployment(version="3", strategy=rolling(0, 1)))
    assert played.pods == ["web-1", "web-2†", "web-3", "web-4"]
    assert counts(played, "3") == (2, 1)  # the former web-4 had not started


def test_a_paused_rollout_changes_sizes_only() -> None:
    played = Played(*NODES, deployment(replicas=2))
    played.settle()
    played.apply(deployment(replicas=3, version="2", paused=True))
    played.settle()
    assert counts(played, "1") == (0, 3)
    played.apply(deployment(replicas=3, version="2"))
    played.settle()
    assert counts(played, "2") == (0, 3)


def test_recreate_waits_until_the_old_are_removed() -> None:
    recreate: dict[str, Any] = {"strategy": {"type": "Recreate"}}
    played = Played(*NODES, deployment(replicas=2, **recreate))
    played.settle()
    played.apply(deployment(replicas=2, version="2", **recreate))
    assert played.pods == ["web-1†", "web-2†"]
    played.cluster.pod_stopped(("Pod", "default", "web-1"))
    played.cluster.reconcile("later")
    assert played.pods == ["web-2†"]
    played.settle()
    assert played.pods == ["web-1", "web-2"]
    assert counts(played, "2") == (0, 2)
    played.cluster.scale("default", "web", 1)
    played.settle()
    assert counts(played, "2") == (0, 1)


def test_names_are_the_lowest_that_are_free() -> None:
    played = Played(*NODES, pod("web-2", node="node-a", labels={}), deployment(replicas=2))
    played.settle()
    assert played.pods == ["web-1", "web-2", "web-3"]
    played.delete(("Pod", "default", "web-1"))
    assert played.pods == ["web-1†", "web-2", "web-3", "web-4"]
    played.settle()
    played.cluster.scale("default", "web", 3)
    played.settle()
    assert played.pods == ["web-1", "web-2", "web-3", "web-4"]


def test_replicas_start_no_rollout() -> None:
    played = Played(*NODES, deployment(replicas=2))
    played.settle()
    before = played.cluster.objects(Pod)
    played.cluster.scale("default", "web", 4)
    played.settle()
    assert played.cluster.objects(Pod)[:2] == before
    played.cluster.scale("default", "web", 0)
    played.settle()
    assert played.pods == []
    assert status(played) == DeploymentStatus()


def test_scaling_down_keeps_the_nodes_even() -> None:
    played = Played(*NODES, deployment(replicas=4))
    played.settle()
    played.cluster.scale("default", "web", 3)
    played.settle()
    assert {each.spec.node_name for each in played.cluster.objects(Pod)} == {
        "node-a",
        "node-b",
        "node-c",
    }


def test_the_order_of_deletion() -> None:
    pods = [
        replace(
            pod(name, node=node),
            status=replace(running("10.0.0.1", ready=ready), phase=phase),
        )
        for name, node, phase, ready in reversed(RANKS)
    ]
    found = [each.metadata.name for each in by_deletion_order(pods, pods)]
    # node-a has four of them, node-b two, node-c one.
    assert found[:6] == [row[0] for row in RANKS[:6]]
    assert found[6:] == ["alone", "alone-newer"]


def test_pods_belong_to_the_template_that_made_them() -> None:
    played = Played(*NODES, deployment(replicas=1))
    (made,) = played.cluster.objects(Pod)
    digest = made.metadata.labels[HASH_LABEL]
    assert made.metadata.labels == {"app": "web", "version": "1", HASH_LABEL: digest}
    assert [(each.kind, each.name) for each in made.metadata.owner_references] == [
        ("ReplicaSet", f"web-{digest}")
    ]


def test_a_pod_that_has_ended_is_replaced() -> None:
    played = Played(*NODES, deployment(replicas=1))
    played.settle()
    key = ("Pod", "default", "web-1")
    played.cluster.set_pod_status(key, replace(running("10.244.0.9"), phase="Failed"))
    played.settle()
    assert played.pods == ["web-1", "web-2"]
    assert status(played).replicas == 1


def test_a_pod_that_the_selector_no_longer_matches_is_let_go() -> None:
    played = Played(*NODES, deployment(replicas=1))
    played.settle()
    found = played.cluster.object(("Pod", "default", "web-1"))
    assert isinstance(found, Pod)
    labels = found.metadata.labels | {"app": "quarantine"}
    played.apply(replace(found, metadata=replace(found.metadata, labels=labels)))
    played.settle()
    assert played.pods == ["web-1", "web-2"]
    played.delete(KEY)
    played.settle()
    assert played.pods == ["web-1"]


def test_deleting_takes_the_pods_along() -> None:
    played = Played(node("node-a"), deployment(replicas=2))
    played.start_pods()
    played.cluster.scale("default", "web", 3)
    played.cluster.reconcile("later")
    played.delete(KEY)
    assert played.pods == ["web-1†", "web-2†"]  # web-3 had not started
    played.settle()
    assert played.pods == []


def test_replicas_that_are_not_stated_stay_as_they_are() -> None:
    played = Played(node("node-a"), deployment(replicas=None))
    assert played.pods == ["web-1"]
    played.cluster.scale("default", "web", 3)
    played.apply(deployment(replicas=None, version="2"))
    played.settle()
    assert len(played.pods) == 3
    played.apply(deployment(replicas=2, version="2"))
    played.settle()
    assert len(played.pods) == 2


@pytest.mark.parametrize(
    ("name", "replicas", "told"),
    [
        ("shop", 1, 'deployments.apps "shop" not found'),
        ("web", -1, INVALID + "spec.replicas: Invalid value: -1: " + NEGATIVE),
        ("web", 10_001, INVALID + "spec.replicas: Invalid value: 10001: " + TOO_MANY),
    ],
)
def test_what_cannot_be_scaled(name: str, replicas: int, told: str) -> None:
    played = Played(deployment())
    with pytest.raises(BadInput) as error:
        played.cluster.scale("default", name, replicas)
    assert error.value.problems == [told]


def test_half_a_replica_changes_nothing() -> None:
    played = Played(deployment(replicas=2))
    half: Any = 2.5
    with pytest.raises(TypeError, match="integer"):
        played.cluster.scale("default", "web", half)
    assert played.pods == ["web-1", "web-2"]


def test_the_selector_is_immutable() -> None:
    played = Played(deployment())
    with pytest.raises(BadInput) as error:
        played.apply(deployment(selector={"matchLabels": {"version": "1"}}))
    shown = '{"matchLabels":{"version":"1"}}'
    told = f"spec.selector: Invalid value: {shown}: field is immutable"
    assert error.value.problems == [INVALID + told]
