"""The table of docs/trace.md that describes the JSON of `kproxy trace`, and a check against it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs/trace.md"
_ROW = re.compile(r"^\| `([\w.\[\]]+)` \| ([\w ]+) \|", re.MULTILINE)
_NAMES = {str: "string", bool: "boolean", int: "integer", dict: "object", list: "array"}


def table() -> dict[str, set[str]]:
    """Return the types of each field by its path, such as `hops[].before.source`."""
    return {path: set(types.split(" or ")) for path, types in _ROW.findall(PAGE.read_text())}


def fields(value: object, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield path and type of all that is in a JSON value."""
    if path and not path.endswith("[]"):
        yield path, "null" if value is None else _NAMES[type(value)]
    if isinstance(value, dict):
        for name, each in value.items():
            yield from fields(each, f"{path}.{name}" if path else name)
    if isinstance(value, list):
        for each in value:
            yield from fields(each, f"{path}[]")


def schema_problems(value: object) -> list[str]:
    """Return how the JSON of an itinerary differs from the page: fields unknown, missing, or of
    another type.
    """
    described, found = table(), [*fields(value)]
    problems = [
        f"{path}: {kind}, not {described.get(path, 'described')}"
        for path, kind in found
        if kind not in described.get(path, ())
    ]
    there = {path for path, _ in found}
    for path in described:
        parent = path.rpartition(".")[0].removesuffix("[]")
        nothing = parent and (parent, "null") in found
        if path not in there and not nothing and (not parent or _has_any(value, parent)):
            problems.append(f"{path}: missing")
    return problems


def _has_any(value: object, path: str) -> bool:
    """Tell whether there is an object at a path, and no empty array on the way."""
    here = [value]
    for part in path.split("."):
        found: list[object] = []
        for each in here:
            inner = each.get(part.removesuffix("[]")) if isinstance(each, dict) else None
            found += inner if isinstance(inner, list) else [inner]
        here = [each for each in found if each is not None]
    return any(isinstance(each, dict) for each in here)
