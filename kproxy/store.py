"""The objects as last seen, and which services changed since the caller last asked.

Sources write into a store (`upsert`, `delete`, `replace`, or an `Update`: several writes as one
value), the control loop takes the changes. A write that leaves an object as it was is no change.
Not thread-safe: one loop owns it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice

from msgspec import Struct

from kproxy.api.mirror import mirror
from kproxy.api.types import SERVICE_NAME_LABEL as SERVICE_NAME_LABEL
from kproxy.api.types import (
    Endpoints,
    EndpointSlice,
    Ingress,
    IPAddress,
    KubernetesObject,
    Node,
    Pod,
    Service,
    ServiceCIDR,
)

ServiceKey = tuple[str, str]  # namespace, name
ObjectKey = tuple[str, str, str]  # kind, namespace ("" if it has none), name

_CLUSTERWIDE = (Node, ServiceCIDR, IPAddress)


class Changes(Struct, frozen=True):
    """The keys of services and names of nodes that changed since the last `Store.take_changes`.

    `service_cidrs` is True if any ServiceCIDR changed.
    """

    services: frozenset[ServiceKey] = frozenset()
    nodes: frozenset[str] = frozenset()
    service_cidrs: bool = False

    def __bool__(self) -> bool:
        return bool(self.services or self.nodes or self.service_cidrs)


class Update(Struct, frozen=True, kw_only=True):
    """Several writes: objects as they are from now on, and the keys of deleted ones.

    A key that is both deleted and upserted exists afterwards. Falsy if there is nothing to do.
    """

    upserts: tuple[KubernetesObject, ...] = ()
    deletes: tuple[ObjectKey, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.upserts or self.deletes)


def object_key(obj: KubernetesObject) -> ObjectKey:
    namespace = "" if isinstance(obj, _CLUSTERWIDE) else obj.metadata.namespace
    return (type(obj).__name__, namespace, obj.metadata.name)


class Store:
    """Objects by key, with slices also by the Service they belong to."""

    def __init__(self) -> None:
        self._objects: dict[ObjectKey, KubernetesObject] = {}
        self._slices: dict[ServiceKey, tuple[EndpointSlice, ...]] = {}  # by name; nearly all: one
        self._services_changed: set[ServiceKey] = set()
        self._nodes_changed: set[str] = set()
        self._service_cidrs_changed = False
        self._tell: Callable[[KubernetesObject, bool], object] = lambda _obj, _deleted: None

    def watch(self, tell: Callable[[KubernetesObject, bool], object]) -> None:
        """Call `tell` with each object there is, and from now on with each that is changed.

        Its second argument is True for one that is deleted, as it was before. It must not raise,
        and replaces the former one.
        """
        self._tell = tell
        for obj in self._objects.values():
            tell(obj, False)

    def upsert(self, obj: KubernetesObject) -> None:
        key = object_key(obj)
        former = self._objects.get(key)
        if former == obj:
            return
        if former is not None:
            self._forget(former)
        self._objects[key] = obj
        if isinstance(obj, EndpointSlice) and (service := service_of(obj)):
            slices = (*self._slices.get(service, ()), obj)
            if len(slices) > 1:
                slices = tuple(sorted(slices, key=lambda each: each.metadata.name))
            self._slices[service] = slices
        self._note(obj)
        self._tell(obj, False)

    def delete(self, key: ObjectKey) -> None:
        """Forget an object. A key that is not stored is no change."""
        former = self._objects.pop(key, None)
        if former is not None:
            self._forget(former)
            self._tell(former, True)

    def apply(self, update: Update) -> None:
        """Delete what the update deletes, then upsert the rest of it."""
        for key in update.deletes:
            self.delete(key)
        for obj in update.upserts:
            self.upsert(obj)

    def replace(self, objects: Iterable[KubernetesObject]) -> None:
        """Make `objects` the whole contents: objects missing from it are deleted."""
        self.apply(self.replacement(objects))

    def replacement(self, objects: Iterable[KubernetesObject]) -> Update:
        """Return the update that makes `objects` the whole contents. Nothing is changed here."""
        fresh = {object_key(obj): obj for obj in objects}
        return Update(
            upserts=tuple(fresh.values()),
            deletes=tuple(key for key in self._objects if key not in fresh),
        )

    def take_changes(self, most: int | None = None) -> Changes:
        """Return the changes since the last call, and forget them.

        With `most`, these are at most so many Services, in no order; the rest is for the next call.
        """
        changed = frozenset(islice(self._services_changed, most))
        changes = Changes(changed, frozenset(self._nodes_changed), self._service_cidrs_changed)
        if len(changed) < len(self._services_changed):
            self._services_changed -= changed
        else:  # a set that was large once stays so until it is cleared, and slow to look through
            self._services_changed.clear()
        self._nodes_changed.clear()
        self._service_cidrs_changed = False
        return changes

    @property
    def has_changes(self) -> bool:
        return bool(self._services_changed or self._nodes_changed or self._service_cidrs_changed)

    def service(self, key: ServiceKey) -> Service | None:
        found = self._objects.get(("Service", *key))
        return found if isinstance(found, Service) else None

    def slices(self, key: ServiceKey) -> list[EndpointSlice]:
        """Return a Service's slices by name; without any, its Endpoints object read as slices."""
        slices = self._slices.get(key)
        if slices:
            return [*slices]
        endpoints = self._objects.get(("Endpoints", *key))
        return mirror(endpoints) if isinstance(endpoints, Endpoints) else []

    def node(self, name: str) -> Node | None:
        found = self._objects.get(("Node", "", name))
        return found if isinstance(found, Node) else None

    def nodes(self) -> list[Node]:
        """Return all Nodes by name."""
        found = [obj for obj in self._objects.values() if isinstance(obj, Node)]
        return sorted(found, key=lambda node: node.metadata.name)

    def service_cidrs(self) -> frozenset[str]:
        """Return the CIDRs of all ServiceCIDR objects, of both families."""
        return frozenset(
            cidr
            for obj in self._objects.values()
            if isinstance(obj, ServiceCIDR)
            for cidr in obj.spec.cidrs
        )

    def services(self) -> list[ServiceKey]:
        """Return the keys of all Services."""
        return [key[1:] for key in self._objects if key[0] == "Service"]

    def ingresses(self) -> list[Ingress]:
        """Return all Ingresses by namespace and name. Writes to them count as no change."""
        found = [obj for obj in self._objects.values() if isinstance(obj, Ingress)]
        return sorted(found, key=lambda obj: (obj.metadata.namespace, obj.metadata.name))

    def pods(self) -> list[Pod]:
        return [obj for obj in self._objects.values() if isinstance(obj, Pod)]

    def _forget(self, obj: KubernetesObject) -> None:
        if isinstance(obj, EndpointSlice) and (service := service_of(obj)):
            name = obj.metadata.name
            slices = tuple(each for each in self._slices[service] if each.metadata.name != name)
            if slices:
                self._slices[service] = slices
            else:
                del self._slices[service]
        self._note(obj)

    def _note(self, obj: KubernetesObject) -> None:
        match obj:
            case Service() | Endpoints():
                self._services_changed.add((obj.metadata.namespace, obj.metadata.name))
            case EndpointSlice():
                if service := service_of(obj):
                    self._services_changed.add(service)
            case Node():
                self._nodes_changed.add(obj.metadata.name)
            case ServiceCIDR():
                self._service_cidrs_changed = True


def service_of(endpoint_slice: EndpointSlice) -> ServiceKey | None:
    """Return the Service that a slice belongs to by its label; None if it has no such label."""
    name = endpoint_slice.metadata.labels.get(SERVICE_NAME_LABEL)
    return (endpoint_slice.metadata.namespace, name) if name else None
