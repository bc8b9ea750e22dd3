"""Converts plain values to structs, reporting every fault and accepting nulls.

msgspec does the same many times faster, but stops at the first fault and refuses the nulls that
Kubernetes writes for empty lists. So msgspec is tried first, and this for what it refuses.
"""

from __future__ import annotations

import types
from collections.abc import Collection
from enum import StrEnum
from functools import cache
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

import msgspec
from msgspec import NODEFAULT, Struct

from kproxy.api.problems import Problem, one_of, shown, step

_S = TypeVar("_S", bound=Struct)
_UNIONS = (types.UnionType, Union)  # `Literal[...] | None` is one or the other, by Python version
_NAMES = {int: "an integer", float: "a number", str: "a string", bool: "true or false"}


def build(value: object, kind: type[_S]) -> tuple[_S, list[Problem]]:
    """Return `value` as a `kind`, and its faults; fields with a fault hold stand-ins.

    A null counts as an absent field, and in a list as an empty item, as in Go. Fields that `kind`
    does not have are ignored.
    """
    problems: list[Problem] = []
    built: _S = _read(value, kind, "", problems)
    return built, problems


def _read(value: object, hint: Any, path: str, problems: list[Problem]) -> Any:
    if isinstance(hint, type) and issubclass(hint, Struct):
        return _read_struct(value, hint, path, problems)
    arguments = get_args(hint)
    match get_origin(hint):
        case origin if origin in _UNIONS:
            return _read_union(value, arguments, path, problems)
        case origin if origin is tuple:
            if isinstance(value, list):
                return tuple(
                    _stand_in(arguments[0])
                    if each is None
                    else _read(each, arguments[0], f"{path}[{i}]", problems)
                    for i, each in enumerate(value)
                )
            expected = "a list"
        case origin if origin is dict:
            if isinstance(value, dict):
                return {
                    key: _stand_in(arguments[1])
                    if each is None
                    else _read(each, arguments[1], path + step(key), problems)
                    for key, each in value.items()
                }
            expected = "an object"
        case origin if origin is Literal:
            if isinstance(value, str) and value in arguments:
                return value
            expected = one_of(arguments)
        case _ if _is_enum(hint):
            if isinstance(value, str) and value in list(hint):
                return hint(value)
            expected = one_of(tuple(hint))
        case _:
            value = by_value(value, (hint,))
            if type(value) is hint:
                return value
            expected = _NAMES[hint]
    return _refuse(value, expected, hint, path, problems)


def _read_struct(value: object, kind: type[Struct], path: str, problems: list[Problem]) -> Any:
    if not isinstance(value, dict):
        return _refuse(value, "an object", kind, path, problems)
    attributes = {}
    for info in _fields(kind):
        given = value.get(info.encode_name)
        field = f"{path}{step(info.encode_name)}".lstrip(".")
        if given is not None:
            attributes[info.name] = _read(given, info.type, field, problems)
        elif info.required:
            problems.append(Problem(field, "missing"))
            attributes[info.name] = _stand_in(info.type)
    return kind(**attributes)


def _read_union(value: object, arguments: Any, path: str, problems: list[Problem]) -> Any:
    """Read a union: an optional value, or one of several plain types."""
    choices = [each for each in arguments if each is not types.NoneType]
    if len(choices) == 1:
        return _read(value, choices[0], path, problems)
    value = by_value(value, choices)
    if type(value) in choices:
        return value
    told = [_NAMES[each] for each in choices if not (each is int and float in choices)]
    return _refuse(value, " or ".join(told), choices[0], path, problems)


def by_value(value: object, choices: Collection[object]) -> object:
    """Return 80 for 80.0, if `choices` allow an integer and no float. Other values are returned.

    Kubernetes' tools read manifests into JSON, which has one kind of number.
    """
    if isinstance(value, float) and value.is_integer() and int in choices and float not in choices:
        return int(value)
    return value


def _refuse(value: object, expected: str, hint: Any, path: str, problems: list[Problem]) -> Any:
    problems.append(Problem(path, f"expected {expected}, got {shown(value)}"))
    return _stand_in(hint)


def _stand_in(hint: Any) -> Any:
    """Return some value of the type, so that the rest of the object can still be checked."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return arguments[0]
    if _is_enum(hint):
        return next(iter(hint))
    if origin in _UNIONS:
        return _stand_in(arguments[0])
    if isinstance(hint, type) and issubclass(hint, Struct):
        return hint(**{i.name: _stand_in(i.type) for i in _fields(hint) if i.required})
    return (origin or hint)()


def _is_enum(hint: object) -> bool:
    return isinstance(hint, type) and issubclass(hint, StrEnum)


class _Field(Struct, frozen=True):
    name: str
    encode_name: str
    type: Any
    required: bool


@cache
def _fields(kind: type[Struct]) -> tuple[_Field, ...]:
    return tuple(
        _Field(
            info.name,
            info.encode_name,
            info.type,
            info.default is NODEFAULT and info.default_factory is NODEFAULT,
        )
        for info in msgspec.structs.fields(kind)
    )
