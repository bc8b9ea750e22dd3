"""The verdict of the API server's decoder on a document: unknown and duplicate fields, wrong types.

A value of the wrong type is always refused. Unknown and duplicate fields are refused, told in
warnings or dropped, as `fieldValidation` says. Source: sigs.k8s.io/json, and the decoders of
apimachinery.
"""

from __future__ import annotations

import json
import re
from binascii import Error, a2b_base64
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

from kproxy.apiserver.schema_data import Schema, data, schema_of
from kproxy.controlplane.plane import Json, Refused

Kind = tuple[str, str, str]  # group, version, kind
MOST_PROBLEMS = 100  # of one document; sigs.k8s.io/json: maxStrictErrors
_QUANTITY = re.compile(r"([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)")
_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")
_RANGES = {"int32": 1 << 31, "int64": 1 << 63}


def problems(document: Json, kind: Kind) -> list[str]:
    """Return the server's words for each unknown field: `unknown field "spec.foo"`, in order.

    A kind without a schema has no unknown fields.
    """
    found = _unknown(document, schema_of(*kind), "")
    return [f'unknown field "{path}"' for path, _ in zip(found, range(MOST_PROBLEMS), strict=False)]


def fits(document: Json, kind: Kind) -> bool:
    """Say whether a document has known fields of the right types only, in one quick look.

    False is no judgement: then the other functions say what is wrong, if anything is.
    """
    return _fits(document, schema_of(*kind))


def known(document: Json, kind: Kind) -> Json:
    """Return the document without unknown fields, which no server stores. Parts may be shared."""
    made = _known(document, schema_of(*kind))
    return made if isinstance(made, dict) else {}


def duplicates(body: bytes | str) -> list[str]:
    """Return the server's words for fields that a JSON text has twice: `duplicate field "kind"`.

    The text must be JSON, else this raises ValueError.
    """

    def twice(pairs: list[tuple[str, Any]]) -> object:
        made = dict(pairs)
        return made if len(made) == len(pairs) else _Pairs(pairs)

    # Numbers stay text: they are not asked for, and may have any number of digits.
    document = json.loads(body, object_pairs_hook=twice, parse_int=str, parse_float=str)
    found = _duplicates(document, "")
    return [
        f'duplicate field "{path}"' for path, _ in zip(found, range(MOST_PROBLEMS), strict=False)
    ]


def refuse_wrong_types(document: Json, kind: Kind) -> None:
    """Raise Refused (400) for the first value whose type is not that of its field."""
    if (wrong := wrong_type(document, kind)) is not None:
        raise cannot_be_handled(kind, wrong)


def wrong_type(document: Json, kind: Kind) -> str | None:
    """Return the decoder's words for the first value of a wrong type, or None."""
    return next(_wrong(document, schema_of(*kind), _Place("", "", "")), None)


def strict_error(found: list[str]) -> str:
    """Return the words of the refusal for problems that `fieldValidation=Strict` does not allow."""
    return f"strict decoding error: {', '.join(found)}"


def cannot_be_handled(kind: Kind, why: str) -> Refused:
    """Return the refusal (400) of a body that cannot be decoded."""
    _, version, name = kind
    message = f'{name} in version "{version}" cannot be handled as a {name}: {why}'
    return Refused(message, status=400, reason="BadRequest")


class _Place(NamedTuple):
    """Where a value stands: the field of a type, by its definition's name, and the whole path."""

    struct: str
    field: str
    path: str


class _Pairs(list[tuple[str, Any]]):
    """An object in which a name stands twice."""


def _duplicates(value: object, path: str) -> Iterator[str]:
    if isinstance(value, _Pairs):
        seen: set[str] = set()
        for key, each in value:
            if key in seen:
                yield _below(path, key)
            seen.add(key)
            yield from _duplicates(each, _below(path, key))
    elif isinstance(value, dict):
        for key, each in value.items():
            yield from _duplicates(each, _below(path, key))
    elif isinstance(value, list):
        for place, each in enumerate(value):
            yield from _duplicates(each, f"{path}[{place}]")


def _below(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _unknown(value: object, schema: Schema, path: str) -> Iterator[str]:
    if isinstance(value, dict):
        for key, each in value.items():
            below = _below(path, key)
            if schema.open or key in schema.fields:
                yield from _unknown(each, schema.field(key), below)
            else:
                yield below
    elif isinstance(value, list):
        for place, each in enumerate(value):
            yield from _unknown(each, schema.items, f"{path}[{place}]")


def _fits(value: object, schema: Schema) -> bool:
    if isinstance(value, str):
        return schema.takes_text or not schema.type or _own_words(value, schema) == ""
    if isinstance(value, dict):
        if fields := schema.fields:
            for key, each in value.items():
                if (inner := fields.get(key)) is None:
                    return False
                # Most values are such: to see that here halves the time.
                if not (type(each) is str and inner.takes_text) and not _fits(each, inner):
                    return False
            return schema.type == "object"
        if (values := schema.values) is None:
            return not schema.type or schema.type == "object"
        return schema.type == "object" and all(_fits(each, values) for each in value.values())
    if isinstance(value, list):
        items = schema.items
        return schema.type == "array" and all(_fits(each, items) for each in value)
    if value is None or not schema.type:
        return True
    if type(value) is int and schema.type in ("integer", "int-or-string"):
        return -_RANGES["int32"] <= value < _RANGES["int32"] or _mismatch(value, schema) is None
    return _own_words(value, schema) == "" or _mismatch(value, schema) is None


def _known(value: object, schema: Schema) -> object:
    if isinstance(value, dict):
        return {
            key: _known(each, schema.field(key))
            for key, each in value.items()
            if schema.open or key in schema.fields
        }
    if isinstance(value, list):
        return [_known(each, schema.items) for each in value]
    return value


def _wrong(value: object, schema: Schema, place: _Place) -> Iterator[str]:
    """The decoder's words for wrong types, in order."""
    if value is None or not schema.type:
        return
    if (words := _own_words(value, schema)) is not None:
        if words:
            yield words
    elif isinstance(value, dict) and schema.type == "object":
        for key, each in value.items():
            # The decoder's path has no keys of maps.
            inner = _Place(schema.name, key, _below(place.path, key)) if schema.fields else place
            yield from _wrong(each, schema.field(key), inner)
    elif isinstance(value, list) and schema.type == "array":
        for each in value:
            yield from _wrong(each, schema.items, place)
    elif (given := _mismatch(value, schema)) is not None:
        struct = place.struct.rpartition(".")[2]
        target = f"Go struct field {struct}.{place.path}" if struct else "Go value"
        kind = _go_type(schema, _named_text(place))
        yield f"json: cannot unmarshal {given} into {target} of type {kind}"


@cache
def _named_text(place: _Place) -> str:
    """Return the name of a text's type in Go, such as `v1.Protocol`, or "string"."""
    waiting = [place.struct]
    while waiting:
        for _, name, kind, _ in data("protobuf").get(waiting.pop(), ()):
            if name == place.field:
                return str(kind).partition(":")[2] or "string"
            if not name:
                waiting.append(kind)
    return "string"


def _mismatch(value: object, schema: Schema) -> str | None:
    """How the decoder calls a value that does not fit, or None."""
    match value, schema.type:
        case (bool(), "boolean") | (str(), "string") | (int() | float(), "number"):
            return None if not isinstance(value, bool) or schema.type == "boolean" else "bool"
        case int(), "integer" if not isinstance(value, bool):
            most = _RANGES.get(schema.format, 1 << 63)
            return None if -most <= value < most else f"number {value}"
        case float(), "integer":
            return f"number {value}"
        case bool(), _:
            return "bool"
        case int() | float(), _:
            return "number"
        case str(), _:
            return "string"
        case list(), _:
            return "array"
    return "object"


def _own_words(value: object, schema: Schema) -> str | None:
    """Words for a type that decodes itself: "" if the value fits, None for any other type."""
    if schema.type == "int-or-string":
        if isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool)):
            return ""
        return f"json: cannot unmarshal {_mismatch(value, schema)} into Go value of type int32"
    if schema.type == "quantity":
        if isinstance(value, int | float) and not isinstance(value, bool):
            return ""
        if isinstance(value, str) and _QUANTITY.fullmatch(value):
            return ""
        return (
            "quantities must match the regular expression "
            "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
        )
    if not isinstance(value, str):
        return None
    if schema.format == "date-time":
        if _TIME.fullmatch(value):
            return ""
        layout = "2006-01-02T15:04:05Z07:00"
        return f'parsing time "{value}" as "{layout}": cannot parse "{value}" as "2006"'
    if schema.format == "byte":
        try:
            a2b_base64(value.replace("\n", "").replace("\r", ""), strict_mode=True)
        except (Error, ValueError):
            return f"illegal base64 data at input byte {_illegal_byte(value)}"
        return ""
    return None


def _illegal_byte(text: str) -> int:
    foreign = re.search(r"[^A-Za-z0-9+/=\r\n]", text)
    return foreign.start() if foreign else len(text)


def _go_type(schema: Schema, text: str) -> str:
    """Return a type as Go writes it; `text` is the type of its texts."""
    match schema.type:
        case "integer":
            return schema.format or "int64"
        case "boolean":
            return "bool"
        case "number":
            return "float64"
        case "array":
            return f"[]{_go_type(schema.items, text)}"
        case "object" if schema.values:
            return f"map[string]{_go_type(schema.values, text)}"
        case "object" if schema.name:
            package, _, name = schema.name.rpartition(".")
            return f"{package.rpartition('.')[2]}.{name}"
        case "int-or-string":
            return "intstr.IntOrString"
        case "quantity":
            return "resource.Quantity"
    if schema.format == "byte":
        return "[]uint8"
    return "v1.Time" if schema.format == "date-time" else text
