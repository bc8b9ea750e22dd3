"""Runs the controllers of workloads: Deployments, ReplicaSets, StatefulSets and DaemonSets."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import inf

from kproxy.api.checks import altered
from kproxy.api.types import Deployment, DeploymentStatus, Node, Pod
from kproxy.controlplane import (
    daemon_sets,
    deployments,
    members,
    pod_events,
    replica_sets,
    revisions,
    scheduler,
    stateful_sets,
)
from kproxy.controlplane.deployment_status import judged
from kproxy.controlplane.deployments import Sized
from kproxy.controlplane.events import Told
from kproxy.controlplane.plane import Json
from kproxy.controlplane.pod_templates import adopted, new_pod
from kproxy.controlplane.registry import DEPLOYMENT, owner_of
from kproxy.controlplane.timestamps import seconds
from kproxy.controlplane.writes import Writes
from kproxy.store import ObjectKey, object_key

_ORDER = ("ReplicaSet", "StatefulSet", "DaemonSet", DEPLOYMENT)  # sizes first, then who sets them


class Workloads:
    """The controllers over the objects that `writes` writes."""

    def __init__(self, writes: Writes) -> None:
        self._writes = writes
        self._registry = writes.registry
        self._documents = writes.registry.documents
        self._run: dict[str, Callable[[ObjectKey, Json, str], None]] = {
            "ReplicaSet": self._replica_set,
            "StatefulSet": self._stateful_set,
            "DaemonSet": self._daemon_set,
            DEPLOYMENT: self._deployment,
        }

    def reconcile(self, now: str) -> None:
        """Run those that are due, until none is."""
        self._writes.take_due()
        while due := self._writes.workloads_due:
            kind = next((each for each in _ORDER if any(key[0] == each for key in due)), "")
            batch = sorted(key for key in due if key[0] == kind or not kind)
            due.difference_update(batch)
            for key in batch:
                self._writes.later.pop(key, None)  # a run finds out anew
                if kind and (document := self._documents.get(key)):
                    self._run[kind](key, document, now)

    # --- Deployments -----------------------------------------------------------------------------

    def _deployment(self, key: ObjectKey, document: Json, _now: str) -> None:
        deployment = self._registry.get(key)
        if not isinstance(deployment, Deployment):
            return
        sets, created = self._sets(key, document), ""
        if not deployment.metadata.deletion_timestamp:
            step = deployments.next_step(deployment, document, sets)
            for each in step.write:
                self._write_set(deployment, each, sets)
            for name in step.delete:
                self._writes.remove(("ReplicaSet", key[1], name))
            told = deployment.metadata.annotations
            if step.annotations.items() - told.items():
                metadata = altered(deployment.metadata, annotations={**told, **step.annotations})
                deployment = altered(deployment, metadata=metadata)
                self._writes.write(deployment)
                document = self._documents.get(key) or document
            if step.write or step.delete or step.annotations:
                self._writes.workloads_due.add(key)
                known, sets = {each.name for each in sets}, self._sets(key, document)
                created = next((each.name for each in sets if each.name not in known), "")
        self._deployment_status(deployment, document, sets, created)

    def _deployment_status(
        self, deployment: Deployment, document: Json, sets: list[Sized], created: str
    ) -> None:
        found, due = judged(deployment, document, sets, self._writes.now(), created)
        if due < inf:
            self._writes.look_again(object_key(deployment), due)
        if found == document.get("status"):
            return
        status = DeploymentStatus(
            replicas=found.get("replicas", 0),
            updated_replicas=found.get("updatedReplicas", 0),
            ready_replicas=found.get("readyReplicas", 0),
        )
        obj = altered(deployment, status=status)
        self._registry.put(obj, {**document, "status": found})

    def _sets(self, key: ObjectKey, document: Json) -> list[Sized]:
        """Return the ReplicaSets of a Deployment, those that it adopts among them."""
        uid = document["metadata"]["uid"]
        owned = {*self._documents.dependents(key, uid)}
        found = []
        for each in self._documents.keys("ReplicaSet", key[1]):
            known = self._documents.get(each)
            if known is None or (each not in owned and not self._adopt_set(document, known)):
                continue
            pods = self._registry.owned(each)
            live = [pod for pod in pods if replica_sets.is_live(pod)]
            found.append(
                Sized(
                    document=self._documents.get(each) or known,
                    live=len(live),
                    ready=sum(map(members.is_ready, live)),
                    available=sum(map(self._available(each, known), live)),
                    waiting=any(not members.is_terminal(pod) for pod in pods),
                )
            )
        return found

    def _adopt_set(self, document: Json, known: Json) -> bool:
        metadata = known["metadata"]
        owners = metadata.get("ownerReferences") or []
        if any(each.get("controller") for each in owners) or metadata.get("deletionTimestamp"):
            return False
        if not replica_sets.selects(document, metadata.get("labels") or {}):
            return False
        if not (document["spec"].get("selector") or {}).get("matchLabels"):
            return False
        owners = [*owners, deployments.reference(document["metadata"])]
        self._writes.write_document({**known, "metadata": {**metadata, "ownerReferences": owners}})
        return True

    def _write_set(self, deployment: Deployment, wanted: Json, sets: Iterable[Sized]) -> None:
        name, size = wanted["metadata"]["name"], wanted["spec"]["replicas"]
        former = next((each.replicas for each in sets if each.name == name), 0)
        self._writes.write_document(wanted)
        if size != former:
            direction = "up" if size > former else "down"
            self._writes.tell(
                Told(
                    object_key(deployment),
                    "ScalingReplicaSet",
                    f"Scaled {direction} replica set {name} from {former} to {size}",
                    "deployment-controller",
                )
            )

    # --- ReplicaSets -----------------------------------------------------------------------------

    def _replica_set(self, key: ObjectKey, document: Json, now: str) -> None:
        if not document["metadata"].get("deletionTimestamp"):
            self._adopt_pods(key, document)
            owned = self._registry.owned(key)
            step = replica_sets.next_step(
                document, owned, self._related(key, document), self._taken(key)
            )
            for pod in step.release:
                self._writes.write(replica_sets.without_owner(pod))
            for pod in step.delete:
                self._delete(key, pod, now)
            for name in step.create:
                self._create(document, name)
            if step.release or step.create or step.delete:
                self._writes.workloads_due.add(key)
        owned, available = self._registry.owned(key), self._available(key, document)
        self._set_status(key, document, replica_sets.status(document, owned, available))

    def _related(self, key: ObjectKey, document: Json) -> list[Pod]:
        """Return the Pods of the ReplicaSets that belong to the same Deployment."""
        owners = document["metadata"].get("ownerReferences") or ()
        for each in owners:
            owner = (each["kind"], key[1], each["name"])
            if each.get("controller"):
                sets = self._documents.dependents(owner, each["uid"])
                return [pod for found in sets for pod in self._registry.owned(found)]
        return self._registry.owned(key)

    def _adopt_pods(self, key: ObjectKey, document: Json) -> None:
        wanted = (document["spec"].get("selector") or {}).get("matchLabels") or {}
        for pod in self._registry.labelled(key[1], wanted):
            owned = owner_of(pod) or any(each.controller for each in pod.metadata.owner_references)
            wanted_here = replica_sets.selects(document, pod.metadata.labels)
            if wanted_here and replica_sets.is_live(pod) and not owned:
                self._writes.write(adopted(pod, document))

    # --- StatefulSets and DaemonSets -------------------------------------------------------------

    def _stateful_set(self, key: ObjectKey, document: Json, now: str) -> None:
        revisions.keep(document, self._writes)
        available = self._available(key, document)
        if not document["metadata"].get("deletionTimestamp"):
            step = stateful_sets.next_step(document, self._registry.owned(key), available)
            for pod in step.delete:
                self._delete(key, pod, now)
            subdomain = document["spec"].get("serviceName") or ""
            for number in step.create:
                name = f"{key[2]}-{number}"
                if self._taken(key)(name):
                    break
                spec = {"hostname": name} | ({"subdomain": subdomain} if subdomain else {})
                self._create(document, name, stateful_sets.labels(document, number), spec)
            else:
                if step.create or step.delete:
                    self._writes.workloads_due.add(key)
        owned = self._registry.owned(key)
        self._set_status(key, document, stateful_sets.status(document, owned, available))

    def _daemon_set(self, key: ObjectKey, document: Json, now: str) -> None:
        revisions.keep(document, self._writes)
        pod, _ = new_pod(document, "any", spec=self._daemon_spec(document))
        nodes = [each for each in self._registry.all(Node) if scheduler.admits(pod, each)]
        available = self._available(key, document)
        if not document["metadata"].get("deletionTimestamp"):
            owned = self._registry.owned(key)
            step = daemon_sets.next_step(document, owned, nodes, self._taken(key), available)
            for each in step.delete:
                self._delete(key, each, now)
            digest = deployments.template_hash(document["spec"]["template"])
            labels = {stateful_sets.REVISION_LABEL: digest}
            for name, node in step.create:
                spec = {**self._daemon_spec(document), "nodeName": node}
                pod = self._create(document, name, labels, spec)
                self._writes.tell(pod_events.scheduled(pod, node))
            if step.create or step.delete:
                self._writes.workloads_due.add(key)
        owned = self._registry.owned(key)
        self._set_status(key, document, daemon_sets.status(document, owned, nodes, available))

    def _daemon_spec(self, document: Json) -> Json:
        stated = document["spec"]["template"]["spec"].get("tolerations") or []
        return {"tolerations": [*stated, *daemon_sets.TOLERATIONS]}

    # --- what all do -----------------------------------------------------------------------------

    def _available(self, key: ObjectKey, document: Json) -> Callable[[Pod], bool]:
        """Return what tells whether a Pod has been ready for long enough. The workload is due again
        when the first of those that it is asked about will have been.
        """
        least_s = document["spec"].get("minReadySeconds") or 0
        if least_s <= 0:
            return members.is_ready
        now = seconds(self._writes.now())

        def holds(pod: Pod) -> bool:
            since = self._registry.ready_since(object_key(pod))
            at = seconds(since) + least_s if since else inf
            if now < at < inf:
                self._writes.look_again(key, at)
            return at <= now

        return holds

    def _taken(self, key: ObjectKey) -> Callable[[str], bool]:
        return lambda name: self._registry.get(("Pod", key[1], name)) is not None

    def _create(
        self,
        owner: Json,
        name: str,
        labels: dict[str, str] | None = None,
        spec: Json | None = None,
    ) -> Pod:
        pod, base = new_pod(owner, name, labels=labels, spec=spec)
        self._writes.write(pod, base)
        self._tell(owner, "SuccessfulCreate", _told("create", owner, name))
        return pod

    def _delete(self, key: ObjectKey, pod: Pod, now: str) -> None:
        if members.is_terminating(pod):
            return
        self._writes.delete_pod(pod, now)
        if owner := self._documents.get(key):
            self._tell(owner, "SuccessfulDelete", _told("delete", owner, pod.metadata.name))

    def _tell(self, owner: Json, reason: str, message: str) -> None:
        kind, metadata = owner["kind"], owner["metadata"]
        component = f"{kind.lower().removesuffix('set')}set-controller"
        key = (kind, metadata["namespace"], metadata["name"])
        self._writes.tell(Told(key, reason, message, component))

    def _set_status(self, key: ObjectKey, document: Json, status: Json) -> None:
        """Write a status. It concerns no controller but that of what owns the workload."""
        if status != document.get("status"):
            self._registry.put_document({**document, "status": status})
            for each in document["metadata"].get("ownerReferences") or ():
                self._writes.workloads_due.add((each["kind"], key[1], each["name"]))


def _told(verb: str, owner: Json, pod: str) -> str:
    """Return an event's message about a Pod that a workload has created or deleted."""
    if owner["kind"] == "StatefulSet":
        return f"{verb} Pod {pod} in StatefulSet {owner['metadata']['name']} successful"
    return f"{verb.capitalize()}d pod: {pod}"
