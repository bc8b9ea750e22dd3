"""The state of Pods in their documents, as kubectl shows it.

    phase, addresses, readiness -> conditions, container statuses, times

Source: pkg/kubelet/kubelet_pods.go and status/generate.go, pkg/apis/core/v1/helper/qos of
Kubernetes v1.36
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from hashlib import sha256

from kproxy.api.types import Node
from kproxy.controlplane.plane import Json

_OF_KUBELET = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady")
_NOT_READY = ("ContainersNotReady", "containers with unready status: [{}]")


def completed(
    document: Json, former: Json, node: Node | None, now: Callable[[], str], why: str
) -> Json:
    """Return a Pod's document with its whole status; `former` is {} if it was not shown before.

    `why` tells why it has no Node, if a scheduler has tried to give it one.
    """
    metadata, spec = document["metadata"], document["spec"]
    status = document.get("status") or {}
    before = former.get("status") or {}
    if metadata.get("deletionTimestamp") and "deletionGracePeriodSeconds" not in metadata:
        grace_s = spec.get("terminationGracePeriodSeconds", 30)
        document = {**document, "metadata": {**metadata, "deletionGracePeriodSeconds": grace_s}}
    found = {**status, "phase": status.get("phase") or "Pending", "qosClass": _qos_class(spec)}
    found.pop("containerStatuses", None)
    found["conditions"] = [*_conditions(spec, status, before, now, why)]
    if node and status.get("podIPs"):
        addresses = [each.address for each in node.status.addresses if each.type == "InternalIP"]
        if addresses:
            found["hostIP"], found["hostIPs"] = addresses[0], [{"ip": each} for each in addresses]
    if spec.get("nodeName") and (status.get("podIPs") or before.get("startTime")):
        found["startTime"] = before.get("startTime") or now()
        found["containerStatuses"] = [
            _container_status(each, metadata["uid"], status, before, now)
            for each in spec.get("containers") or ()
        ]
    return {**document, "status": found}


def with_times(document: Json, former: Json, now: Callable[[], str]) -> Json:
    """Return a document whose conditions tell since when they have their status."""
    status = document.get("status") or {}
    known = {each["type"]: each for each in (former.get("status") or {}).get("conditions") or ()}
    timed = [_since(each, known, now) for each in status.get("conditions") or ()]
    return {**document, "status": {**status, "conditions": timed}} if timed else document


def is_ready(status: Json) -> bool:
    """Tell whether a Pod's status says that it is ready."""
    conditions = status.get("conditions") or ()
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def _conditions(
    spec: Json, status: Json, before: Json, now: Callable[[], str], why: str
) -> Iterator[Json]:
    stated = {each["type"]: each for each in status.get("conditions") or ()}
    known = {each["type"]: each for each in before.get("conditions") or ()}
    runs, ready = bool(status.get("podIPs")), is_ready(status)
    ended = status.get("phase") in ("Succeeded", "Failed")
    names = " ".join(each["name"] for each in spec.get("containers") or ())
    for kind in _OF_KUBELET:
        if not (spec.get("nodeName") or runs):
            break
        holds = {"Initialized": True, "PodReadyToStartContainers": runs}.get(kind, ready)
        condition: Json = {"type": kind, "status": str(holds)}
        if not holds and kind in ("Ready", "ContainersReady"):
            reason, message = ("PodCompleted", "") if ended else _NOT_READY
            condition["reason"] = reason
            if message:
                condition["message"] = message.format(names)
        yield _timed(condition, known, now)
    scheduled = bool(spec.get("nodeName")) or runs
    condition = {"type": "PodScheduled", "status": str(scheduled)}
    if not scheduled and why:
        condition |= {"reason": "Unschedulable", "message": why}
    yield _timed(condition, known, now)
    for kind, each in stated.items():
        if kind not in _OF_KUBELET and kind != "PodScheduled":
            yield each


def _timed(condition: Json, known: Json, now: Callable[[], str]) -> Json:
    return {"lastProbeTime": None, **_since(condition, known, now)}


def _since(condition: Json, known: Json, now: Callable[[], str]) -> Json:
    """Return a condition with the time since which its status is this one."""
    former = known.get(condition["type"], {})
    same = former.get("status") == condition["status"]
    since = former.get("lastTransitionTime") if same else None
    return {**condition, "lastTransitionTime": since or now()}


def _container_status(
    container: Json, uid: str, status: Json, before: Json, now: Callable[[], str]
) -> Json:
    """Return the status of a container, which runs as long as the Pod has an address."""
    name = container["name"]
    known = {each["name"]: each for each in before.get("containerStatuses") or ()}
    former = known.get(name, {})
    runs = bool(status.get("podIPs")) and status.get("phase") == "Running"
    was = (former.get("state") or {}).get("running")
    count, last = former.get("restartCount", 0), former.get("lastState") or {}
    ended = status.get("phase") in ("Succeeded", "Failed")
    if was and not runs and not ended:
        count += 1
        last = {"terminated": _terminated(was, now)}
    if runs:
        state = {"running": was or {"startedAt": now()}}
    elif ended:
        stated = {each["name"]: each for each in status.get("containerStatuses") or ()}
        told = (stated.get(name, {}).get("state") or {}).get("terminated")
        state = {"terminated": told or _terminated(was or {"startedAt": now()}, now)}
    else:
        state = {"waiting": {"reason": "ContainerCreating"}}
    image = container.get("image") or ""
    digest = sha256(f"{uid}{name}{count}".encode()).hexdigest()
    return {
        "name": name,
        "image": image,
        "imageID": image,
        "containerID": f"kproxy://{digest}",
        "ready": runs and is_ready(status),
        "started": runs,
        "restartCount": count,
        "state": state,
        "lastState": last,
    }


def _terminated(was: Json, now: Callable[[], str]) -> Json:
    started = was["startedAt"]
    return {"exitCode": 0, "reason": "Completed", "startedAt": started, "finishedAt": now()}


def _qos_class(spec: Json) -> str:
    containers = [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]
    resources = [each.get("resources") or {} for each in containers]
    if not any(each.get("requests") or each.get("limits") for each in resources):
        return "BestEffort"
    for each in resources:
        limits = each.get("limits") or {}
        if not {"cpu", "memory"} <= limits.keys():
            return "Burstable"
        if {**limits, **(each.get("requests") or {})} != limits:
            return "Burstable"
    return "Guaranteed"
