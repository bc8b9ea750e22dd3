"""The objects of a cluster, with indexes, and the changes since the caller last took them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

from kproxy.api.types import (
    Endpoints,
    EndpointSlice,
    KubernetesObject,
    Node,
    Pod,
    Service,
)
from kproxy.store import ObjectKey, ServiceKey, Update, object_key, service_of

DEPLOYMENT = "Deployment"
_T = TypeVar("_T", bound=KubernetesObject)
_Label = tuple[str, str, str]  # namespace, key, value


class Registry:
    """Objects by key. A write that leaves an object as it was is no change."""

    def __init__(self) -> None:
        self.revision = 0  # counts the writes that altered something
        self._objects: dict[str, dict[ObjectKey, KubernetesObject]] = {}
        self._told: dict[ObjectKey, KubernetesObject | None] = {}  # before the first pending write
        self._slices: dict[ServiceKey, dict[ObjectKey, EndpointSlice]] = {}
        self._owned: dict[ObjectKey, dict[ObjectKey, Pod]] = {}
        self._labelled: dict[_Label, dict[ObjectKey, Pod]] = {}
        self._selecting: dict[_Label, dict[ServiceKey, Service]] = {}
        self._without_ip: dict[ObjectKey, Pod] = {}

    def put(self, obj: KubernetesObject) -> bool:
        """Store an object; return whether that changed anything."""
        key = object_key(obj)
        former = self.get(key)
        if former == obj:
            return False
        self._note(key, former)
        if former is not None:
            self._unlink(key, former, obj)
        self._objects.setdefault(key[0], {})[key] = obj
        self._link(key, obj)
        return True

    def remove(self, key: ObjectKey) -> KubernetesObject | None:
        """Remove and return an object; None if it was not stored."""
        former = self._objects.get(key[0], {}).pop(key, None)
        if former is not None:
            self._note(key, former)
            self._unlink(key, former)
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

    def owned(self, deployment: ObjectKey) -> list[Pod]:
        """Return the Pods that a Deployment owns, the oldest first."""
        return list(self._owned.get(deployment, {}).values())

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

    # --- bookkeeping -----------------------------------------------------------------------------

    def _note(self, key: ObjectKey, former: KubernetesObject | None) -> None:
        self._told.setdefault(key, former)
        self.revision += 1

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
                if after is None or after.status.pod_ips:
                    self._without_ip.pop(key, None)
            case Service():
                for label in _first_selector(former):
                    _drop(self._selecting, label, (key[1], key[2]))


def owner_of(pod: Pod) -> ObjectKey | None:
    """Return the Deployment that the Pod belongs to."""
    for each in pod.metadata.owner_references:
        if each.kind == DEPLOYMENT:
            return (DEPLOYMENT, pod.metadata.namespace, each.name)
    return None


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
