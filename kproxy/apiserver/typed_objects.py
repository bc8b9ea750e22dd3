"""The check of an object that is applied: every field is declared, and has a value of its type.

Unlike other writes, server-side apply refuses unknown fields whatever `fieldValidation` says.
Source: sigs.k8s.io/structured-merge-diff, typed/validate.go
"""

from __future__ import annotations

from collections.abc import Iterator

from kproxy.apiserver.field_sets import NotTyped, Path, elements, path_text
from kproxy.apiserver.schema_data import Schema
from kproxy.apiserver.strategic_merge import go_text
from kproxy.controlplane.plane import Json

_GO_TYPES = {str: "string", bool: "bool", list: "[]interface {}", dict: "map[string]interface {}"}


def typed_problems(document: Json, schema: Schema) -> list[str]:
    """Return the server's words for what does not fit: `.spec.foo: field not declared in schema`.

    A kind without a schema fits whatever it is.
    """
    return [f"{path_text(path)}: {words}" for path, words in _problems(document, schema, ())]


def joined(problems: list[str]) -> str:
    """Return one message for several problems, as the server words it."""
    return (
        problems[0] if len(problems) == 1 else "\n".join(["errors:", *(f"  {p}" for p in problems)])
    )


def _problems(value: object, schema: Schema, path: Path) -> Iterator[tuple[Path, str]]:
    if value is None:
        return
    match schema.type:
        case "object" if not isinstance(value, dict):
            yield path, f"expected map, got &{{{go_text(value)}}}"
        case "array" if not isinstance(value, list):
            yield path, f"expected list, got &{{{go_text(value)}}}"
        case "string" if not isinstance(value, str):
            yield path, f"expected string, got &value.valueUnstructured{{Value:{go_text(value)}}}"
        case "boolean" if not isinstance(value, bool):
            yield path, f"expected boolean, got &{{{go_text(value)}}}"
        case "integer" | "number" if isinstance(value, bool) or not isinstance(value, int | float):
            yield path, f"expected numeric (int or float), got {_GO_TYPES[type(value)]}"
        case _:
            yield from _inner_problems(value, schema, path)


def _inner_problems(value: object, schema: Schema, path: Path) -> Iterator[tuple[Path, str]]:
    if isinstance(value, dict):
        for name, each in value.items():
            below = (*path, f"f:{name}")
            if schema.open or name in schema.fields:
                yield from _problems(each, schema.field(name), below)
            else:
                yield below, "field not declared in schema"
    elif isinstance(value, list) and schema.list_type == "atomic":
        for place, each in enumerate(value):
            yield from _problems(each, schema.items, (*path, f"i:{place}"))
    elif isinstance(value, list):
        seen: set[str] = set()
        try:
            for element, each in elements(value, schema):
                if element in seen:
                    yield path, f"duplicate entries for key {path_text((element,))}"
                seen.add(element)
                yield from _problems(each, schema.items, (*path, element))
        except NotTyped as problem:
            yield path, str(problem)
