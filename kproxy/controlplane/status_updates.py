"""Writes of the subresource `status`, by load balancers, kubelets and controllers outside."""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from kproxy.api.typed_kinds import TYPES
from kproxy.api.types import Deployment, KubernetesObject, Node, Pod, Service, ServiceCIDR
from kproxy.controlplane.admission import with_ip_modes
from kproxy.controlplane.api_kinds import kind_of
from kproxy.controlplane.field_errors import refusal
from kproxy.controlplane.plane import Json
from kproxy.controlplane.refusals import bad_request
from kproxy.controlplane.service_validation import status_problems
from kproxy.typed import converted


def with_status(obj: KubernetesObject, document: Json) -> KubernetesObject:
    """Return the stored object with the status of a document.

    Raises Refused if it cannot be read, BadInput if it is invalid.
    """
    kind = document["kind"]
    try:
        wanted = converted(document, TYPES[kind])
    except msgspec.ValidationError as error:
        told = f'{kind} in version "{kind_of(kind).api_version}" cannot be handled as a {kind}'
        raise bad_request(f"{told}: {error}") from None
    match obj, wanted:
        case Service(), Service():
            status = with_ip_modes(wanted.status.load_balancer)
            if problems := [*status_problems(status, obj.status.load_balancer)]:
                raise refusal(obj, problems)
            return replace(obj, status=replace(obj.status, load_balancer=status))
        case Pod(), Pod():
            return replace(obj, status=wanted.status)
        case Node(), Node():
            return replace(obj, status=wanted.status)
        case Deployment(), Deployment():
            return replace(obj, status=wanted.status)
        case ServiceCIDR(), ServiceCIDR():
            return replace(obj, status=wanted.status)
    return obj
