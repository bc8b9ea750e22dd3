"""The kinds that have a type: how an object of them is decoded, and what checks it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from typing import Any

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace

from kproxy.api.documents import plain
from kproxy.api.endpoint_rules import check_endpoint_slice, check_endpoints
from kproxy.api.problems import Problem, Report
from kproxy.api.service_rules import check_service
from kproxy.api.types import (
    Deployment,
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
from kproxy.typed import converted, decoder


class Kind(Struct, frozen=True, cache_hash=True):
    """A kind: the version of its objects, their type, and what checks and completes them."""

    api_version: str
    type: type[Any]
    check: Callable[[Any, Report], KubernetesObject]


@cache  # made when JSON of the kind is read: making all of them takes some milliseconds
def _decoder(kind: Kind) -> msgspec.json.Decoder[Any]:
    return decoder(kind.type)


def _late(module: str, name: str) -> Callable[[Any, Report], KubernetesObject]:
    """Return a check that is imported with the first object of a kind: many manifests have none."""

    def check(obj: Any, report: Report) -> KubernetesObject:
        found: KubernetesObject = getattr(import_module(f"kproxy.api.{module}"), name)(obj, report)
        return found

    return check


TYPED = {
    "Service": Kind("v1", Service, check_service),
    "EndpointSlice": Kind("discovery.k8s.io/v1", EndpointSlice, check_endpoint_slice),
    "Endpoints": Kind("v1", Endpoints, check_endpoints),
    "ServiceCIDR": Kind(
        "networking.k8s.io/v1", ServiceCIDR, _late("service_cidr_rules", "check_service_cidr")
    ),
    "IPAddress": Kind(
        "networking.k8s.io/v1", IPAddress, _late("service_cidr_rules", "check_ip_address")
    ),
    "Ingress": Kind("networking.k8s.io/v1", Ingress, _late("ingress_rules", "check_ingress")),
    "Node": Kind("v1", Node, _late("node_rules", "check_node")),
    "Pod": Kind("v1", Pod, _late("pod_rules", "check_pod")),
    "Deployment": Kind("apps/v1", Deployment, _late("deployment_rules", "check_deployment")),
}
KINDS = frozenset(TYPED)
TYPES: Mapping[str, type[KubernetesObject]] = {name: each.type for name, each in TYPED.items()}
"""The types of the kinds that are decoded, by kind."""


def as_read(obj: KubernetesObject) -> KubernetesObject:
    """Return a stored object, such as a control plane has admitted, as kube-proxy reads it."""
    return TYPED[type(obj).__name__].check(obj, Report())


def api_version(kind: str) -> str:
    """Return the version that objects of this kind have. Raises KeyError for an unknown kind."""
    return TYPED[kind].api_version


def stored(
    kind: str, data: Raw | Service | EndpointSlice
) -> tuple[KubernetesObject, list[Problem]]:
    """Return an object of an API server as kube-proxy reads it, and what makes it unusable.

    It is of `kproxy.api.watched_types`, if its kind is there; `data` may be of them already.
    The object is whole only if there are no problems. Raises KeyError for an unknown kind.
    """
    found = _watched()[kind]
    obj: Any = data
    malformed: list[Problem] = []
    if isinstance(data, Raw):
        try:
            obj, malformed = decoded(data, found)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:  # not UTF-8, which JSON must be
            return found.type(), [Problem("", str(error))]
    report = Report(malformed)
    return found.check(obj, report), report.problems


@cache
def _watched() -> dict[str, Kind]:
    """Return the kinds as an API server sends them to a service proxy."""
    from kproxy.api import watched_types  # which manifests are not read as

    def watched(kind: Kind, type_: type[KubernetesObject]) -> Kind:
        def check(obj: Any, report: Report) -> KubernetesObject:
            found = kind.check(obj, report)
            watched_types.forget_version(found)
            return found

        return replace(kind, type=type_, check=check)

    types = watched_types.TYPES.items()
    node = replace(TYPED["Node"], check=_late("node_rules", "check_served_node"))
    return TYPED | {name: watched(TYPED[name], type_) for name, type_ in types} | {"Node": node}


def decoded(value: dict[str, Any] | Raw, kind: Kind) -> tuple[Any, list[Problem]]:
    """Return an object of a kind, and what is malformed; stand-ins are in its place.

    Raises msgspec.DecodeError for what is no JSON.
    """
    try:
        if isinstance(value, Raw):
            return _decoder(kind).decode(value), []
        return converted(value, kind.type), []
    except msgspec.ValidationError:
        from kproxy.api.structure import build  # for what is wrong only

        return build(plain(value), kind.type)
