"""Decoding as the API server does it for kubectl: types and field names must be right.

kubectl asks for `fieldValidation=Strict`. `schema.json` lists the fields of the kinds that kproxy
knows with their types in Go, which the server names: those of Kubernetes 1.36, taken from the
models of its Python client 36.0.
Source: sigs.k8s.io/json (UnmarshalStrict), apimachinery pkg/apis/meta/v1/time.go, util/intstr,
pkg/api/resource
"""

from __future__ import annotations

import json
import re
from binascii import Error, a2b_base64
from collections.abc import Callable, Container, Iterator
from functools import cache
from typing import Any

from msgspec import Raw

from kproxy.api.go import quoted, time_problem
from kproxy.api.quantities import SUFFIXES

_QUANTITY = r"([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)"
_LIMITS = {"int32": 2**31, "int64": 2**63}
_MOST_FAULTS = 100  # that the server collects
_DISCOVERY = "Discovery"  # before the names of types that the core API has, too


class Repeated(dict[str, Any]):
    """An object of a JSON text with repeated keys; the last value of each is valid."""

    pairs: tuple[tuple[str, Any], ...] = ()  # all of them, in the order of the text


class _Mismatch(Exception):
    """The text of a value cannot be read by its type; the server looks no further."""


def parse(text: Raw) -> Any:
    """Return the value of a JSON text, with a `Repeated` for each object that repeats a key."""
    return json.loads(bytes(text), object_pairs_hook=_pairs)


def refusal(value: object, kind: str, api_version: str) -> tuple[str, str]:
    """Return the API server's refusal to decode `value` as a `kind`, "" if it decodes it, and the
    path of the first field that is wrong.
    """
    walk = _Walk()
    try:
        walk.value(value, kind, owner="", names="", path="")
        told = walk.mismatch
        if not told and walk.strict:
            told = f"strict decoding error: {', '.join(walk.strict)}"
    except _Mismatch as error:
        told = str(error)
    version = api_version.rpartition("/")[2]
    what = f'{kind} in version "{version}" cannot be handled as a {kind}'
    return f"{what}: {told}" if told else "", walk.first


class _Walk:
    """Finds the first value of a wrong type, and all fields that are unknown or repeated."""

    def __init__(self) -> None:
        self.mismatch = ""
        self.strict: list[str] = []
        self.first = ""  # the path of the first fault

    def value(self, value: object, kind: str, *, owner: str, names: str, path: str) -> None:
        """Check one value. `owner` is the struct that has it; `names` is its path without indexes.

        A null stands for an absent value.
        """
        if value is None or kind == "any":
            return
        if kind == "Time":
            self._in(path, _check_time, value)
        elif kind == "Quantity":
            self._in(path, _check_quantity, value)
        elif kind == "IntOrString":
            self._in(path, _check_int_or_string, value)
        elif kind == "Bytes" and isinstance(value, str):
            self._in(path, _check_base64, value)
        elif kind.startswith("[]"):
            if isinstance(value, list | tuple):
                for i, each in enumerate(value):
                    self.value(each, kind[2:], owner=owner, names=names, path=f"{path}[{i}]")
            else:
                self._mismatch(value, kind, owner, names, path)
        elif kind.startswith("map[string]"):
            if isinstance(value, dict):
                for key, each in self._pairs(value, path):
                    inner = kind.removeprefix("map[string]")
                    self.value(each, inner, owner=owner, names=names, path=_join(path, key))
            else:
                self._mismatch(value, kind, owner, names, path)
        elif (fields := _schema().get(kind)) is not None:
            if isinstance(value, dict):
                self._fields(value, kind, fields, names, path)
            else:
                self._mismatch(value, kind, owner, names, path)
        elif not _is_plain(value, kind):
            self._mismatch(value, kind, owner, names, path)

    def _fields(
        self, value: dict[str, Any], kind: str, fields: dict[str, str], names: str, path: str
    ) -> None:
        for key, each in self._pairs(value, path, fields):
            if inner := fields.get(key):
                place = {"names": _join(names, key), "path": _join(path, key)}
                self.value(each, inner, owner=kind, **place)
            else:
                self._strict("unknown", _join(path, str(key)))

    def _pairs(
        self, value: dict[str, Any], path: str, known: Container[str] | None = None
    ) -> Iterator[tuple[str, Any]]:
        """Yield keys and values, and note what is repeated: of a struct, of the `known` fields."""
        if not isinstance(value, Repeated):
            yield from value.items()
            return
        seen = set[str]()
        for key, each in value.pairs:
            if key in seen and (known is None or key in known):
                self._strict("duplicate", _join(path, key))
            seen.add(key)
            yield key, each

    def _strict(self, fault: str, path: str) -> None:
        told = f"{fault} field {quoted(path)}"
        if told not in self.strict and len(self.strict) < _MOST_FAULTS:
            self.strict.append(told)
        self.first = self.first or path

    def _in(self, path: str, check: Callable[[Any], None], value: object) -> None:
        try:
            check(value)
        except _Mismatch:
            self.first = path
            raise

    def _mismatch(self, value: object, kind: str, owner: str, names: str, path: str) -> None:
        if not self.mismatch:
            self.first = path
            place = f"Go struct field {owner.removeprefix(_DISCOVERY)}.{names}"
            if not owner:
                place = "Go value"
            numeric = kind in _LIMITS
            self.mismatch = f"json: cannot unmarshal {_told(value, numeric=numeric)} into {place}"
            self.mismatch += f" of type {_go_type(kind)}"


def _check_time(value: object) -> None:
    if not isinstance(value, str):
        told = f"json: cannot unmarshal {_told(value)} into Go value of type string"
        raise _Mismatch(told)
    if told := time_problem(value):
        raise _Mismatch(told)


def _check_quantity(value: object) -> None:
    text = value.strip() if isinstance(value, str) else json.dumps(value)
    found = re.fullmatch(_QUANTITY, text)
    if not found or not re.match(r"[+-]?\d*(\.\d*)?([^\d.]|$)", text):
        raise _Mismatch(f"quantities must match the regular expression '^{_QUANTITY}$'")
    if found[2] not in SUFFIXES and not re.fullmatch(r"[eE][-+]?\d+", found[2]):
        raise _Mismatch("unable to parse quantity's suffix")


def _check_int_or_string(value: object) -> None:
    if not isinstance(value, str) and not _is_plain(value, "int32"):
        told = f"json: cannot unmarshal {_told(value, numeric=True)} into Go value of type int32"
        raise _Mismatch(told)


def _check_base64(value: str) -> None:
    try:
        a2b_base64(value.replace("\n", "").replace("\r", ""), strict_mode=True)
    except (Error, ValueError):
        foreign = re.search(r"[^A-Za-z0-9+/=\r\n]", value)
        where = foreign.start() if foreign else len(value)
        raise _Mismatch(f"illegal base64 data at input byte {where}") from None


def _is_plain(value: object, kind: str) -> bool:
    if kind == "bool":
        return isinstance(value, bool)
    if kind in _LIMITS:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        if isinstance(value, float) and not value.is_integer():
            return False
        return -_LIMITS[kind] <= value < _LIMITS[kind]
    if kind == "float64":
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, str)


def _told(value: object, *, numeric: bool = False) -> str:
    """Return what kind of JSON value it is; for a number that does not fit, which."""
    match value:
        case bool():
            return "bool"
        case str():
            return "string"
        case int() | float():
            return f"number {json.dumps(value)}" if numeric else "number"
        case dict():
            return "object"
    return "array"


def _go_type(kind: str) -> str:
    """Return the name of a type with its package, as Go prints it."""
    found = re.fullmatch(r"((?:\[\]|map\[string\])*)(.*)", kind)
    lead, name = (found[1], found[2]) if found else ("", kind)
    if name == "Bytes":
        return f"{lead}[]uint8"
    own = name in _schema()
    return f"{lead}v1.{name.removeprefix(_DISCOVERY)}" if own else kind


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    repeated = Repeated(found)
    repeated.pairs = tuple(pairs)
    return repeated


@cache
def _schema() -> dict[str, dict[str, str]]:
    from importlib.resources import files

    text = files("kproxy.api").joinpath("schema.json").read_text()
    schema: dict[str, dict[str, str]] = json.loads(text)
    return schema
