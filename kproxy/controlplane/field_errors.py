"""Refusals of an object in the words of the Kubernetes API server.

Source: apimachinery, pkg/util/validation/field/errors.go and pkg/api/errors
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec.json import encode

from kproxy.api.go import quoted
from kproxy.api.types import KubernetesObject
from kproxy.errors import BadInput
from kproxy.store import ObjectKey

FieldValue = str | int | bool | Sequence[object] | dict[str, object] | None

_GROUPS = {
    "Deployment": "apps",
    "EndpointSlice": "discovery.k8s.io",
    "Ingress": "networking.k8s.io",
    "IPAddress": "networking.k8s.io",
    "ServiceCIDR": "networking.k8s.io",
}
_RESOURCES = {  # as the API server names them where it cannot find one
    "Deployment": "deployments.apps",
    "Endpoints": "endpoints",
    "EndpointSlice": "endpointslices.discovery.k8s.io",
    "IPAddress": "ipaddresses.networking.k8s.io",
    "Ingress": "ingresses.networking.k8s.io",
    "Node": "nodes",
    "Pod": "pods",
    "Service": "services",
    "ServiceCIDR": "servicecidrs.networking.k8s.io",
}


def invalid(field: str, value: FieldValue, detail: str) -> str:
    """Return the text for an invalid value: text quoted as in Go, lists and objects as JSON."""
    return f"{field}: Invalid value: {_shown(value)}: {detail}"


def forbidden(field: str, detail: str) -> str:
    return f"{field}: Forbidden: {detail}"


def required(field: str, detail: str = "") -> str:
    return f"{field}: Required value: {detail}" if detail else f"{field}: Required value"


def duplicate(field: str, value: FieldValue) -> str:
    return f"{field}: Duplicate value: {_shown(value)}"


def not_among(field: str, value: FieldValue) -> str:
    """Return the text for a name of something that the object itself does not have."""
    return f"{field}: Not found: {_shown(value)}"


def unsupported(field: str, value: FieldValue, supported: Iterable[str]) -> str:
    told = ", ".join(f'"{each}"' for each in supported)
    return f"{field}: Unsupported value: {_shown(value)}: supported values: {told}"


def too_many(field: str, found: int, most: int) -> str:
    return f"{field}: Too many: {found}: must have at most {most} items"


def too_long(field: str, most_bytes: int) -> str:
    return f"{field}: Too long: may not be more than {most_bytes} bytes"


def not_found(key: ObjectKey) -> str:
    """Return the text for an object that does not exist."""
    kind, namespace, name = key
    where = f" in namespace {namespace!r}" if namespace not in ("", "default") else ""
    return f'{_RESOURCES.get(kind, kind)} "{name}" not found{where}'


class InvalidObject(BadInput):
    """The refusal of one object; `faults` are its problems one by one."""

    def __init__(self, message: str, faults: list[str]) -> None:
        super().__init__([message])
        self.faults = faults


def refusal(obj: KubernetesObject, problems: Iterable[str]) -> InvalidObject:
    """Return the refusal of an object with all its problems, each told once."""
    kind = type(obj).__name__
    return invalid_object(kind, _GROUPS.get(kind, ""), obj.metadata.name, problems)


def invalid_object(kind: str, group: str, name: str, problems: Iterable[str]) -> InvalidObject:
    """Return the refusal of an object of any kind with all its problems, each told once."""
    found = list(dict.fromkeys(problems))
    told = found[0] if len(found) == 1 else f"[{', '.join(found)}]"
    what = f"{kind}.{group}" if group else kind
    return InvalidObject(f"{what} {quoted(name)} is invalid: {told}", found)


def exhausted(what: str, reason: BadInput) -> BadInput:
    """Return the text for a full range or refused health check port: an internal error there."""
    return BadInput([f"Internal error occurred: {what}: {reason}"])


def _shown(value: FieldValue) -> str:
    match value:
        case None:
            return '"null"'  # so it is: the server quotes its word for no value
        case str():
            return quoted(value)
        case bool() | int():
            return str(value).lower()
    text = encode(value).decode()
    # As Go's encoding of JSON, which is safe to put into a page.
    return text.replace("<", r"\u003c").replace(">", r"\u003e").replace("&", r"\u0026")
