"""Splits the text of a manifest, JSON or YAML, into the objects it holds.

An object stays raw here: a part of the JSON text, or the plain values of the YAML. JSON is not
turned into plain values in between, which would take twice the time and three times the memory.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace

from kproxy.api.depth import is_deep
from kproxy.api.places import Place
from kproxy.api.problems import Problem, shown
from kproxy.typed import decoder

RawObject = dict[str, Any] | Raw

_OBJECT_BEGINS = re.compile(r"\s*\{")
_JSON_POSITION = re.compile(r" \(byte (\d+)\)")
_BETWEEN = re.compile(rb"[ \t\r\n,]*")  # members of a list
_TELLING_BYTES = 200  # of a value are enough to find it: looking for megabytes takes long
_LIST_ITEM = re.compile(r"(items\[\d+\])\.?")


class Item(Struct, frozen=True):
    """One object and the faults of its text. `value` is None if it could not be read.

    `kind` and `api_version` may be of any type.
    """

    place: Place
    value: RawObject | None = None
    kind: Any = None
    api_version: Any = None
    problems: tuple[Problem, ...] = ()


class ListKind(Struct, frozen=True):
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


_RAW_HEAD = decoder(_RawHead)
_RAW_LIST = decoder(list[Raw])


def text_of(data: str | bytes, file: str) -> tuple[str, Item | None]:
    """Return a text without a byte order mark, and what is wrong with its characters."""
    try:
        data = data.encode() if isinstance(data, str) else data
        return data.decode("utf-8-sig"), None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        byte = error.object[error.start]
        return "", _faulty(Place(file), f"not UTF-8 text (byte 0x{byte:02x})", line)
    except UnicodeEncodeError as error:
        code = ord(error.object[error.start])
        return "", _faulty(Place(file), f"not UTF-8 text (U+{code:04X})")


def items_of(text: str, file: str, lists: Mapping[str, ListKind]) -> Iterator[Item]:
    """Yield every object of a text, the items of lists one by one. Empty documents are skipped.

    Of `lists`, by kind, the API version is checked; other lists are known by their name and items.
    """
    # YAML in braces may look like JSON, and its reader names the line of what is too deep.
    if _OBJECT_BEGINS.match(text) and not is_deep(text):
        try:
            _RAW_HEAD.decode(text)
        except msgspec.DecodeError as error:
            if file.endswith(".json"):
                yield _explained(error, text, file)
                return
        else:
            line = text.count("\n", 0, text.index("{")) + 1
            yield from _split(Place(file, 1, line=line), Raw(text), lists)
            return
    yield from _yaml_items(text, file, lists)


def plain(value: RawObject) -> Any:
    """Return the object as dicts and lists."""
    return msgspec.json.decode(value) if isinstance(value, Raw) else value


def _yaml_items(text: str, file: str, lists: Mapping[str, ListKind]) -> Iterator[Item]:
    from kproxy.api.yaml_documents import documents  # imports yaml: 15 ms that JSON need not spend

    for document in documents(text):
        place = Place(file, document.number, line=document.line)
        faults: dict[str, list[Problem]] = {}
        for problem in (*document.problems, *document.repeated):
            item = _LIST_ITEM.match(problem.field)
            field = problem.field[item.end() :] if item else problem.field
            path = item[1] if item else ""
            faults.setdefault(path, []).append(problem._replace(field=field))
        if isinstance(document.value, dict):
            for each in _split(place, document.value, lists, document.item_lines):
                found = faults.pop(each.place.path, ())
                yield replace(each, problems=(*found, *each.problems)) if found else each
        elif document.value is not None:
            yield _faulty(place, f"expected an object, got {shown(document.value)}")
        for path, rest in faults.items():
            yield Item(replace(place, path=path), problems=tuple(rest))


def _split(
    place: Place, value: RawObject, lists: Mapping[str, ListKind], lines: Sequence[int] = ()
) -> Iterator[Item]:
    """Yield the items of a list, or the object itself. `lines` are those of items, if known."""
    head = _head(value)
    list_kind = _list_kind(head, lists)
    if list_kind is None:
        yield Item(place, value, head.kind, head.api_version)
        return
    if head.api_version != list_kind.api_version:
        problem = wrong_version(head.api_version, list_kind.api_version)
        yield Item(place, problems=(problem,))
    items: Any = head.items
    if isinstance(items, Raw):
        try:
            members = _RAW_LIST.decode(items)
            lines = _lines_within(value, items, members, place.line)
            items = members
        except msgspec.ValidationError:
            items = plain(items)
    items = () if items is None else items
    if not isinstance(items, list | tuple):
        yield Item(place, problems=(Problem("items", f"expected a list, got {shown(items)}"),))
        return
    for i, each in enumerate(items):
        line = lines[i] if i < len(lines) else 0
        yield _item(replace(place, path=f"items[{i}]", line=line), each, list_kind, lists)


def _list_kind(head: _Head | _RawHead, lists: Mapping[str, ListKind]) -> ListKind | None:
    """Return what an object is a list of; None if it is no list."""
    if not isinstance(head.kind, str):
        return None
    if known := lists.get(head.kind):
        return known
    if not head.kind.endswith("List"):
        return None
    items = bytes(head.items)[:1] == b"[" if isinstance(head.items, Raw) else head.items
    if items is True or isinstance(items, list):
        return ListKind(head.api_version, head.kind.removesuffix("List"))
    return None


def _lines_within(value: Any, items: Raw, members: list[Raw], line: int) -> list[int]:
    """Return the line of each member of a list in a raw value that begins on `line`."""
    lines = []
    text = bytes(value)
    before, at = 0, text.find(bytes(items)[:_TELLING_BYTES]) + 1
    for member in members:
        if between := _BETWEEN.match(text, at):
            at = between.end()
        line += text.count(b"\n", before, at)
        lines.append(line)
        before, at = at, at + len(bytes(member))
    return lines


def _item(place: Place, value: Any, list_kind: ListKind, lists: Mapping[str, ListKind]) -> Item:
    """Return an item of a list; in a typed list its kind and API version default to the list's."""
    if not isinstance(value, dict | Raw):
        return _faulty(place, f"expected an object, got {shown(value)}")
    try:
        head = _head(value)
    except msgspec.ValidationError:
        return _faulty(place, f"expected an object, got {shown(plain(value))}")
    kind, api_version = head.kind, head.api_version
    if list_kind.item_kind:
        kind, api_version = kind or list_kind.item_kind, api_version or list_kind.api_version
    if _list_kind(head, lists):
        return _faulty(place, "a list inside a list is not read")
    return Item(place, value, kind, api_version)


def _head(value: RawObject) -> _Head | _RawHead:
    if isinstance(value, Raw):
        return _RAW_HEAD.decode(value)
    return _Head(value.get("kind"), value.get("apiVersion"), value.get("items"))


def wrong_version(found: Any, expected: str) -> Problem:
    got = "missing" if found is None else f"got {shown(found)}"
    return Problem("apiVersion", f"expected {expected}, {got}")


def _faulty(place: Place, text: str, line: int = 0) -> Item:
    return Item(place, problems=(Problem("", text, line),))


def _explained(error: msgspec.DecodeError, text: str, file: str) -> Item:
    told = str(error)
    position = _JSON_POSITION.search(told)
    if position is None:
        end = text.rstrip().count("\n") + 1
        return _faulty(Place(file), told[:1].lower() + told[1:], end)
    line = text.encode().count(b"\n", 0, int(position[1])) + 1
    return _faulty(Place(file), told[: position.start()], line)
