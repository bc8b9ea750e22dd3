"""The objects of a cluster, with indexes, and the changes since the caller last took them.

Beside each typed object it has its document (`documents`); kinds without a type have this alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from kproxy.api.types import (
    Endpoints,
    EndpointSlice,
    KubernetesObject,
    Node,
    Pod,
    Service,
)
from kproxy.controlplane import members
from kproxy.controlplane.api_kinds import kind_of
from kproxy.controlplane.plane import Json
from kproxy.controlplane.pod_documents import completed, with_times
from kproxy.controlplane.stored_documents import Documents
from kproxy.store import ObjectKey, ServiceKey, Update, object_key, service_of

DEPLOYMENT = "Deployment"
HASH_LABEL = "pod-template-hash"
CONTROLLERS = ("ReplicaSet", "StatefulSet", "DaemonSet")  # kinds that own Pods
_T = TypeVar("_T", bound=KubernetesObject)
_Label = tuple[str, str, str]  # namespace, key, value


class Registry:
    """Objects by key. A write that leaves an object as it was is no change."""

    def __init__(self, now: Callable[[], str]) -> None:
        self.documents = Documents(now, self._completed)
        self._objects: dict[str, dict[ObjectKey, KubernetesObject]] = {}
        self._told: dict[ObjectKey, KubernetesObject | None] = {}  # before the first pending write
        self._slices: dict[ServiceKey, dict[ObjectKey, EndpointSlice]] = {}
        self._owned: dict[ObjectKey, dict[ObjectKey, Pod]] = {}
        self._labelled: dict[_Label, dict[ObjectKey, Pod]] = {}
        self._selecting: dict[_Label, dict[ServiceKey, Service]] = {}
        self._without_ip: dict[ObjectKey, Pod] = {}
        self._ready_since: dict[ObjectKey, str] = {}
        self._unscheduled: dict[ObjectKey, str] = {}  # why Pods have no Node

    @property
    def revision(self) -> int:
        """How many writes have altered something."""
        return self.documents.revision

    def put(self, obj: KubernetesObject, document: Json | None = None) -> bool:
        """Store an object, with its document if that is new; return whether it changed anything."""
        key = object_key(obj)
        former = self.get(key)
        if former == obj:
            if document is None:
                return False
            obj = former
        else:
            self._told.setdefault(key, former)
            if former is not None:
                self._unlink(key, former, obj)
            self._objects.setdefault(key[0], {})[key] = obj
            self._link(key, obj)
        self.documents.wrote(key, obj, document)
        return True

    def put_document(self, document: Json) -> ObjectKey:
        """Store an object of a kind that has no type; return its key."""
        key = document_key(document)
        self.documents.wrote(key, None, document)
        return key

    def remove(self, key: ObjectKey) -> KubernetesObject | None:
        """Remove and return a typed object; None if there was none of this key."""
        former = self._objects.get(key[0], {}).pop(key, None)
        if former is not None:
            self._told.setdefault(key, former)
            self._unlink(key, former)
            self.documents.removed(key)
        return former

    def take_changes(self) -> Update:
        """Return the changes since the last call, with objects as they are now."""
        upserts, deletes = [], []
        for key, told in self._told.items():
            now = self.get(key)
            if now is None and told is not None:
                deletes.append(key)
            elif now is not None and now != told:
                upserts.append(now)
        self._told.clear()
        return Update(upserts=tuple(upserts), deletes=tuple(deletes))

    def set_unscheduled(self, key: ObjectKey, why: str) -> bool:
        """Note why a Pod has no Node, for its document; return whether that is new."""
        if self._unscheduled.get(key) == why or not (pod := self.pod(key)):
            return False
        self._unscheduled[key] = why
        self.documents.wrote(key, pod)
        return True

    @property
    def has_unscheduled(self) -> bool:
        """True if a Pod waits for a Node that takes it."""
        return bool(self._unscheduled)

    # --- finding ---------------------------------------------------------------------------------

    def get(self, key: ObjectKey) -> KubernetesObject | None:
        return self._objects.get(key[0], {}).get(key)

    def all(self, kind: type[_T]) -> list[_T]:
        """Return all objects of a kind in the order in which they were first written."""
        found = self._objects.get(kind.__name__, {}).values()
        return [each for each in found if isinstance(each, kind)]

    def service(self, key: ServiceKey) -> Service | None:
        found = self.get(("Service", *key))
        return found if isinstance(found, Service) else None

    def endpoints(self, key: ServiceKey) -> Endpoints | None:
        found = self.get(("Endpoints", *key))
        return found if isinstance(found, Endpoints) else None

    def slices(self, key: ServiceKey) -> list[EndpointSlice]:
        """Return the slices of a Service by name."""
        found = self._slices.get(key, {})
        return [found[each] for each in sorted(found)]

    def pod(self, key: ObjectKey) -> Pod | None:
        found = self.get(key)
        return found if isinstance(found, Pod) else None

    def node(self, name: str) -> Node | None:
        found = self.get(("Node", "", name))
        return found if isinstance(found, Node) else None

    def owned(self, controller: ObjectKey) -> list[Pod]:
        """Return the Pods that a controller owns, the oldest first."""
        return list(self._owned.get(controller, {}).values())

    def labelled(self, namespace: str, labels: Json) -> list[Pod]:
        """Return the Pods of a namespace that have all of these labels, at least one."""
        found = (self._labelled.get((namespace, *label), {}) for label in labels.items())
        fewest: dict[ObjectKey, Pod] = min(found, key=len, default={})
        return [each for each in fewest.values() if labels.items() <= each.metadata.labels.items()]

    def candidates(self, service: Service) -> list[Pod]:
        """Return all Pods that the Service selects, and maybe more, by name."""
        namespace = service.metadata.namespace
        found = (
            self._labelled.get((namespace, *label), {}) for label in service.spec.selector.items()
        )
        fewest: dict[ObjectKey, Pod] = min(found, key=len, default={})
        return [fewest[key] for key in sorted(fewest)]

    def selecting(self, pod: Pod) -> Iterator[ServiceKey]:
        """Yield the Services that select the Pod, and maybe more."""
        for label in pod.metadata.labels.items():
            yield from self._selecting.get((pod.metadata.namespace, *label), ())

    def without_ip(self) -> list[Pod]:
        """Return the Pods that have no address yet, the oldest first."""
        return list(self._without_ip.values())

    def ready_since(self, key: ObjectKey) -> str:
        """Return when a Pod became ready; "" if it is not."""
        return self._ready_since.get(key, "")

    # --- bookkeeping -----------------------------------------------------------------------------

    def _completed(self, key: ObjectKey, document: Json, former: Json) -> Json:
        """Complete a document with what follows from others."""
        if key[0] == "ServiceCIDR":
            return with_times(document, former, self.documents.now)
        if key[0] != "Pod":
            return document
        node = self.node(document["spec"].get("nodeName", ""))
        why = self._unscheduled.get(key, "")
        return completed(document, former, node, self.documents.now, why)

    def _link(self, key: ObjectKey, obj: KubernetesObject) -> None:
        match obj:
            case EndpointSlice():
                if of := service_of(obj):
                    self._slices.setdefault(of, {})[key] = obj
            case Pod():
                for label in _labels(obj):
                    self._labelled.setdefault(label, {})[key] = obj
                if owner := owner_of(obj):
                    self._owned.setdefault(owner, {})[key] = obj
                if not obj.status.pod_ips:
                    self._without_ip[key] = obj
                if not members.is_ready(obj):
                    self._ready_since.pop(key, None)
                elif key not in self._ready_since:
                    self._ready_since[key] = self.documents.now()
            case Service():
                for label in _first_selector(obj):
                    self._selecting.setdefault(label, {})[key[1], key[2]] = obj

    def _unlink(
        self, key: ObjectKey, former: KubernetesObject, then: KubernetesObject | None = None
    ) -> None:
        """Remove index entries, except those that `then` writes again: these keep their order."""
        match former:
            case EndpointSlice():
                if of := service_of(former):
                    _drop(self._slices, of, key)
            case Pod():
                after = then if isinstance(then, Pod) else None
                kept = set(_labels(after)) if after else ()
                for label in _labels(former):
                    if label not in kept:
                        _drop(self._labelled, label, key)
                owner = owner_of(former)
                if owner and not (after and owner_of(after) == owner):
                    _drop(self._owned, owner, key)
                if after is None:
                    self._ready_since.pop(key, None)
                if after is None or after.status.pod_ips:
                    self._without_ip.pop(key, None)
                if after is None or after.spec.node_name:
                    self._unscheduled.pop(key, None)
            case Service():
                for label in _first_selector(former):
                    _drop(self._selecting, label, (key[1], key[2]))


def owner_of(pod: Pod) -> ObjectKey | None:
    """Return the controller that the Pod belongs to."""
    for each in pod.metadata.owner_references:
        if each.kind in CONTROLLERS or each.kind == DEPLOYMENT:
            return (each.kind, pod.metadata.namespace, each.name)
    return None


def workload_of(pod: Pod) -> ObjectKey | None:
    """Return what a user wrote that the Pod belongs to: the Deployment of its ReplicaSet, if so."""
    owner = owner_of(pod)
    ending = f"-{pod.metadata.labels.get(HASH_LABEL, '')}"
    if owner and owner[0] == "ReplicaSet" and ending != "-" and owner[2].endswith(ending):
        return (DEPLOYMENT, owner[1], owner[2].removesuffix(ending))
    return owner


def document_key(document: Json) -> ObjectKey:
    """Return the key of a document, which is in the namespace `default` if it names none."""
    kind, metadata = document["kind"], document.get("metadata") or {}
    namespaced = kind_of(kind).namespaced
    namespace = (metadata.get("namespace") or "default") if namespaced else ""
    return (kind, namespace, metadata.get("name") or "")


def _labels(pod: Pod) -> Iterable[_Label]:
    return [(pod.metadata.namespace, *each) for each in pod.metadata.labels.items()]


def _first_selector(service: Service) -> list[_Label]:
    """Return one label that all Pods of the Service have; none without a selector."""
    return [(service.metadata.namespace, *each) for each in sorted(service.spec.selector.items())][
        :1
    ]


_K = TypeVar("_K")
_L = TypeVar("_L")
_V = TypeVar("_V")


def _drop(index: dict[_K, dict[_L, _V]], at: _K, key: _L) -> None:
    found = index.get(at, {})
    found.pop(key, None)
    if not found:
        index.pop(at, None)
