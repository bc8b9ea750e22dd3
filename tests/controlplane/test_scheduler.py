"""The scheduler: the Node that a Pod gets, or the reason for none."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from kproxy.api.types import Metadata, Node, OwnerReference, Pod, PodSpec, PodStatus
from kproxy.controlplane.scheduler import Scheduler
from kproxy.store import object_key
from tests.controlplane.played import Played, deployment, node, pod

A, B, C = node("a", "zone-1"), node("b", "zone-1"), node("c", "zone-2")
ONE, TWO = node("a", pods="1"), node("b", pods="2")  # Pods that they take
SSD, TAINTED, DOWN = node("d", disk="ssd"), node("t", taints=("gpu",)), node("n", ready=False)


def owned(
    at: str = "", owner: str = "web", *, terminating: bool = False, phase: str = "Running"
) -> Pod:
    return Pod(
        metadata=Metadata(
            name="some",
            owner_references=(OwnerReference(kind="Deployment", name=owner),),
            deletion_timestamp="2026-01-01T00:00:00Z" if terminating else None,
        ),
        spec=PodSpec(node_name=at),
        status=PodStatus(phase=phase),
    )


PLACES: list[tuple[Sequence[Node], list[Pod], Pod, str]] = [
    # Nodes, Pods that have one, a Pod -> its Node
    ([A, B, C], [], owned(), "a"),
    ([C, B, A], [], owned(), "c"),
    ([A, B, C], [owned("a")], owned(), "c"),  # the zone of a and b has one
    ([A, B, C], [owned("a"), owned("c")], owned(), "b"),
    ([A, B, C], [owned("a"), owned("b"), owned("c"), owned("c")], owned(), "a"),
    ([A, B, C], [owned("a", "shop"), owned("c", "shop")], owned(), "b"),  # others': in all
    ([A, B], [owned("a", terminating=True), owned("b", "shop")], owned(), "a"),
    ([A, B], [owned("a", phase="Succeeded"), owned("b", "shop")], owned(), "a"),
    ([A, B], [owned("a")], pod("bare"), "b"),
    ([A, SSD], [owned("d")], pod("bare", nodeSelector={"disk": "ssd"}), "d"),
    ([A, B], [], pod("bare", nodeSelector={"kubernetes.io/hostname": "b"}), "b"),
    ([TAINTED, DOWN, A], [owned("a")], owned(), "a"),
    ([TAINTED, DOWN], [], owned(), ""),
    ([A], [], pod("bare", nodeSelector={"disk": "ssd"}), ""),
    ([ONE, TWO], [owned("b")], owned(), "a"),
    ([ONE, TWO], [owned("a"), owned("b")], pod("bare"), "b"),
    ([ONE, TWO], [owned("a", terminating=True), owned("b")], pod("bare"), "b"),  # it is there yet
    ([ONE], [owned("a", phase="Succeeded")], owned(), "a"),
    ([ONE, TWO], [owned("a"), owned("b"), owned("b")], owned(), ""),
    ([], [], pod("bare"), ""),
]

REPELLED = "1 node(s) had untolerated taint(s) {gpu}"
FULL = "0/2 nodes are available: 2 Too many pods."
NO_MATCH = "2 node(s) didn't match Pod's node affinity/selector"
REASONS = [
    ([], "no nodes available to schedule pods"),
    ([TAINTED], f"0/1 nodes are available: {REPELLED}."),
    (
        [TAINTED, DOWN, A, B],
        f"0/4 nodes are available: {REPELLED}, 1 node(s) were not ready, {NO_MATCH}.",
    ),
    ([node("a", pods="0", disk="ssd"), node("b", pods="0", disk="ssd")], FULL),
]


@pytest.mark.parametrize(("nodes", "pods", "new", "expected"), PLACES)
def test_a_place(nodes: Sequence[Node], pods: list[Pod], new: Pod, expected: str) -> None:
    assert Scheduler(nodes, pods).place(new) == expected


def test_pods_are_placed_one_after_the_other() -> None:
    scheduler = Scheduler([A, B, C], [])
    assert [scheduler.place(owned()) for _ in range(7)] == ["a", "c", "b", "c", "a", "b", "c"]


@pytest.mark.parametrize(("nodes", "told"), REASONS)
def test_why_not(nodes: Sequence[Node], told: str) -> None:
    assert Scheduler(nodes, []).why_not(pod("bare", nodeSelector={"disk": "ssd"})) == told


def test_a_warning_ends_when_a_node_is_added() -> None:
    played = Played(TAINTED, pod("bare"), deployment(replicas=2))
    why = "0/1 nodes are available: 1 node(s) had untolerated taint(s) {gpu}."
    assert played.told("Pod", "bare") == (why,)
    assert played.told("Deployment") == (f"Pod web-1: {why}", f"Pod web-2: {why}")
    assert played.cluster.pods_to_run() == []
    played.apply(A)
    assert played.cluster.warnings == {}
    assert len(played.cluster.pods_to_run()) == 3


def test_pods_elsewhere_take_no_place() -> None:
    there = owned("a")
    assert Scheduler([ONE], [there], {object_key(there)}).place(owned()) == "a"


def test_a_pod_that_waits_for_room_gets_it() -> None:
    played = Played(node("a", pods="2"), deployment(replicas=2))
    played.apply(pod("bare"))
    why = "0/1 nodes are available: 1 Too many pods."
    assert played.told("Pod", "bare") == (why,)
    played.cluster.scale("default", "web", 1)
    played.settle()
    assert played.cluster.warnings == {}
    assert _on(played, "bare") == "a"


def test_a_pod_that_has_ended_makes_room() -> None:
    played = Played(node("a", pods="1"), pod("first"))
    played.apply(pod("second"))
    assert _on(played, "second") == ""
    played.cluster.set_pod_status(("Pod", "default", "first"), PodStatus(phase="Succeeded"))
    played.settle()
    assert _on(played, "second") == "a"


def _on(played: Played, name: str) -> str:
    found = played.cluster.object(("Pod", "default", name))
    assert isinstance(found, Pod)
    return found.spec.node_name


def test_a_warning_ends_with_the_pod() -> None:
    played = Played(pod("bare"))
    assert played.told("Pod", "bare") == ("no nodes available to schedule pods",)
    played.delete(("Pod", "default", "bare"))
    assert played.cluster.warnings == {}


def test_a_node_that_does_not_exist() -> None:
    played = Played(A, pod("bare", node="z"))
    (told,) = played.told("Pod", "bare")
    assert told.startswith("spec.nodeName: Node 'z' does not exist; it stays Pending")
    assert played.cluster.pods_to_run() == []
    played.apply(node("z", taints=("gpu",)))
    assert played.cluster.warnings == {}
    assert [each.metadata.name for each in played.cluster.pods_to_run()] == ["bare"]
