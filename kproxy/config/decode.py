"""Converts plain values, as YAML or the command line gives them, to a `ProxyConfig` and back.

All faults are reported at once. As in kube-proxy an unknown or repeated field is no fault: it is
ignored, with a notice.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeVar

import msgspec
from msgspec import Struct

from kproxy.api.problems import Problem
from kproxy.config.durations import format_duration, parse_duration
from kproxy.config.types import API_VERSION, KIND, ProxyConfig, Seconds
from kproxy.typed import converted
from kproxy.versions import NEWEST_RELEASED, Version, parse_version

_S = TypeVar("_S", bound=Struct)


class Read(NamedTuple):
    """A configuration as far as it could be read. With `problems` it must not be used.

    `at_start`: notices that matter only if a proxy is started with it.
    """

    config: ProxyConfig
    problems: tuple[Problem, ...] = ()
    notices: tuple[Problem, ...] = ()
    at_start: tuple[Problem, ...] = ()


def from_values(values: Mapping[str, Any]) -> Read:
    """Return the configuration in `values`, which is nested and spelled as in a file.

    Absent fields have their defaults.
    """
    problems: list[Problem] = []
    notices: list[Problem] = []
    config = _section(values, ProxyConfig, "", problems, notices)
    return Read(config, tuple(problems), tuple(notices))


def to_values(config: ProxyConfig) -> dict[str, Any]:
    """Return the whole file, with `apiVersion` and `kind`, in plain values."""
    values: dict[str, Any] = {"apiVersion": API_VERSION, "kind": KIND}
    values.update(msgspec.to_builtins(config, enc_hook=_encode))
    for name, initial in (("backendOptions", {}), ("emulate", NEWEST_RELEASED.value)):
        if values[name] == initial:
            del values[name]  # kube-proxy has no such field
    return values


def _section(
    values: Mapping[str, Any],
    kind: type[_S],
    path: str,
    problems: list[Problem],
    notices: list[Problem],
) -> _S:
    fields = {info.encode_name: info for info in msgspec.structs.fields(kind)}
    attributes: dict[str, Any] = {}
    for key, value in values.items():
        where = f"{path}.{key}" if path else str(key)
        info = fields.get(key)
        if info is None:
            notices.append(Problem(where, "unknown field, ignored"))
        elif value is None:  # as in Go: a null is an absent field
            continue
        elif not _is_struct(info.type):
            try:
                attributes[info.name] = convert(value, info.type)
            except ValueError as error:
                problems.append(Problem(where, plain_message(str(error))))
        elif isinstance(value, Mapping):
            attributes[info.name] = _section(value, info.type, where, problems, notices)
        else:
            problems.append(Problem(where, f"expected a mapping, got {value!r}"))
    return kind(**attributes)


def convert(value: Any, kind: Any, *, strict: bool = True) -> Any:
    """Return `value` as a `kind`; 80.0 is 80, as for kube-proxy, which reads YAML into JSON.

    `strict`: a text does not stand for a number. Raises msgspec.ValidationError, ValueError.
    """
    if kind is Version:  # as YAML has it without quotes, it is a number
        return parse_version(str(value))
    return converted(_by_value(value), kind, strict=strict, dec_hook=decode_duration)


def _by_value(value: Any) -> Any:
    if isinstance(value, list):
        return [_by_value(each) for each in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Struct)


def decode_duration(kind: type, value: object) -> object:
    """Read a duration such as `30s`: a hook for `msgspec.convert`. Raises ValueError."""
    if kind is not Seconds:
        raise NotImplementedError(kind)
    if not isinstance(value, str):
        raise ValueError(f"expected a duration such as 30s, got {value!r}")
    return parse_duration(value)


def _encode(value: object) -> object:
    if not isinstance(value, Seconds):
        raise NotImplementedError(type(value))
    return format_duration(value)


def plain_message(message: str) -> str:
    """Return msgspec's message in the style of kproxy's own.

    ``Expected `int`, got `str` - at `$[0]` `` -> `expected int, got str (at [0])`.
    """
    text, _, place = message.replace("`", "").partition(" - at $")
    text = text[:1].lower() + text[1:]
    return f"{text} (at {place})" if place else text
