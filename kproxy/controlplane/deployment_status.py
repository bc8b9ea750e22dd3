"""The state of a Deployment's rollout: counts, and conditions with their times.

    Progressing  NewReplicaSetCreated -> ReplicaSetUpdated -> NewReplicaSetAvailable
                                                 |
                                                 +-> ProgressDeadlineExceeded (False)

Progress is a Pod more that is updated, ready or available, or an old one less. Each is noted with
its time; without any for `progressDeadlineSeconds` the rollout has failed, until there is some.
Source: pkg/controller/deployment (progress.go, sync.go) and util/deployment_util.go of Kubernetes,
v1.36
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import NamedTuple

from kproxy.api.types import Deployment
from kproxy.controlplane.deployments import Sized, limits, new_set, replicas_of
from kproxy.controlplane.plane import Json
from kproxy.controlplane.timestamps import seconds

_NO_DEADLINE = 2**31 - 1
_PAUSED = "DeploymentPaused"
_COMPLETE, _TIMED_OUT = "NewReplicaSetAvailable", "ProgressDeadlineExceeded"
_COUNTS = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")


class Judged(NamedTuple):
    """A status, and when its deadline passes, in seconds since the epoch; inf for never."""

    status: Json
    due: float


def judged(
    deployment: Deployment, document: Json, sets: Sequence[Sized], now: str, created: str = ""
) -> Judged:
    """Return the status that follows from the one in `document`.

    `created` names a ReplicaSet that was made just now, "" if none was.
    """
    former = document.get("status") or {}
    new = new_set(document, sets)
    ready, available = sum(each.ready for each in sets), sum(each.available for each in sets)
    counts = {
        "replicas": sum(each.live for each in sets),
        "updatedReplicas": new.live if new else 0,
        "readyReplicas": ready,
        "availableReplicas": available,
        "unavailableReplicas": max(sum(each.replicas for each in sets) - available, 0),
    }
    conditions = _Conditions(former, now)
    _judge_available(conditions, deployment, available)
    if deployment.spec.progress_deadline_seconds == _NO_DEADLINE:
        conditions.drop("Progressing")
    else:
        if created:
            told = f'Created new replica set "{created}"'
            conditions.set("Progressing", "True", "NewReplicaSetCreated", told)
        elif new and not conditions.get("Progressing"):
            told = f'Found new replica set "{new.name}"'
            conditions.set("Progressing", "True", "FoundNewReplicaSet", told)
        _judge_pause(conditions, deployment)
        _judge_progress(conditions, deployment, counts, former, new)
    status = {
        "observedGeneration": document["metadata"]["generation"],
        **{key: value for key, value in counts.items() if value},
        "conditions": conditions.all(),
    }
    return Judged(status, _deadline(conditions, deployment))


class _Conditions:
    """The conditions of a status, by type; what changes goes last."""

    def __init__(self, status: Json, now: str) -> None:
        self.now = now
        self._found: dict[str, Json] = {
            each["type"]: each for each in status.get("conditions") or ()
        }

    def get(self, kind: str) -> Json:
        return self._found.get(kind, {})

    def all(self) -> list[Json]:
        return list(self._found.values())

    def drop(self, kind: str) -> None:
        self._found.pop(kind, None)

    def set(self, kind: str, holds: str, reason: str, message: str, *, again: bool = False) -> None:
        """Set a condition, unless it has this status and reason already; with `again`, even then:
        its time tells of progress.
        """
        former = self.get(kind)
        same = former.get("status") == holds
        if same and former.get("reason") == reason and not again:
            return
        since = former.get("lastTransitionTime") if same else None
        self.drop(kind)
        self._found[kind] = {
            "type": kind,
            "status": holds,
            "reason": reason,
            "message": message,
            "lastUpdateTime": self.now,
            "lastTransitionTime": since or self.now,
        }


def _judge_available(conditions: _Conditions, deployment: Deployment, available: int) -> None:
    enough = available >= replicas_of(deployment) - limits(deployment)[1]
    has = "has" if enough else "does not have"
    reason = "MinimumReplicasAvailable" if enough else "MinimumReplicasUnavailable"
    told = f"Deployment {has} minimum availability."
    conditions.set("Available", str(enough), reason, told)


def _judge_pause(conditions: _Conditions, deployment: Deployment) -> None:
    reason, paused = conditions.get("Progressing").get("reason"), deployment.spec.paused
    if paused and reason not in (_PAUSED, _TIMED_OUT):
        conditions.set("Progressing", "Unknown", _PAUSED, "Deployment is paused")
    elif reason == _PAUSED and not paused:
        conditions.set("Progressing", "Unknown", "DeploymentResumed", "Deployment is resumed")


def _judge_progress(
    conditions: _Conditions,
    deployment: Deployment,
    counts: dict[str, int],
    former: Json,
    new: Sized | None,
) -> None:
    reason = conditions.get("Progressing").get("reason")
    if deployment.spec.paused or (
        reason == _COMPLETE and counts["replicas"] == counts["updatedReplicas"]
    ):
        return  # no rollout goes on; Pods may come and go
    about = f'ReplicaSet "{new.name}"' if new else f'Deployment "{deployment.metadata.name}"'
    wanted = replicas_of(deployment)
    if all(counts[each] == wanted for each in _COUNTS if each != "readyReplicas"):
        told = f"{about} has successfully progressed."
        conditions.set("Progressing", "True", _COMPLETE, told)
    elif _has_progressed(counts, former):
        told = f"{about} is progressing."
        conditions.set("Progressing", "True", "ReplicaSetUpdated", told, again=True)
    elif _deadline(conditions, deployment) <= seconds(conditions.now):
        told = f"{about} has timed out progressing."
        conditions.set("Progressing", "False", _TIMED_OUT, told)


def _has_progressed(counts: dict[str, int], former: Json) -> bool:
    before = {key: former.get(key) or 0 for key in _COUNTS}
    old, old_before = (each["replicas"] - each["updatedReplicas"] for each in (counts, before))
    more = any(counts[key] > before[key] for key in _COUNTS if key != "replicas")
    return more or old < old_before


def _deadline(conditions: _Conditions, deployment: Deployment) -> float:
    current = conditions.get("Progressing")
    if not current or deployment.spec.paused or current["reason"] in (_COMPLETE, _TIMED_OUT):
        return inf
    return seconds(current["lastUpdateTime"]) + deployment.spec.progress_deadline_seconds
