"""Strategic merge patch: a merge patch that knows from the schema how to merge lists.

Source: apimachinery, pkg/util/strategicpatch/patch.go, and its directives:

    {"$patch": "delete"|"replace"|"merge"}    in an object, or in an item of a list
    {"$retainKeys": [...]}                    fields of this object that are not named are dropped
    {"$deleteFromPrimitiveList/f": [...]}     values to take out of the list f
    {"$setElementOrder/f": [...]}             the order of the list f; other items keep their place
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

from kproxy.apiserver.schema_data import Schema, schema_of
from kproxy.controlplane.plane import Json, Refused

PATCH = "$patch"
RETAIN = "$retainKeys"
DELETE_FROM = "$deleteFromPrimitiveList/"
ORDER = "$setElementOrder/"
DIRECTIVES = (PATCH, RETAIN, DELETE_FROM, ORDER)
Key = Callable[[Any], Hashable]


def merged(document: Json, patch: object, *, kind: tuple[str, str, str]) -> Json:
    """Return the document after a strategic merge patch. Neither is modified; parts are shared.

    `kind` is group, version and kind. Without a schema for it lists are replaced. Raises Refused
    with 400 for a patch of a wrong form, 500 for one that does not fit the schema: as the API
    server answers.
    """
    if not isinstance(patch, dict):
        raise _bad("Invalid JSON document")
    return _object(document, patch, schema_of(*kind))


def _object(document: Json, patch: Json, schema: Schema) -> Json:
    match patch.get(PATCH, "merge"):
        case "replace":
            return {key: value for key, value in patch.items() if key != PATCH}
        case "delete":
            return {}
        case "merge":
            pass
        case other:
            raise _does_not_fit(
                f"unknown patch type: [{go_text(other)}] in map: [{go_text(patch)}]"
            )
    made = _retained(document, patch)
    orders = {
        key.removeprefix(ORDER): value for key, value in patch.items() if key.startswith(ORDER)
    }
    for name, order in orders.items():
        _ordered_field(made, name, patch, order, schema)
    for key, value in patch.items():
        if key.startswith(DELETE_FROM):
            name = key.removeprefix(DELETE_FROM)
            gone = {_hashable(each) for each in _list_of(value, "$deleteFromPrimitiveList")}
            if name in made:
                former = _list_of(made[name], name)
                made[name] = [each for each in former if _hashable(each) not in gone]
    for key, value in patch.items():
        if key in orders or key.startswith(DIRECTIVES):
            continue
        if value is None:
            made.pop(key, None)
        else:
            made[key] = _value(made.get(key), value, schema.field(key))
    return made


def _retained(document: Json, patch: Json) -> Json:
    """A copy of the document, without the fields that `$retainKeys` does not name."""
    if RETAIN not in patch:
        return dict(document)
    keep = {each for each in _list_of(patch[RETAIN], RETAIN) if isinstance(each, str)}
    named = {key for key, value in patch.items() if not key.startswith("$") and value is not None}
    if not named <= keep:
        raise _bad("Invalid patch format of retainKeys")
    return {key: value for key, value in document.items() if key in keep}


def _value(former: object, patch: object, schema: Schema) -> object:
    if isinstance(patch, dict):
        if not isinstance(former, dict):
            return _cleaned(patch)
        if "replace" in schema.strategies:
            return patch
        return _object(former, patch, schema)
    if isinstance(patch, list):
        if not isinstance(former, list) or "merge" not in schema.strategies:
            return _cleaned(patch)
        return _items(former, patch, schema)
    return patch


def _items(former: list[Any], patch: list[Any], schema: Schema) -> list[Any]:
    """Merge a list by its merge key; a list of scalars becomes the union."""
    if any(_directive(each) == "replace" for each in patch):
        return [_cleaned(each) for each in patch if not _directive(each)]
    key = _key(schema)
    gone = {key(each) for each in patch if _directive(each) == "delete"}
    wanted = [each for each in patch if _directive(each) != "delete"]
    made: dict[Hashable, Any] = {}
    for each in former:
        if key(each) not in gone:
            made.setdefault(key(each), each)
    for each in wanted:
        old = made.get(key(each))
        if isinstance(old, dict) and isinstance(each, dict):
            made[key(each)] = _object(old, each, schema.items)
        else:
            made[key(each)] = _cleaned(each)
    return _in_order(list(made.values()), wanted, former, key)


def _key(schema: Schema) -> Key:
    name = schema.merge_key

    def by_field(item: Any) -> Hashable:
        if not isinstance(item, dict) or name not in item:
            raise _does_not_fit(f"map: {go_text(item)} does not contain declared merge key: {name}")
        return _hashable(item[name])

    return by_field if name else _hashable


def _hashable(value: Any) -> Hashable:
    """Tell values apart as JSON does: 1 is not true."""
    return type(value), value if isinstance(value, Hashable) else go_text(value)


def _ordered_field(made: Json, name: str, patch: Json, order: object, schema: Schema) -> None:
    """Merge the list of one field and put it in the order that the patch states."""
    stated = _list_of(order, "$setElementOrder")
    field = schema.field(name)
    key = _key(field)
    former, change = made.get(name), patch.get(name)
    if change is None:
        if name in patch:
            made.pop(name, None)
            return
        change = []
    present = [each for each in _list_of(change, name) if not _directive(each)]
    positions = {key(each): place for place, each in enumerate(stated)}
    places = [positions.get(key(each), -1) for each in present]
    if -1 in places or places != sorted(places):
        raise _does_not_fit(
            f"The order in patch list:\n{go_text(present)}\n doesn't match "
            f"{ORDER[:-1]} list:\n{go_text(stated)}\n"
        )
    if former is None and not change:
        return
    former = _list_of(former, name) if former is not None else []
    items = _items(former, _list_of(change, name), field)
    made[name] = _in_order(items, stated, former, key)


def _directive(item: object) -> str:
    return str(item[PATCH]) if isinstance(item, dict) and PATCH in item else ""


def _in_order(items: list[Any], stated: list[Any], former: list[Any], key: Key) -> list[Any]:
    """Items that are stated in the order stated; others before the first that followed them."""
    places = {key(each): place for place, each in enumerate(stated)}
    earlier = {key(each): place for place, each in enumerate(former)}
    ours = sorted(
        (each for each in items if key(each) in places), key=lambda each: places[key(each)]
    )
    others = sorted(
        (each for each in items if key(each) not in places),
        key=lambda each: earlier.get(key(each), len(earlier)),
    )
    made = []
    waiting = iter(ours)
    mine = next(waiting, None)
    for other in others:
        while mine is not None and not earlier.get(key(mine), -1) > earlier[key(other)]:
            made.append(mine)
            mine = next(waiting, None)
        made.append(other)
    while mine is not None:
        made.append(mine)
        mine = next(waiting, None)
    return made


def _cleaned(value: object) -> object:
    """Return a value of a patch as it is stored where there was none: no null, no directive."""
    if isinstance(value, dict):
        return {
            key: _cleaned(each)
            for key, each in value.items()
            if each is not None and not key.startswith(DIRECTIVES)
        }
    if isinstance(value, list):
        return [_cleaned(each) for each in value if _directive(each) != "delete"]
    return value


def _list_of(value: object, name: str) -> list[Any]:
    if not isinstance(value, list):
        raise _bad(f"Invalid patch format of {name}: a list is expected")
    return value


def go_text(value: object) -> str:
    """Return a value of JSON as Go prints it: `map[name:web ports:[80 81]]`."""
    match value:
        case dict():
            return f"map[{' '.join(f'{key}:{go_text(value[key])}' for key in sorted(value))}]"
        case list():
            return f"[{' '.join(map(go_text, value))}]"
        case bool():
            return str(value).lower()
        case None:
            return "<nil>"
    return str(value)


def _bad(message: str) -> Refused:
    return Refused(message, status=400, reason="BadRequest")


def _does_not_fit(message: str) -> Refused:
    return Refused(message, status=500, reason="")
