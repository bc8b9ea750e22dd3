"""Workloads as time passes: how long Pods have to be ready, and how long a rollout may take."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from math import inf
from typing import Any

import pytest

from kproxy.controlplane.plane import Json, Refused
from kproxy.controlplane.timestamps import seconds
from tests.controlplane.api import WORKLOAD, Api, document

START = datetime(2026, 1, 1, tzinfo=UTC)
AVAILABLE = {
    "Deployment": "availableReplicas",
    "ReplicaSet": "availableReplicas",
    "StatefulSet": "availableReplicas",
    "DaemonSet": "numberAvailable",
}


class Timed(Api):
    """A cluster whose clock is set by hand, as seconds since the start."""

    def __init__(self, **options: Any) -> None:
        self.passed_s = 0
        super().__init__(now=lambda: self.at(self.passed_s), **options)

    @staticmethod
    def at(passed_s: float) -> str:
        return (START + timedelta(seconds=passed_s)).strftime("%Y-%m-%dT%H:%M:%SZ")

    def create(self, kind: str, **spec: Any) -> None:
        self.verbs.create(document(kind, spec={**WORKLOAD, **spec}))
        self.settle()

    def wait(self, seconds: int) -> None:
        self.passed_s += seconds
        self.settle()

    @property
    def due_s(self) -> float:
        """When something is due by itself, in seconds since the start."""
        return self.cluster.writes.due() - seconds(self.at(0))

    def status(self, kind: str = "Deployment") -> Json:
        found: Json = self.get(kind)["status"]
        return found

    def progress(self) -> Json:
        return next(e for e in self.status()["conditions"] if e["type"] == "Progressing")


@pytest.mark.parametrize("kind", AVAILABLE)
def test_a_pod_is_available_once_it_was_ready_for_long_enough(kind: str) -> None:
    timed = Timed()
    timed.create(kind, minReadySeconds=10)
    ready = "numberReady" if kind == "DaemonSet" else "readyReplicas"
    assert timed.status(kind)[ready] >= 1
    assert not timed.status(kind).get(AVAILABLE[kind])
    assert timed.due_s == 10
    timed.wait(9)
    assert not timed.status(kind).get(AVAILABLE[kind])
    timed.wait(1)
    assert timed.status(kind)[AVAILABLE[kind]] == timed.status(kind)[ready]


def test_who_is_not_ready_any_more_begins_anew() -> None:
    timed = Timed()
    timed.create("Deployment", minReadySeconds=10)
    timed.passed_s = 5
    timed.set_ready("web-1", False)
    timed.set_ready("web-1", True)
    timed.wait(5)
    assert "availableReplicas" not in timed.status()
    timed.wait(5)
    assert timed.status()["availableReplicas"] == 1
    assert timed.due_s == inf


def test_a_rolling_update_waits_for_pods_to_be_available() -> None:
    timed = Timed()
    rolling = {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    timed.create("Deployment", replicas=2, minReadySeconds=10, strategy=rolling)
    timed.wait(10)
    timed.edit_template("Deployment", image="web:2")
    assert timed.sizes() == [2, 1]
    timed.wait(10)
    assert timed.sizes() == [1, 2]
    timed.wait(10)
    assert timed.sizes() == [0, 2]
    assert timed.progress()["reason"] == "NewReplicaSetAvailable"


def test_a_statefulset_waits_for_each_pod_to_be_available() -> None:
    timed = Timed()
    timed.create("StatefulSet", replicas=2, minReadySeconds=10)
    assert timed.pods == ["web-0"]
    timed.wait(10)
    assert timed.pods == ["web-0", "web-1"]


def test_a_daemonset_replaces_a_pod_once_the_last_one_is_available() -> None:
    timed = Timed()
    timed.create("DaemonSet", minReadySeconds=10)
    timed.wait(10)
    timed.edit_template("DaemonSet", image="web:2")
    updated = [timed.status("DaemonSet")["updatedNumberScheduled"]]
    for _ in range(2):
        timed.wait(10)
        updated.append(timed.status("DaemonSet")["updatedNumberScheduled"])
    assert updated == [1, 2, 3]


def test_the_replicaset_has_the_seconds_of_its_deployment() -> None:
    timed = Timed()
    timed.create("Deployment")
    assert timed.status()["availableReplicas"] == 1
    timed.edit("Deployment", minReadySeconds=10)
    assert timed.get("ReplicaSet", timed.there("ReplicaSet")[0])["spec"]["minReadySeconds"] == 10
    assert "availableReplicas" not in timed.status()
    timed.edit("Deployment", minReadySeconds=0)
    assert timed.status()["availableReplicas"] == 1


def test_a_rollout_without_progress_fails_until_there_is_some() -> None:
    timed = Timed(ready=False)
    timed.create("Deployment", replicas=2, progressDeadlineSeconds=30)
    assert timed.progress()["reason"] == "ReplicaSetUpdated"
    assert timed.due_s == 30
    timed.wait(20)
    timed.set_ready("web-1", True)
    assert timed.progress()["lastUpdateTime"] == timed.at(20)
    assert timed.progress()["lastTransitionTime"] == timed.at(0)
    timed.wait(29)
    assert timed.progress()["status"] == "True"
    timed.wait(1)
    failed = timed.progress()
    assert (failed["status"], failed["reason"]) == ("False", "ProgressDeadlineExceeded")
    assert failed["message"].endswith(" has timed out progressing.")
    assert failed["lastTransitionTime"] == timed.at(50)
    assert timed.due_s == inf
    timed.wait(1000)
    assert timed.progress() == failed
    timed.set_ready("web-2", True)
    assert timed.progress()["reason"] == "NewReplicaSetAvailable"
    assert timed.due_s == inf


def test_a_pod_that_fails_later_is_no_rollout() -> None:
    timed = Timed()
    timed.create("Deployment", progressDeadlineSeconds=30)
    timed.wait(5)
    timed.set_ready("web-1", False)
    assert timed.progress()["reason"] == "NewReplicaSetAvailable"
    assert timed.status()["conditions"][-1]["reason"] == "MinimumReplicasUnavailable"
    assert timed.due_s == inf
    timed.wait(1000)
    assert timed.progress()["reason"] == "NewReplicaSetAvailable"


def test_the_deadline_of_a_paused_rollout_starts_when_it_is_resumed() -> None:
    timed = Timed(ready=False)
    timed.create("Deployment", progressDeadlineSeconds=30)
    timed.edit("Deployment", paused=True)
    assert timed.due_s == inf
    timed.wait(100)
    assert timed.progress()["reason"] == "DeploymentPaused"
    timed.edit("Deployment", paused=False)
    assert (timed.progress()["status"], timed.progress()["reason"]) == (
        "Unknown",
        "DeploymentResumed",
    )
    timed.wait(30)
    assert timed.progress()["reason"] == "ProgressDeadlineExceeded"


def test_without_a_deadline_there_is_no_word_of_progress() -> None:
    timed = Timed()
    timed.create("Deployment", progressDeadlineSeconds=2**31 - 1)
    assert [each["type"] for each in timed.status()["conditions"]] == ["Available"]
    timed.edit("Deployment", progressDeadlineSeconds=600)
    assert timed.progress()["reason"] == "NewReplicaSetAvailable"


def test_a_new_replicaset_is_told_of_before_its_pods() -> None:
    timed = Timed()
    told = [
        condition["reason"]
        for write in _writes_of(timed)
        for condition in (write.get("status") or {}).get("conditions") or ()
        if condition["type"] == "Progressing"
    ]
    assert list(dict.fromkeys(told)) == [
        "NewReplicaSetCreated",
        "ReplicaSetUpdated",
        "NewReplicaSetAvailable",
    ]


@pytest.mark.parametrize("kind", ["ReplicaSet", "StatefulSet", "DaemonSet"])
@pytest.mark.parametrize("field", ["minReadySeconds", "revisionHistoryLimit"])
def test_no_workload_waits_for_less_than_nothing(kind: str, field: str) -> None:
    with pytest.raises(Refused, match=f"spec.{field}: Invalid value: -1: must be greater than"):
        Timed().create(kind, **{field: -1})


def _writes_of(timed: Timed) -> list[Json]:
    timed.create("Deployment")
    written = [each.document for each in timed.writes if each.key[0] == "Deployment"]
    return [each for each in written if each]
