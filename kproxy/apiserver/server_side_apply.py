"""Server-side apply: who applies states the fields that it wants, and owns them from then on.

Source: sigs.k8s.io/structured-merge-diff, merge/update.go; apimachinery, pkg/util/managedfields.
"""

from __future__ import annotations

from typing import Any

from msgspec import DecodeError
from msgspec.json import decode, encode

from kproxy.api.null_fields import without_null_fields
from kproxy.apiserver.field_sets import (
    NONE,
    Fields,
    NotTyped,
    Path,
    compared,
    elements,
    fields_of,
    path_text,
    with_named_parents,
    with_parents,
)
from kproxy.apiserver.managed_fields import (
    Manager,
    Managers,
    Owned,
    before_first_apply,
    managers_of,
    schema_of_document,
    with_managers,
    without,
)
from kproxy.apiserver.schema_data import Schema
from kproxy.apiserver.typed_objects import joined, typed_problems
from kproxy.controlplane.plane import Cause, Json, Refused

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
KUBECTL = "kubectl"  # the manager of `kubectl apply --server-side`
_LAST_APPLIED_PATH: Path = ("f:metadata", "f:annotations", f"f:{LAST_APPLIED}")


def applied(
    former: Json | None,
    wanted: Json,
    *,
    manager: str,
    force: bool,
    now: str,
    subresource: str = "",
) -> Json:
    """Return the document after an apply, with its managers; `former` itself if nothing changes.

    `wanted` states apiVersion, kind and the fields to own. A field that the manager has applied
    before and does not any more is removed, unless another manager has it. Raises Refused: 409
    (Conflict, with a cause for each field) if other managers have a field with another value and
    `force` is not set; 400 if managers are stated; 500, like the server, for what does not fit the
    schema.
    """
    if (wanted.get("metadata") or {}).get("managedFields"):
        raise _bad("metadata.managedFields must be nil")
    schema = schema_of_document(wanted)
    wanted = without_null_fields(wanted)
    if found := typed_problems(wanted, schema):
        raise _not_typed(wanted, joined(found))
    live = former or {}
    managers = managers_of(former)
    if former is not None and not managers:
        managers = before_first_apply(former, now)
    own = Manager(manager, "Apply", str(wanted["apiVersion"]), subresource)
    # An applier keeps its entry when it applies another version.
    same = {each for each in managers if each._replace(api_version=own.api_version) == own}
    last = NONE.union(*(managers[each].fields for each in same))
    others = {each: owned for each, owned in managers.items() if each not in same}
    try:
        stated = without(fields_of(wanted, schema), subresource)
        kept = stated.union(*(owned.fields for owned in others.values()))
        gone = with_named_parents(last) - with_parents(kept)
        made = _pruned(_merged(live, wanted, schema), gone, schema)
        difference = compared(live, made, schema)
    except NotTyped as error:
        raise _not_typed(wanted, str(error)) from error
    changed = difference.added | difference.modified
    conflicts = {
        each: owned.fields & changed
        for each, owned in others.items()
        if owned.fields & changed and each.api_version == own.api_version
    }
    if not force and (left := _not_allowed(conflicts, live, manager, schema)):
        raise conflict(left)
    after: Managers = {
        each: Owned(owned.fields - changed - difference.removed, owned.time)
        for each, owned in others.items()
    }
    unchanged = own in managers and stated == last
    time = managers[own].time if unchanged else now
    after[own] = Owned(stated, time)
    if manager == KUBECTL and not subresource:
        made = _with_last_applied(made, live, wanted)
    made = with_managers(made, after)
    return live if made == former else made


def _merged(live: Any, wanted: Any, schema: Schema) -> Any:
    if isinstance(wanted, dict) and isinstance(live, dict) and not schema.atomic_map:
        merged = {
            name: _merged(live[name], each, schema.field(name)) if name in live else each
            for name, each in wanted.items()
        }
        return {**live, **merged}
    if isinstance(wanted, list) and isinstance(live, list) and schema.list_type != "atomic":
        olds, news = dict(elements(live, schema)), dict(elements(wanted, schema))
        waiting = iter(news)
        order: dict[str, None] = {}
        for element in olds:
            if element in news:  # new items stand before the first item that they stood before
                while element not in order:
                    order[next(waiting)] = None
            else:
                order[element] = None
        order |= dict.fromkeys(waiting)
        return [
            _merged(olds[each], news[each], schema.items)
            if each in olds and each in news
            else news.get(each, olds.get(each))
            for each in order
        ]
    return wanted


def _pruned(value: Any, gone: Fields, schema: Schema, path: Path = ()) -> Any:
    """Return a value without these fields and all that is in them."""
    if not gone:
        return value
    if isinstance(value, dict) and not schema.atomic_map:
        return {
            name: _pruned(each, gone, schema.field(name), (*path, f"f:{name}"))
            for name, each in value.items()
            if (*path, f"f:{name}") not in gone
        }
    if isinstance(value, list) and schema.list_type != "atomic":
        return [
            _pruned(each, gone, schema.items, (*path, element))
            for element, each in elements(value, schema)
            if (*path, element) not in gone
        ]
    return value


# What client-side apply has made


def _not_allowed(
    conflicts: dict[Manager, Fields], live: Json, manager: str, schema: Schema
) -> dict[Manager, Fields]:
    """Leave out conflicts about fields that kubectl has applied on the client's side before."""
    allowed: Fields = NONE
    if manager == KUBECTL and (text := _last_applied(live)) is not None:
        try:
            allowed = fields_of(decode(text), schema) | {_LAST_APPLIED_PATH}
        except (DecodeError, NotTyped, AttributeError):
            allowed = NONE
    left = {each: fields - allowed for each, fields in conflicts.items()}
    return {each: fields for each, fields in left.items() if fields}


def _last_applied(document: Json) -> str | None:
    annotations = (document.get("metadata") or {}).get("annotations") or {}
    text: str | None = annotations.get(LAST_APPLIED)
    return text


def _with_last_applied(document: Json, live: Json, wanted: Json) -> Json:
    """Keep the annotation of client-side apply up, where it is, so that one can go back to it."""
    if _last_applied(live) is None or _last_applied(document) is None:
        return document
    metadata = wanted.get("metadata") or {}
    annotations = {
        name: text
        for name, text in (metadata.get("annotations") or {}).items()
        if name != LAST_APPLIED
    }
    stated = {**metadata, **({"annotations": annotations} if "annotations" in metadata else {})}
    text = encode({**wanted, "metadata": stated}, order="deterministic").decode() + "\n"
    metadata = document["metadata"]
    return {
        **document,
        "metadata": {**metadata, "annotations": {**metadata["annotations"], LAST_APPLIED: text}},
    }


# Conflicts


def conflict(conflicts: dict[Manager, Fields]) -> Refused:
    """Return the refusal for fields that other managers have, in the API server's words."""
    causes = [
        Cause("FieldManagerConflict", path_text(path), f"conflict with {_manager_text(manager)}")
        for manager in sorted(conflicts)
        for path in sorted(conflicts[manager])
    ]
    if len(causes) == 1:
        message = f"1 conflict: {causes[0].message}: {causes[0].field}"
    else:
        lines = []
        for manager in sorted(conflicts):
            lines.append(f"conflicts with {_manager_text(manager)}:")
            lines += [f"- {path_text(path)}" for path in sorted(conflicts[manager])]
        message = f"{len(causes)} conflicts: " + "\n".join(lines)
    return Refused(
        f"Apply failed with {message}", status=409, reason="Conflict", causes=tuple(causes)
    )


def _manager_text(manager: Manager) -> str:
    text = encode(manager.name).decode()
    if manager.subresource:
        text += f' with subresource "{manager.subresource}"'
    return f"{text} using {manager.api_version}" if manager.operation == "Update" else text


def _not_typed(wanted: Json, why: str) -> Refused:
    metadata = wanted.get("metadata") or {}
    group, _, version = wanted["apiVersion"].rpartition("/")
    name = f"{metadata.get('namespace', '')}/{metadata.get('name', '')}"
    kind = f"{group}/{version}, Kind={wanted['kind']}"
    message = f"failed to create typed patch object ({name}; {kind}): {why}"
    return Refused(message, status=500, reason="")


def _bad(message: str) -> Refused:
    return Refused(message, status=400, reason="BadRequest")
