"""The update that `kubectl apply` makes of an object that exists: a merge of three versions.

    last applied, wanted -> what the user has removed -+
    stored, wanted       -> what the user has set      +-> the Service to update to

So what the API server has allocated stays, and node ports stay with the numbers of ports, whatever
their names. Ports of one number are one port to this merge, even if their protocols differ.
Of a kind without a type only labels and annotations are merged: the rest is as the manifest has it.
Source: apimachinery pkg/util/strategicpatch/patch.go (CreateThreeWayMergePatch); the merge key of
`spec.ports` is `port`
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct, to_builtins
from msgspec.structs import fields

from kproxy.api.types import Service
from kproxy.controlplane.plane import Json
from kproxy.typed import converted

Values = dict[str, Any]


def merged(stored: Service, last: Service | None, wanted: Service) -> Service:
    """Return the Service to update to; `last` is what was applied before, if anything was."""
    values = _merge(_stated(stored), _stated(last) if last else {}, _stated(wanted))
    return converted(values, Service)


def merged_document(stored: Json, last: Json, wanted: Json) -> Json:
    """Return the document to update to; `last` is what was applied before, or empty."""
    before, given = (each.get("metadata") or {} for each in (last, wanted))
    metadata = {**stored["metadata"], **given}
    for each in ("labels", "annotations"):
        removed = before.get(each) or {}
        kept = stored["metadata"].get(each) or {}
        values = {key: value for key, value in kept.items() if key not in removed}
        metadata[each] = {**values, **(given.get(each) or {})}
        if not metadata[each]:
            del metadata[each]
    return {**wanted, "metadata": metadata}


def _merge(stored: Values, last: Values, wanted: Values) -> Values:
    result = {key: value for key, value in stored.items() if key in wanted or key not in last}
    for key, value in wanted.items():
        old = stored.get(key)
        if isinstance(value, dict) and isinstance(old, dict):
            result[key] = _merge(old, last.get(key, {}), value)
        elif key == "ports":
            result[key] = _ports(old or [], last.get(key, []), value)
        else:
            result[key] = value
    return result


def _ports(stored: list[Values], last: list[Values], wanted: list[Values]) -> list[Values]:
    numbers = dict.fromkeys(each.get("port") for each in wanted)
    result: list[Values] = []
    for number in numbers:
        found = [each for each in stored if each.get("port") == number]
        before = [each for each in last if each.get("port") == number]
        now = [each for each in wanted if each.get("port") == number]
        result += _ports_of_one_number(found, before, now)
    given = {each.get("port") for each in last}
    known = numbers.keys() | given
    return result + [each for each in stored if each.get("port") not in known]


def _ports_of_one_number(
    stored: list[Values], last: list[Values], wanted: list[Values]
) -> list[Values]:
    """Merge ports as kubectl pairs them: the last first, as its sort turns equal keys around.

    All changes go to the first port, as the server finds ports by number.
    """
    result = [dict(each) for each in stored[: max(len(wanted), 1)]]
    removed = {key for each in last for key in each} - {key for each in wanted for key in each}
    for i, item in enumerate(reversed(wanted)):
        old = stored[-1 - i] if i < len(stored) else None
        changed = {k: v for k, v in item.items() if old is None or old.get(k) != v}
        if not result:
            result.append(dict(item))
        else:
            result[0] |= changed
    return [{k: v for k, v in each.items() if k not in removed} for each in result]


def _stated(value: Any) -> Any:
    """Return the fields of a struct that differ from their defaults, as plain values."""
    if isinstance(value, Struct):
        return {
            field.encode_name: _stated(getattr(value, field.name))
            for field in fields(value)
            if field.required or getattr(value, field.name) != _default(field)
        }
    if isinstance(value, tuple):
        return [_stated(each) for each in value]
    return to_builtins(value)


def _default(field: Any) -> object:
    return field.default_factory() if callable(field.default_factory) else field.default
