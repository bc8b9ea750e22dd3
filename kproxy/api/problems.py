"""What is wrong with one object, field by field."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

_SHOWN_CHARACTERS = 80


class Problem(NamedTuple):
    """`field` is a Kubernetes path such as `spec.ports[0].port`; "" is the whole object."""

    field: str
    text: str

    def at(self, where: str) -> str:
        """The line for a person: `where: field: text`."""
        return ": ".join(part for part in (where, self.field, self.text) if part)


class Report:
    """Collects the problems of one object, and notices of what is allowed but may surprise.

    `malformed` are those found while decoding. The fields they name hold stand-ins, so nothing that
    is found about them later is worth telling.
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
        """Whether the value of `field`, or of a field in it or around it, is a stand-in."""
        return bool(self._malformed) and any(
            _contains(field, each) or _contains(each, field) for each in self._malformed
        )


def shown(value: object) -> str:
    """A value for people: one line, not too long."""
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


def step(key: str) -> str:
    """One step of a field path: `.spec`, or `[kubernetes.io/service-name]` for other keys."""
    if key.isidentifier():
        return f".{key}"
    return f"[{key}]" if key.isprintable() and len(key) <= _SHOWN_CHARACTERS else f"[{shown(key)}]"


def _contains(outer: str, inner: str) -> bool:
    if not outer:
        return True
    return inner.startswith(outer) and inner[len(outer) : len(outer) + 1] in ("", ".", "[")
