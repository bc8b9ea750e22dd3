"""The StatefulSet controller: Pods with ordinals, one after another.

Pods have the names `<set>-<ordinal>`: their host names in the domain of the set's Service.
Source: pkg/controller/statefulset (stateful_set_control.go, stateful_set_utils.go) of Kubernetes,
v1.36
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kproxy.api.types import Pod
from kproxy.controlplane import members
from kproxy.controlplane.deployments import template_hash
from kproxy.controlplane.plane import Json
from kproxy.controlplane.replica_sets import is_live

REVISION_LABEL = "controller-revision-hash"
NAME_LABEL = "statefulset.kubernetes.io/pod-name"
INDEX_LABEL = "apps.kubernetes.io/pod-index"


@dataclass(frozen=True, slots=True, kw_only=True)
class StatefulStep:
    """Ordinals of Pods to create, and Pods to delete, now."""

    create: tuple[int, ...] = ()
    delete: tuple[Pod, ...] = ()


def next_step(
    document: Json, owned: Sequence[Pod], available: Callable[[Pod], bool]
) -> StatefulStep:
    """Return what to do now; nothing as long as an earlier Pod is not `available`, unless
    parallel: whether it has been ready for long enough.
    """
    spec = document["spec"]
    start = (spec.get("ordinals") or {}).get("start", 0)
    wanted = range(start, start + spec["replicas"])
    parallel = spec.get("podManagementPolicy") == "Parallel"
    there = {ordinal(document, each): each for each in owned}
    ended = [each for each in owned if members.is_terminal(each) and is_named(document, each)]
    if ended := [each for each in ended if not members.is_terminating(each)]:
        return StatefulStep(delete=tuple(ended if parallel else ended[:1]))
    missing = [each for each in wanted if each not in there]
    if parallel:
        surplus = [pod for number, pod in there.items() if number not in wanted and is_live(pod)]
        if missing or surplus:
            return StatefulStep(create=tuple(missing), delete=tuple(surplus))
    else:
        for number in wanted:
            pod = there.get(number)
            if pod is None:
                return StatefulStep(create=(number,))
            if not (is_live(pod) and available(pod)):
                return StatefulStep(delete=_outdated_and_stuck(document, pod))
        surplus = [there[each] for each in sorted(there, reverse=True) if each not in wanted]
        if surplus:
            first = surplus[0]
            return StatefulStep(delete=(first,) if is_live(first) else ())
    return StatefulStep(delete=_to_update(document, there, wanted, available))


def _to_update(
    document: Json, there: dict[int, Pod], wanted: range, available: Callable[[Pod], bool]
) -> tuple[Pod, ...]:
    update = document["spec"].get("updateStrategy") or {}
    if update.get("type") != "RollingUpdate":
        return ()
    partition = (update.get("rollingUpdate") or {}).get("partition") or 0
    current = revision_name(document)
    for number in reversed(wanted):
        if number < partition:
            break
        pod = there[number]
        if pod.metadata.labels.get(REVISION_LABEL) != current:
            return (pod,) if is_live(pod) else ()
        if not (is_live(pod) and available(pod)):
            break
    return ()


def _outdated_and_stuck(document: Json, pod: Pod) -> tuple[Pod, ...]:
    """Return a Pod of another template that never became ready: a new one may be better."""
    outdated = pod.metadata.labels.get(REVISION_LABEL) != revision_name(document)
    return (pod,) if outdated and is_live(pod) and not members.is_ready(pod) else ()


def is_named(document: Json, pod: Pod) -> bool:
    return ordinal(document, pod) >= 0


def ordinal(document: Json, pod: Pod) -> int:
    """Return the ordinal of a Pod; -1 if its name is not one of this set."""
    rest = pod.metadata.name.removeprefix(f"{document['metadata']['name']}-")
    return int(rest) if rest.isdecimal() else -1


def revision_name(document: Json) -> str:
    """Return the name of the ControllerRevision of a workload's template."""
    return f"{document['metadata']['name']}-{template_hash(document['spec']['template'])}"


def labels(document: Json, number: int) -> dict[str, str]:
    """Return the labels that a Pod has beside those of its template."""
    name = f"{document['metadata']['name']}-{number}"
    return {REVISION_LABEL: revision_name(document), NAME_LABEL: name, INDEX_LABEL: str(number)}


def status(document: Json, owned: Sequence[Pod], available: Callable[[Pod], bool]) -> Json:
    """Return the status; `available` tells whether a Pod has been ready for long enough."""
    current, before = revision_name(document), document.get("status") or {}
    there = [each for each in owned if is_named(document, each)]
    live = [each for each in there if is_live(each)]
    ready = sum(map(members.is_ready, live))
    updated = sum(each.metadata.labels.get(REVISION_LABEL) == current for each in live)
    done = updated == len(live) == document["spec"]["replicas"] == ready
    former = current if done else before.get("currentRevision") or current
    own = sum(each.metadata.labels.get(REVISION_LABEL) == former for each in live)
    counts = {"readyReplicas": ready, "currentReplicas": own, "updatedReplicas": updated}
    return {
        "observedGeneration": document["metadata"]["generation"],
        "replicas": len(there),
        "availableReplicas": sum(map(available, live)),
        "collisionCount": 0,
        "currentRevision": former,
        "updateRevision": current,
        **{key: value for key, value in counts.items() if value},
    }
