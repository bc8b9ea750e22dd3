"""The Deployment controller: decides which Pods of which template to create and delete.

There are no ReplicaSet objects here: the label `pod-template-hash` of a Pod tells its template. Two
consequences: a Pod of a former template that is deleted by hand during a rollout is replaced by one
of the new template, and a change of `replicas` during a rollout is not distributed over the
templates. A Pod is available once it is ready (`minReadySeconds` is 0).
Source: pkg/controller/deployment (rolling.go, recreate.go, util/deployment_util.go) and
pkg/controller/controller_utils.go (ActivePodsWithRanks) of Kubernetes, v1.36
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import count, islice

import msgspec
from msgspec.structs import replace

from kproxy.api.types import (
    Deployment,
    DeploymentStatus,
    Metadata,
    OwnerReference,
    Pod,
    PodStatus,
    PodTemplateSpec,
)
from kproxy.controlplane import members
from kproxy.controlplane.registry import DEPLOYMENT

HASH_LABEL = "pod-template-hash"
_HASH_LENGTH = 10
_PHASES = {"Pending": 0, "Unknown": 1}  # other phases come later


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """The changes to make now. More may be due once they are made, or once Pods are ready.

    `release` are Pods that the selector no longer matches; they stay without an owner.
    """

    create: tuple[Pod, ...] = ()
    delete: tuple[Pod, ...] = ()
    release: tuple[Pod, ...] = ()


def next_step(
    deployment: Deployment, owned: Sequence[Pod], name_is_taken: Callable[[str], bool]
) -> Step:
    """Return what to do now. `owned` are the Pods, oldest first, also terminating or ended ones.

    New Pods are called `<deployment>-<lowest number from 1 that is free>`.
    """
    wanted = deployment.spec.selector.match_labels.items()
    released = tuple(
        pod
        for pod in owned
        if not wanted <= pod.metadata.labels.items() or HASH_LABEL not in pod.metadata.labels
    )
    if released:
        return Step(release=released)
    current = template_hash(deployment.spec.template)
    live = [pod for pod in owned if is_live(pod)]
    new = [pod for pod in live if pod.metadata.labels[HASH_LABEL] == current]
    old = [pod for pod in live if pod.metadata.labels[HASH_LABEL] != current]
    if deployment.spec.strategy.type == "Recreate":
        waiting = any(
            pod.metadata.labels[HASH_LABEL] != current and not members.is_terminal(pod)
            for pod in owned
        )
        create, delete = _recreate(replicas_of(deployment), new, old, waiting=waiting)
    else:
        create, delete = _roll(deployment, new, old)
    return Step(create=tuple(_new_pods(deployment, create, name_is_taken)), delete=tuple(delete))


def status_of(deployment: Deployment, owned: Iterable[Pod]) -> DeploymentStatus:
    current = template_hash(deployment.spec.template)
    live = [pod for pod in owned if is_live(pod)]
    return DeploymentStatus(
        replicas=len(live),
        updated_replicas=sum(pod.metadata.labels.get(HASH_LABEL) == current for pod in live),
        ready_replicas=sum(map(members.is_ready, live)),
    )


def template_hash(template: PodTemplateSpec) -> str:
    """Return ten characters that are the same for equal labels, annotations and specs."""
    meta = template.metadata
    told = (meta.labels, meta.annotations, template.spec)
    return sha256(msgspec.json.encode(told, order="deterministic")).hexdigest()[:_HASH_LENGTH]


def replicas_of(deployment: Deployment) -> int:
    """Return the desired number of Pods."""
    return 1 if deployment.spec.replicas is None else deployment.spec.replicas


def limits(deployment: Deployment) -> tuple[int, int]:
    """Return maxSurge (rounded up) and maxUnavailable (rounded down) in Pods; not both are 0."""
    replicas, rolling = replicas_of(deployment), deployment.spec.strategy.rolling_update
    surge = _resolved(rolling.max_surge, replicas, up=True)
    unavailable = _resolved(rolling.max_unavailable, replicas, up=False)
    return surge, unavailable if surge or unavailable else 1


def is_live(pod: Pod) -> bool:
    """Tell whether a Pod counts as a replica."""
    return not members.is_terminating(pod) and not members.is_terminal(pod)


def by_deletion_order(pods: Iterable[Pod], related: Iterable[Pod]) -> list[Pod]:
    """Return `pods` (given oldest first) in the order in which to delete them.

    First those without a Node, then those that do not run, then those that are not ready, then
    those on Nodes with more of the `related` (all live Pods of the Deployment), then the newest.
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


def _recreate(
    replicas: int, new: Sequence[Pod], old: Sequence[Pod], *, waiting: bool
) -> tuple[int, list[Pod]]:
    """Return how many to create, and what to delete: all old Pods before the first new one."""
    surplus = by_deletion_order(new, [*old, *new])[: max(len(new) - replicas, 0)]
    return 0 if waiting else max(replicas - len(new), 0), [*old, *surplus]


def _roll(deployment: Deployment, new: Sequence[Pod], old: Sequence[Pod]) -> tuple[int, list[Pod]]:
    replicas = replicas_of(deployment)
    surge, unavailable = limits(deployment)
    live = [*old, *new]
    if len(new) > replicas:
        return 0, by_deletion_order(new, live)[: len(new) - replicas]
    if len(new) < replicas and (room := replicas + surge - len(live)) > 0:
        return min(room, replicas - len(new)), []
    # New Pods that are not available yet do not count.
    least = replicas - unavailable
    unhealthy = [pod for pod in old if not members.is_ready(pod)]
    new_unavailable = sum(not members.is_ready(pod) for pod in new)
    most = max(len(live) - least - new_unavailable, 0)
    if to_delete := by_deletion_order(unhealthy, live)[:most]:
        return 0, to_delete
    spare = sum(map(members.is_ready, live)) - least
    return 0, by_deletion_order(old, live)[: max(spare, 0)]


def _new_pods(
    deployment: Deployment, number: int, name_is_taken: Callable[[str], bool]
) -> Iterable[Pod]:
    template, meta = deployment.spec.template, deployment.metadata
    names = (f"{meta.name}-{i}" for i in count(1))
    free = (name for name in names if not name_is_taken(name))
    labels = template.metadata.labels | {HASH_LABEL: template_hash(template)}
    for name in islice(free, number):
        yield Pod(
            metadata=Metadata(
                name=name,
                namespace=meta.namespace,
                labels=labels,
                annotations=template.metadata.annotations,
                owner_references=(_reference(deployment),),
            ),
            spec=template.spec,
            status=PodStatus(phase="Pending"),
        )


def without_owner(pod: Pod) -> Pod:
    """Return the Pod without its Deployment as owner."""
    kept = tuple(each for each in pod.metadata.owner_references if each.kind != DEPLOYMENT)
    return replace(pod, metadata=replace(pod.metadata, owner_references=kept))


def _resolved(value: int | str, replicas: int, *, up: bool) -> int:
    if isinstance(value, int):
        return value
    product = int(value.removesuffix("%")) * replicas
    return -(-product // 100) if up else product // 100


def _reference(deployment: Deployment) -> OwnerReference:
    """Return a complete reference. There are no UIDs here: the key takes the place of one."""
    meta = deployment.metadata
    uid = f"{meta.namespace}/{meta.name}"
    return OwnerReference(
        api_version="apps/v1", kind=DEPLOYMENT, name=meta.name, uid=uid, controller=True
    )
