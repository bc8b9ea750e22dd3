"""Who writes a field, and which fields a kind does not have."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from kproxy.api.go import quoted
from kproxy.apiserver.request import Request
from kproxy.apiserver.resources import Resource
from kproxy.apiserver.strict_fields import (
    cannot_be_handled,
    duplicates,
    fits,
    known,
    problems,
    refuse_wrong_types,
    strict_error,
    wrong_type,
)
from kproxy.controlplane.plane import Cause, Json, Refused

_LONGEST_MANAGER = 128
_PROPAGATIONS = ("Foreground", "Background", "Orphan")
_VALIDATIONS = ("Strict", "Warn", "Ignore")


class WriteOptions(NamedTuple):
    """The parameters that all writes share."""

    dry_run: bool
    manager: str
    validation: str = "Warn"
    force: bool = False


def write_options(request: Request) -> WriteOptions:
    """Read the options of a write from a request's query. Raises Refused (400, 422)."""
    kind = {"POST": "CreateOptions", "PUT": "UpdateOptions"}.get(request.method, "PatchOptions")
    manager = request.parameter("fieldManager")
    if len(manager.encode()) > _LONGEST_MANAGER:
        words = f"Too long: may not be more than {_LONGEST_MANAGER} bytes"
        raise _invalid(kind, "fieldManager", "FieldValueTooLong", words)
    for place, letter in enumerate(manager):
        if not letter.isprintable():
            at = len(manager[:place].encode())
            words = f"invalid character U+{ord(letter):04X} (at position {at})"
            words = f"Invalid value: {quoted(manager)}: {words}"
            raise _invalid(kind, "fieldManager", "FieldValueInvalid", words)
    validation = request.parameter("fieldValidation") or "Warn"
    if validation not in _VALIDATIONS:
        words = _unsupported(validation, ("Ignore", "Strict", "Warn"))
        raise _invalid(kind, "fieldValidation", "FieldValueNotSupported", words)
    agent = request.headers.get("user-agent", "").partition("/")[0]
    return WriteOptions(
        dry_run(request, kind), manager or agent or "unknown", validation, request.flag("force")
    )


def dry_run(request: Request, kind: str, more: Iterable[str] = ()) -> bool:
    """Tell whether nothing is to be stored, by the query or by `more`, of a body.

    Raises Refused (422) for anything but All.
    """
    asked = [value for key, value in request.query if key == "dryRun" and value] + [*more]
    for each in asked:
        if each != "All":
            raise _invalid(kind, "dryRun", "FieldValueNotSupported", _unsupported(each, ("All",)))
    return bool(asked)


def check_propagation(policy: str, orphan: bool | None) -> None:
    """Judge who is to follow a deleted object. Raises Refused (422).

    Source: apimachinery, pkg/apis/meta/v1/validation (ValidateDeleteOptions)
    """
    kind, field = "DeleteOptions", "propagationPolicy"
    if policy and orphan is not None:
        words = f"Invalid value: {quoted(policy)}: "
        words += "orphanDependents and deletionPropagation cannot be both set"
        raise _invalid(kind, field, "FieldValueInvalid", words)
    if policy and policy not in _PROPAGATIONS:
        words = _unsupported(policy, (*_PROPAGATIONS, "nil"))
        raise _invalid(kind, field, "FieldValueNotSupported", words)


def checked(
    document: Json, options: WriteOptions, resource: Resource, text: bytes = b""
) -> tuple[Json, tuple[str, ...]]:
    """Return an object without the fields that its kind does not have, and warnings for those.

    `text` is the JSON that it was read from, where fields may be twice. Raises Refused (400) for a
    value of the wrong type and, if the client is strict, for such fields.
    """
    kind = (resource.group, resource.version, resource.kind)
    unknown: list[str] = []
    if not fits(document, kind):
        refuse_wrong_types(document, kind)
        unknown = problems(document, kind)
    told = options.validation != "Ignore"
    found = [*unknown, *(duplicates(text) if told and text else ())]
    if found and options.validation == "Strict":
        raise cannot_be_handled(kind, strict_error(found))
    return known(document, kind) if unknown else document, tuple(found) if told else ()


def no_manager() -> Refused:
    words = "Required value: is required for apply patch"
    return _invalid("PatchOptions", "fieldManager", "FieldValueRequired", words)


def force_without_apply() -> Refused:
    words = "Forbidden: may not be specified for non-apply patch"
    return _invalid("PatchOptions", "force", "FieldValueForbidden", words)


def refuse_patched(
    made: Json, shown: str, options: WriteOptions, resource: Resource, twice: tuple[str, ...] = ()
) -> None:
    """Raise Refused (422) for what a patch made of an object, if no such object may be stored.

    `shown` is the patch or the object, as the message is to show it. `twice`: the words for fields
    that the patch has twice.
    """
    kind = (resource.group, resource.version, resource.kind)
    why = wrong_type(made, kind)
    if why is None and options.validation == "Strict":
        found = [*twice, *problems(made, kind)]
        why = strict_error(found) if found else None
    if why is not None:
        words = f"Invalid value: {quoted(shown)}: {why}"
        raise Refused(
            f' "" is invalid: patch: {words}',
            status=422,
            reason="Invalid",
            causes=(Cause("FieldValueInvalid", "patch", words),),
        )


def _unsupported(value: str, supported: tuple[str, ...]) -> str:
    told = ", ".join(map(quoted, supported))
    return f"Unsupported value: {quoted(value)}: supported values: {told}"


def _invalid(kind: str, field: str, reason: str, words: str) -> Refused:
    return Refused(
        f'{kind}.meta.k8s.io "" is invalid: {field}: {words}',
        status=422,
        reason="Invalid",
        group="meta.k8s.io",
        kind=kind,
        causes=(Cause(reason, field, words),),
    )
