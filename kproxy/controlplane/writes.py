"""Writes into a registry, and the controllers that they concern."""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from msgspec.structs import replace

from kproxy.api.types import (
    Deployment,
    Endpoints,
    EndpointSlice,
    KubernetesObject,
    Node,
    Pod,
    Service,
)
from kproxy.controlplane import members, pod_events
from kproxy.controlplane.cluster_warnings import ClusterWarnings
from kproxy.controlplane.events import Events, Told
from kproxy.controlplane.plane import Json
from kproxy.controlplane.registry import CONTROLLERS, Registry, owner_of, workload_of
from kproxy.controlplane.service_cidrs import ServiceCIDRs
from kproxy.controlplane.stored_documents import is_same
from kproxy.controlplane.timestamps import seconds
from kproxy.store import ObjectKey, ServiceKey, object_key, service_of

_FILLED = ("ConfigMap", "ServiceAccount")  # each Namespace has one that comes back


class Writes:
    """Writes and deletes objects; what is due by them is in the sets, for controllers to take."""

    def __init__(
        self,
        registry: Registry,
        cidrs: ServiceCIDRs,
        warnings: ClusterWarnings,
        now: Callable[[], str],
    ) -> None:
        self.registry = registry
        self.now = now
        self.elsewhere: set[ObjectKey] = set()  # Pods that run outside this cluster's kubelets
        self.services_due: set[ServiceKey] = set()
        self.balancers_due: set[ServiceKey] = set()
        self.workloads_due: set[ObjectKey] = set()
        self.later: dict[ObjectKey, float] = {}  # workloads that are due by themselves, and when
        self.namespaces_due: set[str] = set()
        self.terminating: set[str] = set()  # namespaces
        self.taints_due: set[str] = set()  # names of Nodes
        self.orphaned: list[tuple[ObjectKey, str]] = []  # owners that are gone, with their uids
        self.ending: set[ObjectKey] = set()  # objects that wait for their dependents
        self.scheduling_due = False
        self.graces_s: dict[ObjectKey, int] = {}  # of Pods that end, if asked for
        self._cidrs = cidrs
        self._warnings = warnings
        self._events = Events(registry.documents.get, self.write_document, self.remove)

    def write(self, obj: KubernetesObject, document: Json | None = None) -> bool:
        """Store an object; return whether that changed anything."""
        former = self.registry.get(object_key(obj))
        changed = self.registry.put(obj, document)
        if changed:
            self._cidrs.follow(former, obj)
            self._note(obj)
            if former is not None and former is not obj:
                self._note(former)
        return changed

    def write_document(self, document: Json) -> None:
        """Store an object of a kind without a type."""
        key = self.registry.put_document(document)
        self._note_document(key, document)

    def store(self, obj: KubernetesObject, document: Json, *, dry_run: bool) -> Json:
        """Store an admitted object with its document, and return that as stored.

        A document that is as it was is not written.
        """
        key, documents = object_key(obj), self.registry.documents
        former = documents.get(key)
        if dry_run or former:
            found = documents.preview(key, obj, document)
            if dry_run:
                return found
            if former and is_same(found, former):
                return former
        self.write(obj, document)
        return documents.get(key) or document

    def store_document(self, key: ObjectKey, document: Json, *, dry_run: bool) -> Json:
        """Store a document of a kind without a type, and return it as stored."""
        documents = self.registry.documents
        former = documents.get(key)
        if dry_run or former:
            found = documents.preview(key, None, document)
            if dry_run:
                return found
            if former and is_same(found, former):
                return former
        self.write_document(document)
        return documents.get(key) or document

    def remove(self, key: ObjectKey) -> None:
        """Remove an object, whatever else there is to do first."""
        self.elsewhere.discard(key)
        self.graces_s.pop(key, None)
        self.ending.discard(key)
        self._warnings.api.pop(key, None)
        documents = self.registry.documents
        if not documents.exists(key):
            return
        if documents.has_dependents(key):
            self.orphaned.append((key, documents.uid(key)))
        if former := self.registry.remove(key):
            self._cidrs.follow(former, None)
            self._note(former)
            if isinstance(former, Pod):  # it makes room
                self.scheduling_due |= self.registry.has_unscheduled
        else:
            document = documents.get(key)
            documents.removed(key)
            self._note_document(key, document or {})
        if key[1] in self.terminating:
            self.namespaces_due.add(key[1])

    def delete_pod(self, pod: Pod, now: str) -> None:
        """Delete a Pod: at once if no kubelet has to stop it."""
        key = object_key(pod)
        stops_here = bool(pod.status.pod_ips) and key not in self.elsewhere
        if not stops_here and not pod.metadata.finalizers:
            self.remove(key)
        elif not members.is_terminating(pod):
            self.write(replace(pod, metadata=replace(pod.metadata, deletion_timestamp=now)))
            if stops_here:
                self.tell(pod_events.killing(pod))

    def look_again(self, key: ObjectKey, at_s: float) -> None:
        """Let a workload be due at a time, in seconds since the epoch, unless it is before."""
        self.later[key] = min(at_s, self.later.get(key, inf))

    def due(self) -> float:
        """Return when a workload is due by itself, in seconds since the epoch; inf for never."""
        return min(self.later.values(), default=inf)

    def take_due(self) -> None:
        """Note the workloads that are due by now."""
        if self.later:
            now = seconds(self.now())
            found = [key for key, at in self.later.items() if at <= now]
            self.workloads_due.update(found)
            for key in found:
                del self.later[key]

    def tell(self, told: Told) -> None:
        """Store an event, if anybody follows."""
        if self.registry.documents.followed:
            self._events.tell(told, self.now())

    def _note_document(self, key: ObjectKey, document: Json) -> None:
        kind, _, name = key
        if kind in CONTROLLERS:
            self.workloads_due.add(key)
            for each in document.get("metadata", {}).get("ownerReferences") or ():
                self.workloads_due.add((each["kind"], key[1], each["name"]))
        elif kind == "Namespace":
            self.namespaces_due.add(name)
        elif kind in _FILLED:
            self.namespaces_due.add(key[1])

    def store_event(self, key: ObjectKey, document: Json, *, dry_run: bool) -> Json:
        """Store an event of others, of which the last ones are kept."""
        found = self.store_document(key, document, dry_run=dry_run)
        if not dry_run:
            self._events.created(key)
        return found

    def _note(self, obj: KubernetesObject) -> None:
        meta = obj.metadata
        match obj:
            case Pod():
                self.services_due.update(self.registry.selecting(obj))
                if owner := owner_of(obj):
                    self.workloads_due.update((owner, workload_of(obj) or owner))
                # One that has ended makes room for one that waits.
                frees = members.is_terminal(obj) and self.registry.has_unscheduled
                self.scheduling_due |= not obj.status.pod_ips or frees
            case Service():
                self.services_due.add((meta.namespace, meta.name))
                self.balancers_due.add((meta.namespace, meta.name))
            case Endpoints():
                self.services_due.add((meta.namespace, meta.name))
            case EndpointSlice():
                if of := service_of(obj):
                    self.services_due.add(of)
            case Deployment():
                self.workloads_due.add(object_key(obj))
            case Node():
                self.scheduling_due = True
                self.taints_due.add(meta.name)
                self.workloads_due.update(self.registry.documents.keys("DaemonSet"))
                self.services_due.update(
                    (each.metadata.namespace, each.metadata.name)
                    for each in self.registry.all(Service)
                )
