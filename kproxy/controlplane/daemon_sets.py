"""The DaemonSet controller: a Pod of a template on each Node that it may run on.

Pods are called `<set>-<lowest number from 1 that is free>`.
Source: pkg/controller/daemon (daemon_controller.go, update.go) of Kubernetes, v1.36
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import count

from kproxy.api.types import Node, Pod
from kproxy.controlplane import members
from kproxy.controlplane.deployments import resolved, template_hash
from kproxy.controlplane.plane import Json
from kproxy.controlplane.replica_sets import is_live
from kproxy.controlplane.stateful_sets import REVISION_LABEL

_TOLERATED = (  # taint, effect
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
)
TOLERATIONS: list[Json] = [
    {"key": key, "operator": "Exists", "effect": effect} for key, effect in _TOLERATED
]


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonStep:
    """Pods to create, by their names with their Nodes, and to delete, now."""

    create: tuple[tuple[str, str], ...] = ()
    delete: tuple[Pod, ...] = ()


def next_step(
    document: Json,
    owned: Sequence[Pod],
    nodes: Sequence[Node],
    name_is_taken: Callable[[str], bool],
    available: Callable[[Pod], bool],
) -> DaemonStep:
    """Return what to do now; `nodes` are those that the Pods may run on, and `available` tells
    whether a Pod has been ready for long enough.
    """
    wanted = {each.metadata.name for each in nodes}
    on_node: dict[str, list[Pod]] = {}
    for pod in owned:
        on_node.setdefault(pod.spec.node_name, []).append(pod)
    surplus = [
        pod
        for name, pods in on_node.items()
        for pod in [each for each in pods if not members.is_terminating(each)][
            1 if name in wanted else 0 :
        ]
    ]
    ended = [each for each in owned if members.is_terminal(each) and each not in surplus]
    ended = [each for each in ended if not members.is_terminating(each)]
    if surplus or ended:
        return DaemonStep(delete=(*surplus, *ended))
    missing = [each.metadata.name for each in nodes if each.metadata.name not in on_node]
    if missing:
        prefix = document["metadata"]["name"]
        free = (name for i in count(1) if not name_is_taken(name := f"{prefix}-{i}"))
        return DaemonStep(create=tuple((next(free), each) for each in missing))
    return DaemonStep(delete=tuple(_to_update(document, owned, len(wanted), available)))


def _to_update(
    document: Json, owned: Sequence[Pod], wanted: int, available: Callable[[Pod], bool]
) -> Iterable[Pod]:
    update = document["spec"].get("updateStrategy") or {}
    if update.get("type") != "RollingUpdate":
        return ()
    rolling = update.get("rollingUpdate") or {}
    most = max(resolved(rolling.get("maxUnavailable", 1), wanted, up=True), 1)
    current = template_hash(document["spec"]["template"])
    old = [
        each
        for each in owned
        if is_live(each) and each.metadata.labels.get(REVISION_LABEL) != current
    ]
    there = [each for each in old if available(each)]
    others = [each for each in old if each not in there]
    room = most - (wanted - sum(is_live(each) and available(each) for each in owned))
    return [*others, *there[: max(room, 0)]]


def status(
    document: Json,
    owned: Sequence[Pod],
    nodes: Sequence[Node],
    available: Callable[[Pod], bool],
) -> Json:
    """Return the status; the arguments are those of `next_step`."""
    wanted = {each.metadata.name for each in nodes}
    current = template_hash(document["spec"]["template"])
    live = [each for each in owned if is_live(each)]
    placed = [each for each in live if each.spec.node_name in wanted]
    there = sum(map(available, placed))
    updated = sum(each.metadata.labels.get(REVISION_LABEL) == current for each in placed)
    found = {
        "currentNumberScheduled": len(placed),
        "numberMisscheduled": len(live) - len(placed),
        "desiredNumberScheduled": len(wanted),
        "numberReady": sum(map(members.is_ready, placed)),
        "observedGeneration": document["metadata"]["generation"],
    }
    counts = {
        "updatedNumberScheduled": updated,
        "numberAvailable": there,
        "numberUnavailable": len(wanted) - there,
    }
    return found | {key: value for key, value in counts.items() if value}
