"""Reads YAML text into plain values, document by document.

It uses the parser's events and not PyYAML's constructors, because these keep the last of two
equal keys, read `2024-01-01` as a date and `12:30` as 750, and recurse without limit. Scalars are
read as Kubernetes' tools read them (sigs.k8s.io/yaml over its go-yaml v2, as seen with kubectl
1.32): YAML 1.1 words (`y`, `yes`, `on` are true, also as keys), numbers of YAML 1.1 and 1.2 (`017`
and `0o17` are 15, `1e+06` is a number), neither dates nor base 60.
Importing this module imports yaml.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator, Mapping
from functools import lru_cache
from math import isfinite
from typing import Any

import yaml
from msgspec import Struct

from kproxy.api.depth import MAX_DEPTH
from kproxy.api.problems import Problem, shown, step

MAX_ALIASED_VALUES = 1_000_000  # beyond those the text itself holds: a guard against YAML bombs

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_SEPARATOR = re.compile(r"^---(?=\s|\Z)", re.MULTILINE)
_TAG = "tag:yaml.org,2002:"
_TAGGED: dict[str, tuple[type, ...]] = {  # what a plain scalar with that tag may be
    f"{_TAG}null": (type(None),),
    f"{_TAG}bool": (bool,),
    f"{_TAG}int": (int,),
    f"{_TAG}float": (int, float),
}
_CONSTANTS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON"), True),
    **dict.fromkeys(("false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF"), False),
    **dict.fromkeys(("y", "Y"), True),
    **dict.fromkeys(("n", "N"), False),
}
_NUMBER_BEGINS = frozenset("+-.0123456789")
_INTEGER = re.compile(
    r"(?P<sign>[-+]?)(?:0[xX](?P<hex>[0-9a-fA-F]+)|0[bB](?P<bin>[01]+)|0[oO]?(?P<oct>[0-7]+)"
    r"|(?P<dec>0|[1-9][0-9]*))"
)
_BASES = {"hex": 16, "bin": 2, "oct": 8, "dec": 10}
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_SHOWN_STEPS = 5  # of the path to what is too deep
_MAX_DIGITS = 400  # more cannot be finite


class YamlDocument(Struct, frozen=True):
    """One document; `number` counts from 1. With `problems`, `value` is incomplete or None.

    `repeated` are keys that a mapping has twice: the last one counts. `line` is where the value
    begins, `item_lines` where each member of its list `items` begins.
    """

    number: int
    value: Any
    problems: list[Problem]
    repeated: list[Problem]
    line: int
    item_lines: list[int]


class _Unreadable(Exception):
    """The rest of this document, from an event on, is not read. Parsing what is too deep can take
    the parser minutes.
    """

    def __init__(self, text: str, event: Any) -> None:
        super().__init__(text)
        self.event = event


def documents(text: str) -> Iterator[YamlDocument]:
    """Yield all documents of `text`. After a syntax error reading continues at the next `---`."""
    return _documents(text, None)


def field_lines(text: str, wanted: Mapping[int, Container[str]]) -> dict[tuple[int, str], int]:
    """Return the lines of fields: of those paths in the documents of those numbers that exist.

    It reads the text again, so that reading without faults need not keep all lines.
    """
    finder = _Finder(wanted)
    last = max(wanted, default=0)
    for document in _documents(text, finder):
        if document.number >= last:
            break
    return finder.found


class _Finder:
    """Notes the lines of wanted fields."""

    def __init__(self, wanted: Mapping[int, Container[str]]) -> None:
        self._wanted = wanted
        self.found: dict[tuple[int, str], int] = {}

    def see(self, number: int, path: list[str | int], line: int) -> None:
        name = _named(path)
        if name in self._wanted.get(number, ()):
            self.found[number, name] = line


def _documents(text: str, finder: _Finder | None) -> Iterator[YamlDocument]:
    first_number, first_line = 1, 1
    while True:
        reader = _Reader(text, first_number, first_line, finder)
        try:
            yield from reader.documents()
            return
        except yaml.YAMLError as error:
            problem = _explained(error, text, first_line)
            yield YamlDocument(reader.number, None, [problem], [], problem.line, [])
            mark = getattr(error, "problem_mark", None)
        except _Unreadable as reason:
            yield reader.unreadable(reason)
            mark = reason.event.start_mark
        finally:
            reader.close()
        following = _SEPARATOR.search(text, max(mark.index, 1)) if mark else None
        if following is None:
            return
        first_line += text.count("\n", 0, following.start())
        first_number = reader.number + 1
        text = text[following.start() :]


class _Reader:
    """Reads documents until the first syntax error, which it raises."""

    def __init__(self, text: str, number: int, line: int, finder: _Finder | None) -> None:
        self._finder = finder
        self._loader = _Loader(text)
        self.number = number  # of the document being read
        self._first_line = line
        self._limit = len(text) + MAX_ALIASED_VALUES
        self._start_document()

    def close(self) -> None:
        self._loader.dispose()

    def documents(self) -> Iterator[YamlDocument]:
        while not isinstance(event := self._next(), yaml.StreamEndEvent):
            if not isinstance(event, yaml.DocumentStartEvent):
                continue
            root = self._next()
            value = self._value(root)
            line = self._line(root)
            yield YamlDocument(
                self.number, value, self._problems, self._repeated, line, self._item_lines
            )
            self.number += 1
            self._start_document()

    def unreadable(self, reason: _Unreadable) -> YamlDocument:
        """Return the document that is being read, without a value."""
        del self._path[_SHOWN_STEPS:]
        self._note(str(reason), reason.event)
        line = self._problems[-1].line
        return YamlDocument(self.number, None, self._problems, self._repeated, line, [])

    def _start_document(self) -> None:
        self._anchors: dict[str, tuple[object, int]] = {}  # value, and how many values it holds
        self._path: list[str | int] = []  # keys and indices; put into words when one is needed
        self._problems: list[Problem] = []
        self._repeated: list[Problem] = []
        self._item_lines: list[int] = []
        self._values = 0

    def _next(self) -> Any:
        event = self._loader.get_event()
        if event is None:  # past the end, where every loop here would run forever
            raise RuntimeError("the YAML parser has no more events")
        return event

    def _note(self, text: str, event: Any) -> None:
        self._problems.append(self._problem(text, event))

    def _problem(self, text: str, event: Any) -> Problem:
        return Problem(_named(self._path), text, self._line(event))

    def _line(self, event: Any) -> int:
        return self._first_line + int(event.start_mark.line)

    def _value(self, event: Any) -> object:
        before = self._values
        self._values += 1
        value: object
        if isinstance(event, yaml.ScalarEvent):
            if event.tag is None:  # as nearly all of them
                value = resolve(event.value) if event.implicit[0] else event.value
            else:
                value = self._tagged(event)
        elif isinstance(event, yaml.AliasEvent):
            return self._aliased(event)
        elif len(self._path) >= MAX_DEPTH:
            raise _Unreadable(f"more than {MAX_DEPTH} levels deep", event)
        elif isinstance(event, yaml.MappingStartEvent):
            value = self._mapping()
        else:
            value = self._sequence()
        if event.anchor:
            self._anchors[event.anchor] = (value, self._values - before)
        return value

    def _aliased(self, event: Any) -> object:
        if event.anchor not in self._anchors:
            self._note(f"no anchor &{event.anchor} before *{event.anchor}", event)
            return None
        value, size = self._anchors[event.anchor]
        self._values += size
        if self._values > self._limit:
            raise _Unreadable("aliases multiply to too many values", event)
        return value

    def _sequence(self) -> list[object]:
        values: list[object] = []
        of_list = self._path == ["items"]
        while not isinstance(event := self._next(), yaml.SequenceEndEvent):
            self._path.append(len(values))
            if of_list:
                self._item_lines.append(self._line(event))
            if self._finder:
                self._finder.see(self.number, self._path, self._line(event))
            values.append(self._value(event))
            self._path.pop()
        return values

    def _mapping(self) -> dict[str, object]:
        values: dict[str, object] = {}
        events: dict[str, Any] = {}
        merged: dict[str, object] = {}
        path = self._path
        while not isinstance(event := self._next(), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                raise _Unreadable("a key must be a string", event)
            plain = event.implicit[0]
            key = _as_key(event.value) if plain else str(event.value)
            if key is None:
                raise _Unreadable("a key must not be null", event)
            path.append(key)
            if self._finder:
                self._finder.see(self.number, path, self._line(event))
            value = self._value(self._next())
            if key == "<<" and plain:
                merged = self._merge(merged, value, event)
            else:
                if key in values:
                    first = self._line(events[key])
                    self._repeated.append(
                        self._problem(f"given twice, first on line {first}", event)
                    )
                values[key] = value
                events[key] = event
            path.pop()
        return merged | values if merged else values

    def _merge(self, merged: dict[str, object], value: object, event: Any) -> dict[str, object]:
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, dict):
                merged = each | merged
            else:
                self._note("<< needs a mapping, or a list of mappings", event)
        return merged

    def _tagged(self, event: Any) -> object:
        if types := _TAGGED.get(event.tag):
            value = resolve(event.value)
            if type(value) in types:
                return value
            name = event.tag.removeprefix(_TAG)
            self._note(f"{shown(event.value)} cannot be read as !!{name}", event)
        elif event.tag not in ("!", f"{_TAG}str"):
            self._note(f"the tag {event.tag} is not supported", event)
        return event.value


def _named(path: Iterable[str | int]) -> str:
    steps = (step(each) if isinstance(each, str) else f"[{each}]" for each in path)
    return "".join(steps).lstrip(".")


def resolve(text: str) -> str | int | float | bool | None:
    """Return the value of a plain (unquoted) scalar."""
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if text[0] not in _NUMBER_BEGINS or len(text) > _MAX_DIGITS:
        return text
    digits = text.replace("_", "")
    if match := _INTEGER.fullmatch(digits):
        kind = match.lastgroup or "dec"
        return int(match["sign"] + match[kind], _BASES[kind])
    if _FLOAT.fullmatch(digits):
        value = float(digits)
        return value if isfinite(value) else text
    return float(text.replace(".", "")) if _NOT_FINITE.fullmatch(text) else text


@lru_cache(maxsize=4096)
def _as_key(text: str) -> str | None:
    """Return the key that a plain scalar is: JSON has only text, so `on` is `true`, `0x10` `16`."""
    match value := resolve(text):
        case bool():
            return str(value).lower()
        case float():
            return f"{value:g}"
    return None if value is None else str(value)


def _explained(error: yaml.YAMLError, text: str, first_line: int) -> Problem:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        told = str(error.problem)
        if error.context and error.context_mark:
            told += f", {error.context} from line {first_line + error.context_mark.line}"
        return Problem("", told, first_line + error.problem_mark.line)
    character = getattr(error, "character", None)
    if isinstance(character, int):
        line = first_line + text.count("\n", 0, max(0, text.find(chr(character))))
        return Problem("", f"the character U+{character:04X} is not allowed in YAML", line)
    return Problem("", " ".join(str(error).split()))
