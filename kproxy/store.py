"""The objects as last seen, and which services changed since somebody last asked.

Sources write into a store (`upsert`, `delete`, `replace`), the control loop takes the changes.
A write that does not alter an object is no change. Not thread-safe: one loop owns it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec import Struct

from kproxy.api.types import EndpointSlice, Endpoints, KubernetesObject, Node, Pod, Service

ServiceKey = tuple[str, str]  # namespace, name
ObjectKey = tuple[str, str, str]  # kind, namespace, name; the namespace of a Node is ""
SERVICE_NAME_LABEL = "kubernetes.io/service-name"


class Changes(Struct, frozen=True):
    """What differs since the last `Store.take_changes`: service keys, and names of nodes."""

    services: frozenset[ServiceKey] = frozenset()
    nodes: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.services or self.nodes)


def object_key(obj: KubernetesObject) -> ObjectKey:
    namespace = "" if isinstance(obj, Node) else obj.metadata.namespace
    return (type(obj).__name__, namespace, obj.metadata.name)
