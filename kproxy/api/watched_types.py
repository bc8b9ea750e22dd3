"""Kinds of `kproxy.api.types` without what no service proxy reads.

An API server sends much that is for others: a slice names a Pod for each endpoint and an owner, has
the labels of its Service, and an annotation repeats what `kubectl apply` was given. Such a field is
never decoded here and has its default, and of labels and annotations only those that a proxy reads
are kept, so that the rest takes no memory, nor is a change of it one. Everything else is as in
`kproxy.api.types`, but for the version and the UID, which a watch is kept by: they are there until
`forget_version`, so that an object need not be read twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import field
from msgspec.structs import force_setattr

from kproxy.api import types
from kproxy.api.types import (
    HEADLESS_LABEL,
    PROXY_NAME_LABEL,
    SERVICE_NAME_LABEL,
    TRIGGER_TIME,
    ObjectReference,
    OwnerReference,
)

_LABELS = (SERVICE_NAME_LABEL, HEADLESS_LABEL, PROXY_NAME_LABEL)
_ANNOTATIONS = (TRIGGER_TIME,)
# Of all objects that have none. An empty one for each would take 64 bytes, four for each Service.
_NONE: dict[str, str] = {}


def _unread(name: str, default: Any) -> Any:
    """Return a field of this default, which no JSON sets: names there do not begin with a dash."""
    return field(default=default, name=f"-{name}")


def _unread_texts(name: str) -> Any:
    """Return such a field that is a mapping."""
    return field(default_factory=lambda: _NONE, name=f"-{name}")


def _read(texts: dict[str, str], names: Iterable[str]) -> dict[str, str]:
    if not texts:
        return _NONE
    # Made anew, with our own keys: a decoded one would keep its copy of each.
    return {name: texts[name] for name in names if name in texts} or _NONE


class SliceMetadata(types.Metadata, frozen=True, kw_only=True):
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generate_name: str = _unread("generateName", "")
    owner_references: tuple[OwnerReference, ...] = _unread("ownerReferences", ())
    finalizers: tuple[str, ...] = _unread("finalizers", ())
    generation: int = _unread("generation", 0)

    def __post_init__(self) -> None:
        force_setattr(self, "labels", _read(self.labels, _LABELS))
        force_setattr(self, "annotations", _read(self.annotations, _ANNOTATIONS))


class ServiceMetadata(SliceMetadata, frozen=True, kw_only=True):
    annotations: dict[str, str] = _unread_texts("annotations")


class ServiceSpec(types.ServiceSpec, frozen=True, kw_only=True):
    selector: dict[str, str] = _unread_texts("selector")


class Service(types.Service, frozen=True, kw_only=True):
    metadata: ServiceMetadata = ServiceMetadata()
    spec: ServiceSpec = ServiceSpec()


class Endpoint(types.Endpoint, frozen=True, kw_only=True):
    hostname: str | None = _unread("hostname", None)
    target_ref: ObjectReference | None = _unread("targetRef", None)


class EndpointSlice(types.EndpointSlice, frozen=True, kw_only=True):
    metadata: SliceMetadata = SliceMetadata()
    endpoints: tuple[Endpoint, ...] = ()


Watched = Service | EndpointSlice
TYPES: Mapping[str, type[Watched]] = {"Service": Service, "EndpointSlice": EndpointSlice}
"""The types of the kinds that are here, by kind."""


def forget_version(obj: types.KubernetesObject) -> None:
    """Make an object equal to any other version of it that says the same."""
    force_setattr(obj.metadata, "uid", "")
    force_setattr(obj.metadata, "resource_version", "")
