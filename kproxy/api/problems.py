"""Problems of one object, by field."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

_SHOWN_CHARACTERS = 80


class Problem(NamedTuple):
    """One fault. `field` is a path such as `spec.ports[0].port`, or "" for the whole object.

    `line` is where the file has it, counted from 1; 0 if that is not known. `within` is the path of
    a field that the text names itself.
    """

    field: str
    text: str
    line: int = 0
    within: str = ""

    def at(self, where: str, subject: str = "") -> str:
        """Return the line to print: `where:line: subject: field: text`, of what is known."""
        place = f"{where}:{self.line}" if where and self.line else where
        return ": ".join(part for part in (place, subject, self.field, self.text) if part)


class Report:
    """Collects the problems of one object, and notices of what is allowed but may surprise.

    `malformed` are those found while decoding. The fields they name hold stand-ins, so later
    problems of those fields are not recorded.
    """

    __slots__ = ("_malformed", "notices", "problems")

    def __init__(self, malformed: Iterable[Problem] = ()) -> None:
        self.problems = list(malformed)
        self.notices: list[Problem] = []
        self._malformed = [problem.field for problem in self.problems]

    def add(self, field: str, text: str) -> None:
        if not self.doubts(field):
            self.problems.append(Problem(field, text))

    def doubts(self, field: str) -> bool:
        """Tell whether the value of `field`, or of a field in it or around it, is a stand-in."""
        return bool(self._malformed) and any(
            _contains(field, each) or _contains(each, field) for each in self._malformed
        )


def one_of(choices: Sequence[str]) -> str:
    return f"{', '.join(choices[:-1])} or {choices[-1]}" if len(choices) > 1 else choices[0]


def shown(value: object) -> str:
    """Return a value as one line for a message, cut to a readable length."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case dict():
            return "an object"
        case list():
            return "a list"
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "..."


@lru_cache(maxsize=4096)  # a manifest has the same keys again and again
def step(key: str) -> str:
    """Return one step of a field path: `.spec`, or `[example.com/key]` if not an identifier."""
    if key.isidentifier():
        return f".{key}"
    return f"[{key}]" if key.isprintable() and len(key) <= _SHOWN_CHARACTERS else f"[{shown(key)}]"


def _contains(outer: str, inner: str) -> bool:
    if not outer:
        return True
    return inner.startswith(outer) and inner[len(outer) : len(outer) + 1] in ("", ".", "[")
