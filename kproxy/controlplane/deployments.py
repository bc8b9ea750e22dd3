"""The Deployment controller: decides which ReplicaSets there are, and their sizes.

    Deployment, its ReplicaSets, their Pods -> ReplicaSets to write and to delete

A ReplicaSet is named for its template: `<deployment>-<hash>`, whose hash is the label
`pod-template-hash` of its Pods.
Source: pkg/controller/deployment (sync.go, rolling.go, recreate.go, util/deployment_util.go) of
Kubernetes, v1.36
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

import msgspec

from kproxy.api.types import Deployment
from kproxy.controlplane.plane import Json
from kproxy.controlplane.registry import DEPLOYMENT, HASH_LABEL
from kproxy.controlplane.stored_documents import placeholder

REVISION = "deployment.kubernetes.io/revision"
REVISION_HISTORY = "deployment.kubernetes.io/revision-history"
DESIRED = "deployment.kubernetes.io/desired-replicas"
MOST = "deployment.kubernetes.io/max-replicas"
_OWN_ANNOTATIONS = (
    REVISION,
    REVISION_HISTORY,
    DESIRED,
    MOST,
    "kubectl.kubernetes.io/last-applied-configuration",
    "deprecated.deployment.rollback.to",
)
_HASH_LENGTH = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Sized:
    """A ReplicaSet with the number of its Pods that are `live`, and of those that are `ready`, and
    that have been ready for long enough (`available`).

    `waiting` tells whether Pods of it have not ended yet, even if they terminate.
    """

    document: Json
    live: int = 0
    ready: int = 0
    available: int = 0
    waiting: bool = False

    @property
    def name(self) -> str:
        name: str = self.document["metadata"]["name"]
        return name

    @property
    def replicas(self) -> int:
        size: int = self.document["spec"]["replicas"]
        return size

    @property
    def revision(self) -> int:
        return _number(annotations_of(self.document).get(REVISION))


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """The ReplicaSets to write and delete now; more may be due then, or once Pods are ready."""

    write: tuple[Json, ...] = ()
    delete: tuple[str, ...] = ()
    annotations: Mapping[str, str] = field(default_factory=dict)  # of the Deployment


def next_step(deployment: Deployment, document: Json, sets: Sequence[Sized]) -> Step:
    """Return what to do now. `sets` are the Deployment's ReplicaSets, oldest first."""
    new = new_set(document, sets)
    old = [each for each in sets if each is not new]
    if deployment.spec.paused or _is_scaling(deployment, sets):
        return _resized(deployment, _scaled(deployment, new, old))
    if deployment.spec.strategy.type == "Recreate":
        if shrunk := [(each, 0) for each in old if each.replicas]:
            return _resized(deployment, shrunk)
        if any(each.waiting for each in old):
            return Step()
    if new is None:
        return _created(deployment, document, old)
    if step := _revised(document, new, old):
        return step
    replicas = replicas_of(deployment)
    if new.replicas != replicas:
        size = _new_size(deployment, new.replicas, sets)
        if size != new.replicas:
            return _resized(deployment, [(new, size)])
    if shrunk := _shrunk(deployment, new, old):
        return _resized(deployment, shrunk)
    if new.live == new.available == replicas and not any(each.live for each in old):
        return Step(delete=tuple(_forgotten(deployment, old)))
    return Step()


def new_set(document: Json, sets: Iterable[Sized]) -> Sized | None:
    """Return the ReplicaSet of the Deployment's template, if there is one."""
    name = f"{document['metadata']['name']}-{template_hash(document['spec']['template'])}"
    return next((each for each in sets if each.name == name), None)


def template_hash(template: Json) -> str:
    """Return ten characters that are the same for equal labels, annotations and specs."""
    metadata = template.get("metadata") or {}
    told = (metadata.get("labels") or {}, metadata.get("annotations") or {}, template["spec"])
    return sha256(msgspec.json.encode(told, order="deterministic")).hexdigest()[:_HASH_LENGTH]


def replicas_of(deployment: Deployment) -> int:
    """Return the desired number of Pods."""
    return 1 if deployment.spec.replicas is None else deployment.spec.replicas


def limits(deployment: Deployment) -> tuple[int, int]:
    """Return maxSurge (rounded up) and maxUnavailable (rounded down) in Pods; not both are 0.

    Both are 0 for the strategy Recreate.
    """
    if deployment.spec.strategy.type == "Recreate":
        return 0, 0
    replicas, rolling = replicas_of(deployment), deployment.spec.strategy.rolling_update
    surge = resolved(rolling.max_surge, replicas, up=True)
    unavailable = resolved(rolling.max_unavailable, replicas, up=False)
    return surge, unavailable if surge or unavailable else 1


def resolved(value: int | str, replicas: int, *, up: bool) -> int:
    """Return a number of Pods, or a percentage of `replicas`, as a number of Pods."""
    if isinstance(value, int):
        return value
    product = int(value.removesuffix("%")) * replicas
    return -(-product // 100) if up else product // 100


def annotations_of(document: Json) -> dict[str, str]:
    found: dict[str, str] = document["metadata"].get("annotations") or {}
    return found


def _number(text: str | None) -> int:
    return int(text) if text and text.isdecimal() else 0


# --- new ReplicaSets -----------------------------------------------------------------------------


def _created(deployment: Deployment, document: Json, old: Sequence[Sized]) -> Step:
    template, metadata = document["spec"]["template"], document["metadata"]
    digest = template_hash(template)
    labels = {**((template.get("metadata") or {}).get("labels") or {}), HASH_LABEL: digest}
    own = {**(template.get("metadata") or {}), "labels": labels}
    selector = document["spec"].get("selector") or {}
    wanted = {
        **selector,
        "matchLabels": {**(selector.get("matchLabels") or {}), HASH_LABEL: digest},
    }
    revision = str(max((each.revision for each in old), default=0) + 1)
    made = Sized(
        document={
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "metadata": {
                "name": f"{metadata['name']}-{digest}",
                "namespace": metadata["namespace"],
                "labels": labels,
                "annotations": _inherited(document) | {REVISION: revision},
                "ownerReferences": [reference(metadata)],
            },
            "spec": {
                "replicas": 0,
                "selector": wanted,
                "template": {**template, "metadata": own},
                **_readiness(document),
            },
        }
    )
    size = _new_size(deployment, 0, [*old, made])
    sized = _with_size(deployment, made.document, size)
    return Step(write=(sized,), annotations={REVISION: revision})


def _revised(document: Json, new: Sized, old: Sequence[Sized]) -> Step | None:
    """Return the step that makes a ReplicaSet the latest revision again, if it is not."""
    latest = max((each.revision for each in old), default=0) + 1
    told = annotations_of(new.document)
    wanted = told | _inherited(document)
    if new.revision < latest:
        wanted[REVISION] = str(latest)
        if new.revision:
            history = [*filter(None, [told.get(REVISION_HISTORY, "")]), str(new.revision)]
            wanted[REVISION_HISTORY] = ",".join(history)
    of_deployment = {REVISION: wanted[REVISION]}
    shown = annotations_of(document).get(REVISION)
    metadata = {**new.document["metadata"], "annotations": wanted}
    spec = {key: each for key, each in new.document["spec"].items() if key != "minReadySeconds"}
    revised = {**new.document, "metadata": metadata, "spec": {**spec, **_readiness(document)}}
    write = (revised,) if revised != new.document else ()
    if not write and shown == wanted[REVISION]:
        return None
    return Step(write=write, annotations=of_deployment)


def _readiness(document: Json) -> Json:
    """Return what the spec of a ReplicaSet says of how long Pods have to be ready."""
    found = document["spec"].get("minReadySeconds")
    return {"minReadySeconds": found} if found else {}


def _inherited(document: Json) -> dict[str, str]:
    """Return the annotations that ReplicaSets take over, such as the cause of a change."""
    told = annotations_of(document)
    return {key: value for key, value in told.items() if key not in _OWN_ANNOTATIONS}


def reference(metadata: Json) -> Json:
    """Return the reference of what a Deployment makes."""
    key = (DEPLOYMENT, metadata["namespace"], metadata["name"])
    return {
        "apiVersion": "apps/v1",
        "kind": DEPLOYMENT,
        "name": metadata["name"],
        "uid": placeholder(key),
        "controller": True,
        "blockOwnerDeletion": True,
    }


def _forgotten(deployment: Deployment, old: Sequence[Sized]) -> list[str]:
    """Return the names of ReplicaSets that are beyond the history's limit."""
    unused = sorted((each for each in old if not each.replicas and not each.live), key=_by_revision)
    return [each.name for each in unused[: max(len(unused) - _history(deployment), 0)]]


def _history(deployment: Deployment) -> int:
    return deployment.spec.revision_history_limit


def _by_revision(sized: Sized) -> int:
    return sized.revision


# --- sizes ---------------------------------------------------------------------------------------


def _resized(deployment: Deployment, sizes: Iterable[tuple[Sized, int]]) -> Step:
    written = (_with_size(deployment, each.document, size) for each, size in sizes)
    known = [each.document for each, _ in sizes] if isinstance(sizes, list) else []
    return Step(write=tuple(each for each in written if each not in known))


def _with_size(deployment: Deployment, document: Json, size: int) -> Json:
    surge, _ = limits(deployment)
    replicas = replicas_of(deployment)
    told = {DESIRED: str(replicas), MOST: str(replicas + surge)}
    metadata = {**document["metadata"], "annotations": annotations_of(document) | told}
    return {**document, "metadata": metadata, "spec": {**document["spec"], "replicas": size}}


def _new_size(deployment: Deployment, size: int, sets: Sequence[Sized]) -> int:
    """Return the size of the new ReplicaSet, as far as there is room for more Pods."""
    replicas = replicas_of(deployment)
    if size > replicas or deployment.spec.strategy.type == "Recreate":
        return replicas
    room = replicas + limits(deployment)[0] - sum(each.replicas for each in sets)
    return size + min(max(room, 0), replicas - size)


def _shrunk(deployment: Deployment, new: Sized, old: Sequence[Sized]) -> list[tuple[Sized, int]]:
    """Return sizes for the old ReplicaSets: Pods that are not ready go first."""
    if not any(each.replicas for each in old):
        return []
    least = replicas_of(deployment) - limits(deployment)[1]
    total = new.replicas + sum(each.replicas for each in old)
    most = total - least - max(new.replicas - new.available, 0)
    if most <= 0:
        return []
    sizes: dict[str, tuple[Sized, int]] = {}
    for each in old:
        if (less := min(most, each.replicas - each.available)) > 0:
            sizes[each.name] = each, each.replicas - less
            most -= less
    spare = new.available + sum(each.available for each in old) - least
    if sizes or spare <= 0:
        return list(sizes.values())
    for each in old:
        if less := min(each.replicas, spare):
            sizes[each.name] = each, each.replicas - less
            spare -= less
    return list(sizes.values())


def _is_scaling(deployment: Deployment, sets: Iterable[Sized]) -> bool:
    """Tell whether the Deployment's size has changed since its ReplicaSets got theirs."""
    wanted = str(replicas_of(deployment))
    return any(
        each.replicas and annotations_of(each.document).get(DESIRED, wanted) != wanted
        for each in sets
    )


def _scaled(
    deployment: Deployment, new: Sized | None, old: Sequence[Sized]
) -> list[tuple[Sized, int]]:
    """Distribute a changed number of Pods over the ReplicaSets, in proportion to their sizes."""
    replicas, (surge, _) = replicas_of(deployment), limits(deployment)
    sets = [*old, *([new] if new else [])]
    active = [each for each in sets if each.replicas]
    if len(active) <= 1:
        only = active[0] if active else new or (old[-1] if old else None)
        return [(only, replicas)] if only else []
    if new and new.replicas == new.available == replicas:
        return [(each, 0) for each in old if each.replicas]
    if deployment.spec.strategy.type == "Recreate":
        return [(each, each.replicas) for each in active]
    allowed = replicas + surge if replicas else 0
    to_add = allowed - sum(each.replicas for each in active)
    active.sort(key=lambda each: each.replicas, reverse=True)
    sizes: list[int] = []
    added = 0
    for each in active:
        before = _number(annotations_of(each.document).get(MOST)) or allowed
        share = round(each.replicas * allowed / before) - each.replicas
        left = to_add - added
        change = min(share, left) if to_add > 0 else max(share, left)
        change = 0 if change * to_add <= 0 else change
        sizes.append(each.replicas + change)
        added += change
    sizes[0] = max(sizes[0] + to_add - added, 0)
    return list(zip(active, sizes, strict=True))
