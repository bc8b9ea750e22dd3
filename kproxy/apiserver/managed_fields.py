"""`metadata.managedFields`: who has set which fields of an object, kept up at every write.

Source: apimachinery, pkg/util/managedfields/internal.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from msgspec import DecodeError
from msgspec.json import decode, encode

from kproxy.apiserver.field_sets import (
    NONE,
    Fields,
    NotTyped,
    compared,
    from_fields_v1,
    new_fields_v1,
    to_fields_v1,
)
from kproxy.apiserver.schema_data import Schema, schema_of
from kproxy.controlplane.plane import Json

MOST_UPDATERS = 10  # entries of operation Update; API server: DefaultMaxUpdateManagers
ANCIENT = "ancient-changes"  # manager of the entries that are put together then
BEFORE_FIRST_APPLY = "before-first-apply"
_SERVER_METADATA = (
    *("name", "namespace", "creationTimestamp", "selfLink", "uid"),
    *("generation", "managedFields", "resourceVersion"),
)
_SERVERS = frozenset(f"f:{name}" for name in _SERVER_METADATA)
NOBODYS: Fields = frozenset(
    {
        *(("f:apiVersion",), ("f:kind",), ("f:metadata",)),
        *(("f:metadata", each) for each in _SERVERS),
    }
)


class Manager(NamedTuple):
    """Identity of an entry. An applier has one entry whatever version it applies."""

    name: str
    operation: str  # Apply, Update
    api_version: str
    subresource: str = ""


class Owned(NamedTuple):
    """Fields of a manager, and the time of its last change."""

    fields: Fields
    time: str


Managers = dict[Manager, Owned]


def managers_of(document: Json | None) -> Managers:
    """Read the managers of a document. Entries that cannot be read are left out."""
    found: Managers = {}
    for entry in _entries(document):
        try:
            fields = from_fields_v1(entry.get("fieldsV1") or {})
        except (DecodeError, AttributeError):
            continue
        name, operation, api_version, subresource = (
            str(entry.get(key, "")) for key in ("manager", "operation", "apiVersion", "subresource")
        )
        manager = Manager(name, operation, api_version, subresource)
        if manager.operation in ("Apply", "Update"):
            found[manager] = Owned(fields, str(entry.get("time", "")))
    return found


def _entries(document: Json | None) -> list[Json]:
    entries = ((document or {}).get("metadata") or {}).get("managedFields")
    return [each for each in entries or () if isinstance(each, dict)]


def with_managers(document: Json, managers: Managers) -> Json:
    """Return the document with these managers: appliers first, then by time and name."""
    entries = [
        _entry(manager, owned.time, to_fields_v1(owned.fields))
        for manager, owned in sorted(
            managers.items(), key=lambda each: (each[0].operation, each[1].time, each[0])
        )
        if owned.fields
    ]
    return _with_entries(document, entries)


def _entry(manager: Manager, time: str, fields_v1: Json) -> Json:
    return {
        "manager": manager.name,
        "operation": manager.operation,
        "apiVersion": manager.api_version,
        "time": time,
        "fieldsType": "FieldsV1",
        "fieldsV1": fields_v1,
        **({"subresource": manager.subresource} if manager.subresource else {}),
    }


def _with_entries(document: Json, entries: list[Json]) -> Json:
    metadata = {**document.get("metadata", {})}
    metadata.pop("managedFields", None)
    if entries:
        metadata["managedFields"] = entries
    return {**document, "metadata": metadata}


def updated(
    former: Json | None, wanted: Json, *, manager: str, now: str, subresource: str = ""
) -> Json:
    """Return the document to be stored with its managers, for each write but server-side apply.

    `former` is the stored document, or None for a creation. The manager gets the fields that differ
    from it, and all others lose them. Managers that the wanted document states are taken instead of
    the stored ones; a list of one empty entry removes them all, none at all does not.
    """
    own = Manager(manager, "Update", str(wanted.get("apiVersion", "")), subresource)
    managers = managers_of(former)
    if not subresource:
        entries = _entries(wanted)
        managers = {} if entries == [{}] else managers_of(wanted) or managers
    if not managers:
        if former is not None:  # not tracked until somebody applies
            return with_managers(wanted, {})
        return _with_creator(wanted, own, now)
    schema = schema_of_document(wanted)
    return with_managers(wanted, _after_update(former or {}, wanted, managers, own, now, schema))


def _with_creator(document: Json, own: Manager, now: str) -> Json:
    """Return a new document that says who has made it, as `_after_update` would have it."""
    try:
        tree = new_fields_v1(document, schema_of_document(document))
    except NotTyped:  # a list with a wrong item: its validation will refuse it
        return _with_entries(document, [])
    metadata = tree.get("f:metadata", {})
    for name in metadata.keys() & _SERVERS:
        _disown(metadata, name)
    for name in ("f:apiVersion", "f:kind", "f:metadata"):
        if name in tree:
            _disown(tree, name)
    tree.pop(_reset_by(own.subresource), None)
    return _with_entries(document, [_entry(own, now, _shared(encode(tree)))] if tree else [])


def _disown(above: Json, name: str) -> None:
    """Let nobody own a field, but for what is in it."""
    above[name].pop(".", None)
    if not above[name]:
        del above[name]


@lru_cache(maxsize=1024)  # objects of one kind mostly have the same fields, and then share it
def _shared(fields_v1: bytes) -> Json:
    tree: Json = decode(fields_v1)
    return tree


def _after_update(
    former: Json, wanted: Json, managers: Managers, own: Manager, now: str, schema: Schema
) -> Managers:
    try:
        difference = compared(former, wanted, schema)
    except NotTyped:  # a list with a wrong item: its validation will refuse it
        return managers
    changed = without(difference.added | difference.modified, own.subresource)
    gone = difference.removed
    made = {
        manager: Owned(owned.fields - gone - (changed if manager != own else NONE), owned.time)
        for manager, owned in managers.items()
    }
    before = made.get(own, Owned(NONE, ""))
    fields = before.fields | changed
    unchanged = own in managers and fields == managers[own].fields
    made[own] = Owned(fields, before.time if unchanged else now)
    return _capped({manager: owned for manager, owned in made.items() if owned.fields})


def _capped(managers: Managers) -> Managers:
    """Put the oldest updates of one version together, if there are too many."""
    updates = sorted(
        (each for each in managers if each.operation == "Update" and each.name != ANCIENT),
        key=lambda each: managers[each].time,
    )
    surplus = len(updates) - MOST_UPDATERS
    if surplus <= 0:
        return managers
    made = dict(managers)
    for old in updates[: surplus + 1]:
        owned = made.pop(old)
        ancient = Manager(ANCIENT, "Update", old.api_version)
        before = made.get(ancient, Owned(NONE, ""))
        made[ancient] = Owned(before.fields | owned.fields, max(before.time, owned.time))
    return made


def without(fields: Fields, subresource: str) -> Fields:
    """Return the fields that a write can own: none of the server's own, none that it resets."""
    reset = _reset_by(subresource)
    return frozenset(path for path in fields - NOBODYS if path[0] != reset)


def _reset_by(subresource: str) -> str:
    return "f:spec" if subresource == "status" else "f:status" if not subresource else ""


def before_first_apply(former: Json, now: str) -> Managers:
    """Return the manager of everything in an object whose managers are not tracked."""
    own = Manager(BEFORE_FIRST_APPLY, "Update", str(former.get("apiVersion", "")))
    return _after_update({}, former, {}, own, now, schema_of_document(former))


def schema_of_document(document: Json) -> Schema:
    """Return the schema of a document's kind."""
    group, _, version = str(document.get("apiVersion", "")).rpartition("/")
    return schema_of(group, version, str(document.get("kind", "")))
