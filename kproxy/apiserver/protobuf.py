"""Bodies of requests in Kubernetes' protobuf, as kubectl sends them for what it generates.

    6b 38 73 00 ("k8s", 0), runtime.Unknown {1: {1: apiVersion, 2: kind}, 2: message}

Field numbers and types are data, made from the types of kubectl. Decoding gives the document that
the client would have sent in JSON: what Go leaves out of JSON when it is empty is left out.
Sources: apimachinery, pkg/runtime/serializer/protobuf; https://protobuf.dev/programming-guides/encoding
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import cache
from typing import Any, NamedTuple

import msgspec

from kproxy.apiserver.schema_data import data, definition_name
from kproxy.controlplane.plane import Json, Refused

MAGIC = b"k8s\0"
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_EPOCH = datetime(1970, 1, 1)


class _Field(NamedTuple):
    name: str  # in JSON; "" for a message whose fields are those of its parent
    type: str  # of a value, without the mark of lists and maps
    form: str  # "", "[]" or "{}"
    kept: bool  # also when it is zero


class _Malformed(ValueError):
    """The bytes are no message of this type."""


def decoded(body: bytes) -> Json:
    """Return the document of a body of `application/vnd.kubernetes.protobuf`.

    Raises Refused (400) for what is no such body, and for a kind that the data do not have.
    """
    if not body.startswith(MAGIC):
        raise _refused(
            "the provided data does not appear to be a protobuf message, expected prefix"
        )
    try:
        unknown = dict(parts(body[len(MAGIC) :]))
        meta = dict(parts(_bytes(unknown.get(1, b""))))
        api_version, kind = (_bytes(meta.get(number, b"")).decode() for number in (1, 2))
        group, _, version = api_version.rpartition("/")
        name = definition_name(group, version, kind)
        if not name or name not in data("protobuf"):
            raise _refused(f'no kind "{kind}" is registered for version "{api_version}"')
        message = _message(_bytes(unknown.get(2, b"")), name)
    except (ValueError, msgspec.DecodeError, OverflowError, RecursionError) as error:
        raise _refused(f"the body is no protobuf message: {error}") from error
    return {"apiVersion": api_version, "kind": kind, **message}


def _refused(message: str) -> Refused:
    return Refused(message, status=400, reason="BadRequest")


@cache
def _fields(name: str) -> dict[int, _Field]:
    found = {}
    for number, field, coded, kept in data("protobuf")[name]:
        form = next((form for form in ("[]", "{}") if coded.startswith(form)), "")
        kind = coded.removeprefix(form).partition(":")[0]
        found[number] = _Field(field, kind, form, bool(kept))
    return found


def _message(raw: bytes, name: str) -> Json:
    """Decode a message. Fields that are not known are dropped, as by the API server."""
    fields = _fields(name)
    made: Json = {}
    embedded: Json = {}
    for number, value in parts(raw):
        if (field := fields.get(number)) is None:
            continue
        if field.form == "{}":
            entry = dict(parts(_bytes(value)))
            key = _bytes(entry.get(1, b"")).decode()
            made.setdefault(field.name, {})[key] = _value(entry.get(2), field.type)
        elif field.form == "[]":
            made.setdefault(field.name, []).extend(_elements(value, field.type))
        elif not field.name:
            embedded |= _message(_bytes(value), field.type)
        else:
            made[field.name] = _value(value, field.type)
    kept = {field.name for field in fields.values() if field.kept}
    stated = {
        key: value for key, value in made.items() if value is not None and (value or key in kept)
    }
    return stated | embedded


def _elements(value: int | bytes, kind: str) -> Iterator[Any]:
    if kind == "int" and isinstance(value, bytes):  # packed
        at = 0
        while at < len(value):
            number, at = _varint(value, at)
            yield _signed(number)
    else:
        yield _value(value, kind)


def _value(value: int | bytes | None, kind: str) -> Any:
    """Decode one value; None is an absent one, as in an entry of a map."""
    match kind:
        case "int":
            return _signed(_int(value))
        case "bool":
            return bool(_int(value))
        case "string":
            return _bytes(value).decode()
        case "bytes":
            return b64encode(_bytes(value)).decode()
    inner = [*parts(_bytes(value))]
    last = dict(inner)
    match kind:
        case "time" | "microtime":
            return _time(last, "microseconds" if kind == "microtime" else "seconds")
        case "quantity":
            return _bytes(last.get(1)).decode()
        case "items":
            return [_bytes(each).decode() for number, each in inner if number == 1]
        case "json":
            raw = _bytes(last.get(1))
            return msgspec.json.decode(raw) if raw else None
        case "intstr":
            if _int(last.get(1)):
                return _bytes(last.get(3)).decode()
            return _signed(_int(last.get(2)))
    return _message(_bytes(value), kind)


def _time(parts: dict[int, int | bytes], precision: str) -> str | None:
    if not parts:  # Go's zero time
        return None
    seconds, nanos = (_signed(_int(parts.get(number))) for number in (1, 2))
    moment = _EPOCH + timedelta(seconds=seconds, microseconds=nanos // 1000)
    return f"{moment.isoformat(timespec=precision)}Z"


def _int(value: int | bytes | None) -> int:
    if isinstance(value, bytes):
        raise _Malformed("a number is expected")
    return value or 0


def _bytes(value: int | bytes | None) -> bytes:
    if isinstance(value, int):
        raise _Malformed("bytes are expected")
    return value or b""


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def parts(raw: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Read a message: the numbers and values of its fields, in order. Raises ValueError."""
    at = 0
    while at < len(raw):
        tag, at = _varint(raw, at)
        wire = tag & 7
        if wire == _VARINT:
            value, at = _varint(raw, at)
            yield tag >> 3, value
            continue
        if wire == _BYTES:
            size, at = _varint(raw, at)
        elif wire in (_FIXED64, _FIXED32):
            size = 8 if wire == _FIXED64 else 4
        else:
            raise _Malformed(f"wire type {wire}")
        if at + size > len(raw):
            raise _Malformed("it ends too early")
        chunk = raw[at : at + size]
        at += size
        yield tag >> 3, chunk if wire == _BYTES else int.from_bytes(chunk, "little")


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(raw):
            raise _Malformed("it ends too early")
        byte = raw[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value & ((1 << 64) - 1), at
    raise _Malformed("a number is too long")
