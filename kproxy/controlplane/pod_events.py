"""The events of Pods, in the words of kube-scheduler, the kubelet and the controllers.

Source: pkg/scheduler/schedule_one.go, pkg/kubelet/events and pkg/controller/tainteviction of
Kubernetes v1.36
"""

from __future__ import annotations

from kproxy.api.types import Pod
from kproxy.controlplane.events import Told
from kproxy.store import ObjectKey, object_key

_SCHEDULER = "default-scheduler"


def scheduled(pod: Pod, node: str) -> Told:
    meta = pod.metadata
    told = f"Successfully assigned {meta.namespace}/{meta.name} to {node}"
    return Told(object_key(pod), "Scheduled", told, _SCHEDULER)


def failed_scheduling(pod: Pod, why: str) -> Told:
    return Told(object_key(pod), "FailedScheduling", why, _SCHEDULER, "Warning")


def evicted(pod: Pod) -> Told:
    meta = pod.metadata
    told = f"Marking for deletion Pod {meta.namespace}/{meta.name}"
    return Told(object_key(pod), "TaintManagerEviction", told, "taint-eviction-controller")


def killing(pod: Pod) -> Told:
    return _of_container(pod, "Killing", "Stopping container {}")


def started(pod: Pod) -> Told:
    return _of_container(pod, "Started", "Started container {}")


def unhealthy(pod: Pod, why: str) -> Told:
    return _of_container(pod, "Unhealthy", f"Readiness probe failed: {why}", "Warning")


def not_started(key: ObjectKey, why: str) -> Told:
    return Told(key, "FailedCreatePodSandBox", why, "kubelet", "Warning")


def _of_container(pod: Pod, reason: str, message: str, kind: str = "Normal") -> Told:
    name = pod.spec.containers[0].name if pod.spec.containers else "main"
    field, node = f"spec.containers{{{name}}}", pod.spec.node_name
    return Told(object_key(pod), reason, message.replace("{}", name), "kubelet", kind, node, field)
