"""Refusals as the API server answers them: a status, a reason, and a cause for each field.

Source: apimachinery pkg/api/errors/errors.go of Kubernetes
"""

from __future__ import annotations

import re

from kproxy.api.go import quoted
from kproxy.controlplane.api_kinds import kind_of
from kproxy.controlplane.field_errors import InvalidObject
from kproxy.controlplane.plane import Cause, Refused
from kproxy.errors import BadInput
from kproxy.store import ObjectKey

_CAUSES = {
    "Invalid value": "FieldValueInvalid",
    "Required value": "FieldValueRequired",
    "Forbidden": "FieldValueForbidden",
    "Duplicate value": "FieldValueDuplicate",
    "Unsupported value": "FieldValueNotSupported",
    "Too long": "FieldValueTooLong",
    "Too many": "FieldValueTooMany",
    "Not found": "FieldValueNotFound",
}
_FAULT = re.compile(rf"(?P<field>.*?): (?P<message>(?P<word>{'|'.join(_CAUSES)})\b.*)", re.DOTALL)
_MODIFIED = (
    "the object has been modified; please apply your changes to the latest version and try again"
)


def refused(error: BadInput, key: ObjectKey) -> Refused:
    """Return a refusal of the control plane's as the API server answers it."""
    kind, _, name = key
    group = kind_of(kind).group
    message = "\n".join(error.problems)
    if isinstance(error, InvalidObject):
        causes = tuple(map(_cause, error.faults))
        return Refused(
            message,
            status=422,
            reason="Invalid",
            kind=kind,
            group=group,
            name=name,
            causes=causes,
        )
    if message.startswith("Internal error occurred"):
        return Refused(message, status=500, reason="InternalError")
    return Refused(message, status=400, reason="BadRequest")


def bad_request(message: str) -> Refused:
    return Refused(message, status=400, reason="BadRequest")


def not_found(key: ObjectKey) -> Refused:
    return _of(key, 404, "NotFound", f"{_named(key)} not found")


def already_exists(key: ObjectKey) -> Refused:
    return _of(key, 409, "AlreadyExists", f"{_named(key)} already exists")


def conflict(key: ObjectKey, why: str = _MODIFIED) -> Refused:
    message = f"Operation cannot be fulfilled on {_named(key)}: {why}"
    return _of(key, 409, "Conflict", message)


def forbidden(key: ObjectKey, why: str, causes: tuple[Cause, ...] = ()) -> Refused:
    message = f"{_named(key)} is forbidden: {why}"
    return _of(key, 403, "Forbidden", message, causes)


def namespace_ends(key: ObjectKey) -> Refused:
    """Return the refusal of a new object in a namespace that is being deleted."""
    told = f"namespace {key[1]} is being terminated"
    cause = Cause("NamespaceTerminating", "metadata.namespace", told)
    why = f"unable to create new content in namespace {key[1]} because it is being terminated"
    return forbidden(key, why, (cause,))


def _of(
    key: ObjectKey, status: int, reason: str, message: str, causes: tuple[Cause, ...] = ()
) -> Refused:
    about = kind_of(key[0])
    return Refused(
        message,
        status=status,
        reason=reason,
        kind=about.resource,
        group=about.group,
        name=key[2],
        causes=causes,
    )


def _named(key: ObjectKey) -> str:
    return f"{kind_of(key[0]).qualified} {quoted(key[2])}"


def _cause(fault: str) -> Cause:
    found = _FAULT.fullmatch(fault)
    if not found:
        return Cause("FieldValueInvalid", "", fault)
    return Cause(_CAUSES[found["word"]], found["field"], found["message"])
