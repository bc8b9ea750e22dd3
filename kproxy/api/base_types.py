"""Types that several kinds of Kubernetes objects share; import them from `kproxy.api.types`."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

Protocol = Literal["TCP", "UDP", "SCTP"]
SERVICE_NAME_LABEL = "kubernetes.io/service-name"  # on a slice: the Service it belongs to
HEADLESS_LABEL = "service.kubernetes.io/headless"  # on a slice: its Service has no cluster IP
PROXY_NAME_LABEL = "service.kubernetes.io/service-proxy-name"  # on a Service: the proxy it is for
# An annotation of a slice: when what caused its last change happened.
TRIGGER_TIME = "endpoints.kubernetes.io/last-change-trigger-time"


class Base(Struct, frozen=True, kw_only=True, rename="camel", gc=False):
    """Base of all: Kubernetes' spelling in JSON, and no GC overhead (objects hold no cycles)."""


class Unread(Base, frozen=True, kw_only=True):
    """A value whose contents kproxy does not read, but whose presence it reports."""


class OwnerReference(Base, frozen=True, kw_only=True):
    api_version: str = ""
    kind: str = ""
    name: str = ""
    uid: str = ""
    controller: bool | None = None
    block_owner_deletion: bool | None = None


class Metadata(Base, frozen=True, kw_only=True):
    name: str = ""
    generate_name: str = ""
    namespace: str = "default"
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    owner_references: tuple[OwnerReference, ...] = ()
    finalizers: tuple[str, ...] = ()
    deletion_timestamp: str | None = None
    generation: int = 0


class ObjectReference(Base, frozen=True, kw_only=True):
    api_version: str = ""
    kind: str = ""
    namespace: str = ""
    name: str = ""
    uid: str = ""
    resource_version: str = ""
    field_path: str = ""
