"""ServiceCIDR and IPAddress (networking.k8s.io/v1); import them from `kproxy.api.types`."""

from __future__ import annotations

from typing import Literal

from msgspec import field

from kproxy.api.base_types import Base, Metadata


class Condition(Base, frozen=True, kw_only=True):
    type: str
    status: Literal["True", "False", "Unknown"]
    reason: str = ""
    message: str = ""


class ServiceCIDRSpec(Base, frozen=True, kw_only=True):
    cidrs: tuple[str, ...] = ()


class ServiceCIDRStatus(Base, frozen=True, kw_only=True):
    conditions: tuple[Condition, ...] = ()


class ServiceCIDR(Base, frozen=True, kw_only=True):
    """A range of cluster IPs, or one of each family."""

    metadata: Metadata = Metadata()
    spec: ServiceCIDRSpec = ServiceCIDRSpec()
    status: ServiceCIDRStatus = ServiceCIDRStatus()


class ParentReference(Base, frozen=True, kw_only=True):
    group: str = ""
    resource: str = ""
    namespace: str = ""
    name: str = ""


class IPAddressSpec(Base, frozen=True, kw_only=True):
    parent_ref: ParentReference | None = field(default=None, name="parentRef")


class IPAddress(Base, frozen=True, kw_only=True):
    """An address that is taken: its name. `parent_ref` is what it belongs to."""

    metadata: Metadata = Metadata()
    spec: IPAddressSpec = IPAddressSpec()
