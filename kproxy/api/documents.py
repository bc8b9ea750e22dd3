"""Splits the text of a manifest, JSON or YAML, into the objects it holds.

An object stays raw here: a part of the JSON text, or the plain values of the YAML. JSON is not
turned into plain values in between, which would take twice the time and three times the memory.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import msgspec
from msgspec import Raw, Struct

from kproxy.api.problems import Problem, shown

RawObject = dict[str, Any] | Raw

_OBJECT_BEGINS = re.compile(r"\s*\{")
_JSON_POSITION = re.compile(r" \(byte (\d+)\)")
_LIST_ITEM = re.compile(r"(items\[\d+\])\.?")


class Item(NamedTuple):
    """One object and the faults of its text. `value` is None if it could not be read.

    `where` is `file:document` or `file:document.items[3]`. `kind` and `api_version` may be of any
    type.
    """

    where: str
    value: RawObject | None = None
    kind: Any = None
    api_version: Any = None
    problems: tuple[Problem, ...] = ()


class ListKind(NamedTuple):
    """A kind whose `items` are objects: of kind `item_kind`, or of any kind if that is ""."""

    api_version: str
    item_kind: str = ""


class _Head(Struct, rename="camel"):
    kind: Any = None
    api_version: Any = None
    items: Any = None


class _RawHead(Struct, rename="camel"):
    kind: Any = None
    api_version: Any = None
    items: Raw = Raw(b"null")


_RAW_HEAD = msgspec.json.Decoder(_RawHead)
_RAW_LIST = msgspec.json.Decoder(list[Raw])


def items_of(text: str | bytes, file: str, lists: Mapping[str, ListKind]) -> Iterator[Item]:
    """Yield every object of a text, the items of lists one by one. Empty documents are skipped."""
    try:
        data = text.encode() if isinstance(text, str) else text
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        byte = error.object[error.start]
        yield _faulty(file, f"line {line}: not UTF-8 text (byte 0x{byte:02x})")
        return
    except UnicodeEncodeError as error:
        yield _faulty(file, f"not UTF-8 text (U+{ord(error.object[error.start]):04X})")
        return
    if _OBJECT_BEGINS.match(text):
        try:
            _RAW_HEAD.decode(text)
        except (msgspec.DecodeError, RecursionError) as error:
            # A file with another name may be YAML in braces.
            if file.endswith(".json"):
                yield _faulty(f"{file}:1", _explain(error, data))
                return
        else:
            yield from _split(f"{file}:1", Raw(text), lists)
            return
    yield from _yaml_items(text, file, lists)


def plain(value: RawObject) -> Any:
    """Return the object as dicts and lists."""
    return msgspec.json.decode(value) if isinstance(value, Raw) else value


def _yaml_items(text: str, file: str, lists: Mapping[str, ListKind]) -> Iterator[Item]:
    from kproxy.api.yaml_documents import documents  # imports yaml: 15 ms that JSON need not spend

    for number, value, problems in documents(text):
        where = f"{file}:{number}"
        faults: dict[str, list[Problem]] = {}
        for problem in problems:
            item = _LIST_ITEM.match(problem.field)
            place = f"{where}.{item[1]}" if item else where
            field = problem.field[item.end() :] if item else problem.field
            faults.setdefault(place, []).append(Problem(field, problem.text))
        if isinstance(value, dict):
            for each in _split(where, value, lists):
                yield each._replace(problems=(*faults.pop(each.where, ()), *each.problems))
        elif value is not None:
            yield _faulty(where, f"expected an object, got {shown(value)}")
        for place, found in faults.items():
            yield Item(place, problems=tuple(found))


def _split(where: str, value: RawObject, lists: Mapping[str, ListKind]) -> Iterator[Item]:
    """Yield the items of a list, or the object itself."""
    head = _head(value)
    list_kind = lists.get(head.kind) if isinstance(head.kind, str) else None
    if list_kind is None:
        yield Item(where, value, head.kind, head.api_version)
        return
    if head.api_version != list_kind.api_version:
        problem = wrong_version(head.api_version, list_kind.api_version)
        yield Item(where, problems=(problem,))
    items: Any = head.items
    if isinstance(items, Raw):
        try:
            items = _RAW_LIST.decode(items)
        except msgspec.ValidationError:
            items = plain(items)
    items = () if items is None else items
    if not isinstance(items, list | tuple):
        yield Item(where, problems=(Problem("items", f"expected a list, got {shown(items)}"),))
        return
    for i, each in enumerate(items):
        yield _item(f"{where}.items[{i}]", each, list_kind, lists)


def _item(where: str, value: Any, list_kind: ListKind, lists: Mapping[str, ListKind]) -> Item:
    """Return an item of a list; in a typed list its kind and API version default to the list's."""
    if not isinstance(value, dict | Raw):
        return _faulty(where, f"expected an object, got {shown(value)}")
    try:
        head = _head(value)
    except msgspec.ValidationError:
        return _faulty(where, f"expected an object, got {shown(plain(value))}")
    kind, api_version = head.kind, head.api_version
    if list_kind.item_kind:
        kind, api_version = kind or list_kind.item_kind, api_version or list_kind.api_version
    if isinstance(kind, str) and kind in lists:
        return _faulty(where, "a list inside a list is not read")
    return Item(where, value, kind, api_version)


def _head(value: RawObject) -> _Head | _RawHead:
    if isinstance(value, Raw):
        return _RAW_HEAD.decode(value)
    return _Head(value.get("kind"), value.get("apiVersion"), value.get("items"))


def wrong_version(found: Any, expected: str) -> Problem:
    got = "missing" if found is None else f"got {shown(found)}"
    return Problem("apiVersion", f"expected {expected}, {got}")


def _faulty(where: str, text: str) -> Item:
    return Item(where, problems=(Problem("", text),))


def _explain(error: Exception, data: bytes) -> str:
    if isinstance(error, RecursionError):
        return "nested too deeply"
    text = str(error)
    position = _JSON_POSITION.search(text)
    if position is None:
        return text[:1].lower() + text[1:]
    line = data.count(b"\n", 0, int(position[1])) + 1
    return f"line {line}: {text[: position.start()]}"
