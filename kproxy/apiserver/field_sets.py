"""Sets of fields, as server-side apply and `managedFields` speak of them.

A path is a tuple of elements as they stand in fieldsV1: `f:spec`, `k:{"name":"c"}` for an item of a
list with keys, `v:"a"` for an item of a set. Lists and maps that are atomic in the schema are one
field. Source: sigs.k8s.io/structured-merge-diff (fieldpath, typed).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache, lru_cache
from typing import Any, NamedTuple

from msgspec.json import decode, encode

from kproxy.apiserver.schema_data import Schema, data
from kproxy.controlplane.plane import Json

Path = tuple[str, ...]
Fields = frozenset[Path]
NONE: Fields = frozenset()


class NotTyped(Exception):
    """The items of a list cannot be told apart: one lacks a key; it says which."""


class Comparison(NamedTuple):
    """Fields that are in one of two objects only, or differ. Objects and lists count if new."""

    added: Fields
    modified: Fields
    removed: Fields


_MISSING = object()  # stands for a value that is not there; null is there
_PLAIN = frozenset({str, bool, int, float})  # types of values without parts
_NESTED = (dict, list)


def fields_of(document: Json, schema: Schema) -> Fields:
    """Return the fields that a document states. Raises NotTyped."""
    found: set[Path] = set()
    _collect(document, schema, (), found)
    return frozenset(found - {()})


def _collect(value: object, schema: Schema, path: Path, found: set[Path]) -> None:
    if isinstance(value, dict) and not schema.atomic_map:
        for name, each in value.items():
            below = (*path, f"f:{name}")
            _collect(each, schema.field(name), below, found)
            if each is None or each in ({}, []) or name not in schema.fields:
                found.add(below)
    elif isinstance(value, list) and schema.list_type != "atomic":
        for element, each in elements(value, schema):
            below = (*path, element)
            _collect(each, schema.items, below, found)
            found.add(below)
    else:
        found.add(path)


def elements(items: list[Any], schema: Schema) -> Iterator[tuple[str, Any]]:
    """Return the items of a list of type set or map with their elements of a path.

    Raises NotTyped.
    """
    for place, item in enumerate(items):
        if schema.list_type == "set":
            yield f"v:{encode(item).decode()}", item
            continue
        key = {}
        for name in sorted(schema.list_keys):
            value = item.get(name) if isinstance(item, dict) else None
            key[name] = schema.items.default(name) if value is None else value
            if key[name] is None:
                raise NotTyped(
                    f"element {place}: associative list with keys has an element that omits "
                    f'key field "{name}" (and doesn\'t have default value)'
                )
        yield f"k:{encode(key).decode()}", item


def compared(old: Json, new: Json, schema: Schema) -> Comparison:
    """Compare two objects. Raises NotTyped.

    What Go writes into each object of a type, such as a spec, counts as present in the old one.
    """
    found: tuple[set[Path], set[Path], set[Path]] = (set(), set(), set())
    _compare(old, new, schema, (), found)
    return Comparison(*(frozenset(each - {()}) for each in found))


def _compare(
    old: object, new: object, schema: Schema, path: Path, found: tuple[set[Path], ...]
) -> None:
    added, modified, removed = found
    if old is new:
        return
    given = new if new and isinstance(new, _NESTED) else old
    if given and isinstance(given, dict) and not schema.atomic_map and _both(old, new, dict):
        _compare_objects(old, new, schema, path, found)
    elif (
        given and isinstance(given, list) and schema.list_type != "atomic" and _both(old, new, list)
    ):
        olds = dict(elements(old, schema)) if isinstance(old, list) else {}
        news = dict(elements(new, schema)) if isinstance(new, list) else {}
        for element in {**olds, **news}:
            pair = olds.get(element, _MISSING), news.get(element, _MISSING)
            _compare(*pair, schema.items, (*path, element), found)
    elif old is not _MISSING and new is not _MISSING and old != new:
        modified.add(path)
    if old is _MISSING:
        added.add(path)
    elif new is _MISSING:
        removed.add(path)


def _both(old: object, new: object, kind: type) -> bool:
    """Say whether both are of this kind, null or missing."""
    return (isinstance(old, kind) or old is None or old is _MISSING) and (
        isinstance(new, kind) or new is None or new is _MISSING
    )


def _compare_objects(
    old: object, new: object, schema: Schema, path: Path, found: tuple[set[Path], ...]
) -> None:
    olds = {**_always(schema.name), **old} if isinstance(old, dict) else {}
    news = new if isinstance(new, dict) else {}
    added, modified, _ = found
    for name, after in news.items():
        before = olds.get(name, _MISSING)
        if type(after) in _PLAIN and not isinstance(before, _NESTED):
            # Most values are such: to compare them here halves the time.
            if before is _MISSING:
                added.add((*path, f"f:{name}"))
            elif before != after:
                modified.add((*path, f"f:{name}"))
        else:
            _compare(before, after, schema.field(name), (*path, f"f:{name}"), found)
    if isinstance(old, dict):
        for name, before in old.items():
            if name not in news:
                _compare(before, _MISSING, schema.field(name), (*path, f"f:{name}"), found)


@cache
def _always(name: str) -> Json:
    """The fields that Go writes of each value of a type, with what it writes for an empty one."""
    made: Json = {}
    for _, field, kind, kept in data("protobuf").get(name, ()):
        if not field:
            made |= _always(kind)
        elif "." in kind and not kind.startswith(("[]", "{}", "string")):
            made |= {field: {}} if kept < 2 else {}
        elif kept == 1:
            empty = {"string": "", "int": 0, "bool": False}
            made[field] = empty.get(kind.partition(":")[0])
    return made


# fieldsV1


def new_fields_v1(document: Json, schema: Schema) -> Json:
    """Return fieldsV1 of all that is added or modified from {} to this document.

    It is what `compared` and `to_fields_v1` return, in a fraction of their time: most writes create
    an object, and no path of it need be made. Raises NotTyped.
    """
    return _new({}, document, schema) or {}


def _new(old: object, new: object, schema: Schema) -> Json | None:
    """Return the node of a value; None if neither it nor anything in it is new or differs.

    `old` is what Go writes of it anyway: no list, and no object but an empty one.
    """
    node: Json = {}
    if new and isinstance(new, dict) and not schema.atomic_map and _both(old, new, dict):
        known, is_there = _known(schema), isinstance(old, dict)
        for name in sorted(new):
            element, before, inner = known.get(name) or (f"f:{name}", _MISSING, schema.field(name))
            after = new[name]
            if not is_there:
                before = _MISSING
            if type(after) in _PLAIN and type(before) is not dict:
                if before is _MISSING or before != after:
                    node[element] = {}
            elif (found := _new(before, after, inner)) is not None:
                node[element] = found
    elif new and isinstance(new, list) and schema.list_type != "atomic" and _both(old, new, list):
        items = dict(elements(new, schema))
        node = {element: _new(_MISSING, items[element], schema.items) for element in sorted(items)}
    else:
        return {} if old is _MISSING or old != new else None
    if old is _MISSING:
        return {".": {}, **node} if node else node
    return node or None


@cache
def _known(schema: Schema) -> dict[str, tuple[str, object, Schema]]:
    """Return the known fields: as paths have them, what Go writes of them anyway, their schemas."""
    anyway = _always(schema.name)
    return {
        name: (f"f:{name}", anyway.get(name, _MISSING), inner)
        for name, inner in schema.fields.items()
    }


def from_fields_v1(tree: Json) -> Fields:
    """Read fieldsV1. A node without children, or with ".", is in the set itself."""
    found: set[Path] = set()

    def visit(node: Json, path: Path) -> None:
        if not node or "." in node:
            found.add(path)
        for element, child in node.items():
            if element != "." and isinstance(child, dict):
                visit(child, (*path, _canonical(element)))

    visit(tree, ())
    return frozenset(found - {()})


def _canonical(element: str) -> str:
    """Write a key or value as kproxy does: a client may space or order it otherwise."""
    if element[:2] not in ("k:", "v:"):
        return element
    value = decode(element[2:])
    ordered = dict(sorted(value.items())) if isinstance(value, dict) else value
    return element[:2] + encode(ordered).decode()


@lru_cache(maxsize=1024)  # objects of one kind mostly have the same fields, and then share it
def to_fields_v1(fields: Fields) -> Json:
    """Write fieldsV1, in the order of the paths. It is not to be changed."""
    tree: Json = {}
    nodes: dict[Path, Json] = {(): tree}
    for path in sorted(fields):
        # A field that is in the set and has others in it comes first: it is marked when they come.
        for end in range(1, len(path) + 1):
            if path[:end] not in nodes:
                above = nodes[path[: end - 1]]
                if not above and path[: end - 1] in fields:
                    above["."] = {}
                nodes[path[:end]] = above[path[end - 1]] = {}
    return tree


def path_text(path: Path) -> str:
    """Return a path as messages have it: `.spec.template.spec.containers[name="c"].image`."""
    return "".join(map(_element_text, path))


def _element_text(element: str) -> str:
    kind, text = element[:2], element[2:]
    if kind == "k:":
        key = decode(text)
        return f"[{','.join(f'{name}={encode(value).decode()}' for name, value in key.items())}]"
    if kind == "v:":
        return f"[={text}]"
    return f"[{text}]" if kind == "i:" else f".{text}"


def with_parents(fields: Fields) -> Fields:
    """Return the fields and everything that they are in."""
    return frozenset(path[:end] for path in fields for end in range(1, len(path) + 1))


def with_named_parents(fields: Fields) -> Fields:
    """Return the fields and the named fields that they are in, but not the items of lists."""
    return fields | {path for path in with_parents(fields) if path[-1].startswith("f:")}
