"""The ReplicaSet controller: as many Pods as a ReplicaSet says, of its template.

Pods are called `<workload>-<lowest number from 1 that is free>`, where the workload is the
Deployment that the ReplicaSet belongs to, or itself: short names for small clusters.
Source: pkg/controller/replicaset and controller_utils.go (ActivePodsWithRanks) of Kubernetes, v1.36
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import count, islice

from msgspec.structs import replace

from kproxy.api.types import Pod
from kproxy.controlplane import members
from kproxy.controlplane.plane import Json
from kproxy.controlplane.registry import CONTROLLERS, DEPLOYMENT, HASH_LABEL

_PHASES = {"Pending": 0, "Unknown": 1}  # other phases come later


@dataclass(frozen=True, slots=True, kw_only=True)
class PodStep:
    """Pods to let go, to delete, and the names of those to create."""

    create: tuple[str, ...] = ()
    delete: tuple[Pod, ...] = ()
    release: tuple[Pod, ...] = ()


def next_step(
    document: Json,
    owned: Sequence[Pod],
    related: Sequence[Pod],
    name_is_taken: Callable[[str], bool],
) -> PodStep:
    """Return what to do now; `owned` are its Pods, `related` those of the same workload."""
    released = tuple(each for each in owned if not selects(document, each.metadata.labels))
    if released:
        return PodStep(release=released)
    live = [each for each in owned if is_live(each)]
    missing = document["spec"]["replicas"] - len(live)
    if missing < 0:
        others = [each for each in related if is_live(each)]
        return PodStep(delete=tuple(by_deletion_order(live, others)[:-missing]))
    prefix = workload_name(document)
    free = (name for i in count(1) if not name_is_taken(name := f"{prefix}-{i}"))
    return PodStep(create=tuple(islice(free, missing)))


def status(document: Json, owned: Iterable[Pod], available: Callable[[Pod], bool]) -> Json:
    """Return the status; `available` tells whether a Pod has been ready for long enough."""
    live = [each for each in owned if is_live(each)]
    wanted = _labels(document["spec"]["template"])
    labelled = sum(wanted.items() <= each.metadata.labels.items() for each in live)
    counts = {
        "fullyLabeledReplicas": labelled,
        "readyReplicas": sum(map(members.is_ready, live)),
        "availableReplicas": sum(map(available, live)),
    }
    found: Json = {"replicas": len(live)}
    found |= {key: value for key, value in counts.items() if value}
    return found | {"observedGeneration": document["metadata"]["generation"]}


def selects(document: Json, labels: dict[str, str]) -> bool:
    """Tell whether a workload's selector matches labels."""
    selector = document["spec"].get("selector") or {}
    wanted = selector.get("matchLabels") or {}
    return wanted.items() <= labels.items() and all(
        _holds(each, labels) for each in selector.get("matchExpressions") or ()
    )


def workload_name(document: Json) -> str:
    """Return the name of the Deployment that a ReplicaSet belongs to, or its own."""
    name: str = document["metadata"]["name"]
    digest = (document["metadata"].get("labels") or {}).get(HASH_LABEL)
    owners = document["metadata"].get("ownerReferences") or ()
    if digest and any(each.get("kind") == DEPLOYMENT for each in owners):
        return name.removesuffix(f"-{digest}")
    return name


def is_live(pod: Pod) -> bool:
    """Tell whether a Pod counts as a replica."""
    return not members.is_terminating(pod) and not members.is_terminal(pod)


def by_deletion_order(pods: Iterable[Pod], related: Iterable[Pod]) -> list[Pod]:
    """Return `pods` (given oldest first) in the order in which to delete them.

    First those without a Node, then those that do not run, then those that are not ready, then
    those on Nodes with more of the `related` (all live Pods of the workload), then the newest.
    """
    on_node = Counter(pod.spec.node_name for pod in related)

    def rank(numbered: tuple[int, Pod]) -> tuple[bool, int, bool, int, int]:
        age, pod = numbered
        return (
            bool(pod.spec.node_name),
            _PHASES.get(pod.status.phase or "Pending", len(_PHASES)),
            members.is_ready(pod),
            -on_node[pod.spec.node_name],
            -age,
        )

    return [pod for _, pod in sorted(enumerate(pods), key=rank)]


def without_owner(pod: Pod) -> Pod:
    """Return the Pod without its controller as owner."""
    kept = tuple(
        each
        for each in pod.metadata.owner_references
        if each.kind not in CONTROLLERS and each.kind != DEPLOYMENT
    )
    return replace(pod, metadata=replace(pod.metadata, owner_references=kept))


def _labels(template: Json) -> dict[str, str]:
    found: dict[str, str] = (template.get("metadata") or {}).get("labels") or {}
    return found


def _holds(requirement: Json, labels: dict[str, str]) -> bool:
    key, values = requirement["key"], requirement.get("values") or ()
    match requirement["operator"]:
        case "In":
            return labels.get(key) in values
        case "NotIn":
            return labels.get(key) not in values
        case "Exists":
            return key in labels
        case _:
            return key not in labels
