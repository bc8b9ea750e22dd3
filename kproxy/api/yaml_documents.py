"""Reads YAML text into plain values, document by document.

It uses the parser's events and not PyYAML's constructors, because these keep the last of two
equal keys, read `2024-01-01` as a date and `12:30` as 750, and recurse without limit. Scalars are
read as Kubernetes' tools read them (YAML 1.1 without dates and base 60).
Importing this module imports yaml.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import yaml

from kproxy.api.problems import Problem, step

MAX_DEPTH = 100  # Kubernetes objects have about ten levels
MAX_ALIASED_VALUES = 1_000_000  # beyond those the text itself holds: a guard against YAML bombs

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_SEPARATOR = re.compile(r"^---(?=\s|\Z)", re.MULTILINE)
_TAG = "tag:yaml.org,2002:"
_PLAIN_TAGS = {f"{_TAG}{name}" for name in ("null", "bool", "int", "float")}
_CONSTANTS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON"), True),
    **dict.fromkeys(("false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF"), False),
}
_NUMBER_BEGINS = frozenset("+-.0123456789")
_INTEGER = re.compile(
    r"(?P<sign>[-+]?)(?:0[xX](?P<hex>[0-9a-fA-F_]+)|0[bB](?P<bin>[01_]+)|0o?(?P<oct>[0-7_]+)"
    r"|(?P<dec>0|[1-9][0-9_]*))"
)
_BASES = {"hex": 16, "bin": 2, "oct": 8, "dec": 10}
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_MAX_DIGITS = 100


class YamlDocument(NamedTuple):
    """One document; `number` counts from 1. With `problems`, `value` is incomplete or None."""

    number: int
    value: Any
    problems: list[Problem]


class _Unreadable(Exception):
    """The rest of this document cannot be read."""


def documents(text: str) -> Iterator[YamlDocument]:
    """Yield all documents of `text`. After a syntax error reading continues at the next `---`."""
    first_number, first_line = 1, 1
    while True:
        reader = _Reader(text, first_number, first_line)
        try:
            yield from reader.documents()
            return
        except yaml.YAMLError as error:
            yield YamlDocument(
                reader.number, None, [Problem("", _explain(error, text, first_line))]
            )
            mark = getattr(error, "problem_mark", None)
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

    def __init__(self, text: str, number: int, line: int) -> None:
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
            try:
                value = self._value(self._next())
            except _Unreadable as reason:
                self._note(str(reason))
                value = None
                while not isinstance(self._next(), yaml.DocumentEndEvent):
                    pass
            yield YamlDocument(self.number, value, self._problems)
            self.number += 1
            self._start_document()

    def _start_document(self) -> None:
        self._anchors: dict[str, tuple[object, int]] = {}  # value, and how many values it holds
        self._path: list[str] = []
        self._problems: list[Problem] = []
        self._values = 0

    def _next(self) -> Any:
        event = self._loader.get_event()
        if event is None:  # past the end, where every loop here would run forever
            raise RuntimeError("the YAML parser has no more events")
        return event

    def _note(self, text: str) -> None:
        self._problems.append(Problem("".join(self._path).lstrip("."), text))

    def _line(self, event: Any) -> int:
        return self._first_line + int(event.start_mark.line)

    def _value(self, event: Any) -> object:
        before = self._values
        self._values += 1
        if isinstance(event, yaml.AliasEvent):
            return self._aliased(event)
        if isinstance(event, yaml.ScalarEvent):
            value = self._scalar(event)
        elif len(self._path) >= MAX_DEPTH:
            raise _Unreadable(f"line {self._line(event)}: more than {MAX_DEPTH} levels deep")
        elif isinstance(event, yaml.MappingStartEvent):
            value = self._mapping()
        else:
            value = self._sequence()
        if event.anchor:
            self._anchors[event.anchor] = (value, self._values - before)
        return value

    def _aliased(self, event: Any) -> object:
        if event.anchor not in self._anchors:
            self._note(
                f"line {self._line(event)}: no anchor &{event.anchor} before *{event.anchor}"
            )
            return None
        value, size = self._anchors[event.anchor]
        self._values += size
        if self._values > self._limit:
            raise _Unreadable(f"line {self._line(event)}: aliases multiply to too many values")
        return value

    def _sequence(self) -> list[object]:
        values: list[object] = []
        while not isinstance(event := self._next(), yaml.SequenceEndEvent):
            self._path.append(f"[{len(values)}]")
            values.append(self._value(event))
            self._path.pop()
        return values

    def _mapping(self) -> dict[str, object]:
        values: dict[str, object] = {}
        lines: dict[str, int] = {}
        merged: dict[str, object] = {}
        while not isinstance(event := self._next(), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                raise _Unreadable(f"line {self._line(event)}: a key must be a string")
            key: str = event.value
            self._path.append(step(key))
            value = self._value(self._next())
            if key == "<<" and event.implicit[0]:
                merged = self._merge(merged, value)
            elif key in values:
                first, second = lines[key], self._line(event)
                place = f"line {first}" if first == second else f"lines {first} and {second}"
                self._note(f"given twice, on {place}")
            else:
                values[key] = value
                lines[key] = self._line(event)
            self._path.pop()
        return merged | values

    def _merge(self, merged: dict[str, object], value: object) -> dict[str, object]:
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, dict):
                merged = each | merged
            else:
                self._note("<< needs a mapping, or a list of mappings")
        return merged

    def _scalar(self, event: Any) -> object:
        plain = event.implicit[0] if event.tag is None else event.tag in _PLAIN_TAGS
        if plain:
            return resolve(event.value)
        if event.tag not in (None, "!", f"{_TAG}str"):
            self._note(f"line {self._line(event)}: the tag {event.tag} is not supported")
        return event.value


def resolve(text: str) -> str | int | float | bool | None:
    """Return the value of a plain (unquoted) scalar."""
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if text[0] not in _NUMBER_BEGINS or len(text) > _MAX_DIGITS:
        return text
    if match := _INTEGER.fullmatch(text):
        kind = match.lastgroup or "dec"
        digits = match[kind].replace("_", "")
        return int(match["sign"] + digits, _BASES[kind]) if digits else text
    if _FLOAT.fullmatch(text):
        return float(text)
    return float(text.replace(".", "")) if _NOT_FINITE.fullmatch(text) else text


def _explain(error: yaml.YAMLError, text: str, first_line: int) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        told = f"line {first_line + error.problem_mark.line}: {error.problem}"
        if error.context and error.context_mark:
            told += f", {error.context} from line {first_line + error.context_mark.line}"
        return told
    character = getattr(error, "character", None)
    if isinstance(character, int):
        line = first_line + text.count("\n", 0, max(0, text.find(chr(character))))
        return f"line {line}: the character U+{character:04X} is not allowed in YAML"
    return " ".join(str(error).split())
