"""Kinds of `kproxy.api.types` without the fields that no service proxy reads.

An API server sends much that is for others: a slice names a Pod for each endpoint and an owner, an
annotation repeats what `kubectl apply` was given. Such a field is never decoded here and has its
default, so that it takes no memory. Everything else is as in `kproxy.api.types`.
"""

from __future__ import annotations

from typing import Any

from msgspec import field

from kproxy.api import types
from kproxy.api.types import ObjectReference, OwnerReference


def _unread(name: str, default: Any) -> Any:
    """Return a field of this default, which no JSON sets: names there do not begin with a dash."""
    return field(default=default, name=f"-{name}")


class SliceMetadata(types.Metadata, frozen=True, kw_only=True):
    generate_name: str = _unread("generateName", "")
    owner_references: tuple[OwnerReference, ...] = _unread("ownerReferences", ())
    finalizers: tuple[str, ...] = _unread("finalizers", ())
    generation: int = _unread("generation", 0)


class ServiceMetadata(SliceMetadata, frozen=True, kw_only=True):
    annotations: dict[str, str] = _unread("annotations", types.Metadata().annotations)


class ServiceSpec(types.ServiceSpec, frozen=True, kw_only=True):
    selector: dict[str, str] = _unread("selector", types.ServiceSpec().selector)


class Service(types.Service, frozen=True, kw_only=True):
    metadata: ServiceMetadata = ServiceMetadata()
    spec: ServiceSpec = ServiceSpec()


class Endpoint(types.Endpoint, frozen=True, kw_only=True):
    hostname: str | None = _unread("hostname", None)
    target_ref: ObjectReference | None = _unread("targetRef", None)


class EndpointSlice(types.EndpointSlice, frozen=True, kw_only=True):
    metadata: SliceMetadata = SliceMetadata()
    endpoints: tuple[Endpoint, ...] = ()
