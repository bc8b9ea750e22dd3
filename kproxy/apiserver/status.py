"""Refusals as the API server words them, and the Status object that tells them to a client.

Source: apimachinery, pkg/api/errors
"""

from __future__ import annotations

from msgspec.json import encode

from kproxy.apiserver.request import Answer
from kproxy.controlplane.plane import Cause, Json, Refused


class Expired(Refused):
    """A version or continue token that is too old; `fresh` is a token to go on with, or ""."""

    def __init__(self, message: str, *, fresh: str = "") -> None:
        super().__init__(message, status=410, reason="Expired")
        self.fresh = fresh


def status_of(refused: Refused) -> Json:
    """Return the Status that says why a request has failed."""
    details: Json = {}
    if refused.name:
        details["name"] = refused.name
    if refused.group:
        details["group"] = refused.group
    if refused.kind:
        details["kind"] = refused.kind
    if refused.causes:
        details["causes"] = [
            {key: value for key, value in each._asdict().items() if value}
            for each in refused.causes
        ]
    if refused.reason == "Timeout":
        details["retryAfterSeconds"] = 1
    fresh = refused.fresh if isinstance(refused, Expired) else ""
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {"continue": fresh} if fresh else {},
        "status": "Failure",
        "message": str(refused),
        "reason": refused.reason,
        # kubectl debug reads the details of what is not found, whether there are any or not.
        **({"details": details} if details or refused.reason == "NotFound" else {}),
        "code": refused.status,
    }


def refusal(refused: Refused) -> Answer:
    """Return the answer that refuses a request."""
    return Answer(refused.status, encode(status_of(refused)))


def success(key_kind: str, group: str, name: str, uid: str) -> Json:
    """Return the Status of a deleted object that is gone."""
    details = {"name": name, "group": group, "kind": key_kind, "uid": uid}
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": {key: value for key, value in details.items() if value},
    }


def bad_request(message: str) -> Refused:
    return Refused(message, status=400, reason="BadRequest")


def not_found(group: str, resource: str, name: str) -> Refused:
    """Say that there is no object of this name."""
    full = f"{resource}.{group}" if group else resource
    return Refused(
        f'{full} "{name}" not found',
        status=404,
        reason="NotFound",
        group=group,
        kind=resource,
        name=name,
    )


def no_resource(what: str = "") -> Refused:
    """Say that there is no such resource; `what` names it, if a person may have expected one."""
    message = "the server could not find the requested resource"
    if what:
        message += f": this cluster serves no {what}"
    return Refused(message, status=404, reason="NotFound")


def not_allowed() -> Refused:
    message = "the server does not allow this method on the requested resource"
    return Refused(message, status=405, reason="MethodNotAllowed")


def conflict(group: str, resource: str, name: str, why: str) -> Refused:
    """Say that an object cannot be written now; `why` is the rest of the sentence."""
    full = f"{resource}.{group}" if group else resource
    return Refused(
        f'Operation cannot be fulfilled on {full} "{name}": {why}',
        status=409,
        reason="Conflict",
        group=group,
        kind=resource,
        name=name,
    )


def invalid_options(field: str, message: str, reason: str = "FieldValueForbidden") -> Refused:
    """Refuse parameters of a list or watch."""
    word = "Forbidden" if reason == "FieldValueForbidden" else "Invalid value"
    return Refused(
        f'ListOptions.meta.k8s.io "" is invalid: {field}: {word}: {message}',
        status=422,
        reason="Invalid",
        group="meta.k8s.io",
        kind="ListOptions",
        causes=(Cause(reason, field, f"{word}: {message}"),),
    )


def too_large_version(asked: int, current: int) -> Refused:
    """Say that a version is of the future."""
    return Refused(
        f"Timeout: Too large resource version: {asked}, current: {current}",
        status=504,
        reason="Timeout",
        causes=(Cause("ResourceVersionTooLarge", "", "Too large resource version"),),
    )


def too_old(asked: int, oldest: int) -> Expired:
    return Expired(f"too old resource version: {asked} ({oldest})")


UNAUTHORIZED = Refused("Unauthorized", status=401, reason="Unauthorized")
