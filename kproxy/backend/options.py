"""Decodes a mode's own options into an object of the type that the mode gives. Pure.

They come from `--backend-option NAME=VALUE` and from the section `backendOptions` of the
configuration file, under the same names. A field of `Mode.options` that the mode's section of
KubeProxyConfiguration has as well (`ModeConfig.section`) takes its value from there instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, get_origin

import msgspec
from msgspec.structs import FieldInfo, fields, replace

from kproxy.api.problems import Problem
from kproxy.backend.mode import Mode
from kproxy.config.decode import convert, plain_message
from kproxy.config.types import ProxyConfig
from kproxy.forwarding.plan import BackendOptions

FLAG = "--backend-option"
SECTION = "backendOptions"


def parse_options(texts: Iterable[str]) -> tuple[dict[str, str], list[Problem]]:
    """Split each `NAME=VALUE`; return values by name, the last if repeated, and problems."""
    values: dict[str, str] = {}
    problems = []
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            problems.append(Problem(FLAG, f"{text!r} is not of the form NAME=VALUE"))
        else:
            values[name] = value
    return values, problems


def decode_options(
    mode: Mode, values: Mapping[str, Any], where: str
) -> tuple[BackendOptions, list[Problem]]:
    """Decode `values` (by their names in files) with the mode's own type; defaults are filled in.

    Texts are read by the type of the field: `4`, `true`, `30s`, `a,b`. `where` begins each problem,
    of which there is one for each unknown name and each invalid value. With problems the options
    are the defaults.
    """
    known = {info.encode_name: info for info in own_fields(mode)}
    problems: list[Problem] = []
    decoded: dict[str, Any] = {}
    for name, value in values.items():
        if name not in known:
            problems.append(Problem(where, _unknown(mode, str(name), known)))
            continue
        info = known[name]
        try:
            decoded[info.name] = _convert(value, info)
        except (msgspec.ValidationError, ValueError) as error:
            problems.append(Problem(f"{where} {name}", plain_message(str(error))))
    if not problems:
        try:
            return mode.options(**decoded), []
        except (ValueError, TypeError) as error:  # from its __post_init__: values that conflict
            problems.append(Problem(where, str(error)))
    return mode.options(), problems


def complete_options(mode: Mode, config: ProxyConfig, options: BackendOptions) -> BackendOptions:
    """Return the options with the values that come from the mode's section of the configuration."""
    section = getattr(config, mode.config.section, None) if mode.config.section else None
    inherited = {
        info.name: getattr(section, info.name)
        for info in fields(mode.options)
        if hasattr(section, info.name)
    }
    return replace(options, **inherited)


def chosen_values(mode: Mode, options: BackendOptions) -> dict[str, Any]:
    """Return the options that are not defaults, by their names in files."""
    return {
        info.encode_name: value
        for info in own_fields(mode)
        if (value := getattr(options, info.name, info.default)) != info.default
    }


def fitting_options(
    mode: Mode, former: Mode, options: BackendOptions
) -> tuple[BackendOptions, dict[str, Any]]:
    """Return a mode's options with those of a former mode's options that it has, by name and type,
    and the values of the others, by their names in files.
    """
    chosen = chosen_values(former, options)
    types = {info.encode_name: info.type for info in own_fields(former)}
    fitting = {
        info.name: chosen[info.encode_name]
        for info in own_fields(mode)
        if info.encode_name in chosen and info.type == types[info.encode_name]
    }
    try:
        found = mode.options(**fitting)
    except (ValueError, TypeError):  # from its __post_init__: values that conflict
        return mode.options(), chosen
    unused = chosen.keys() - chosen_values(mode, found).keys()
    return found, {name: value for name, value in chosen.items() if name in unused}


def own_fields(mode: Mode) -> Iterator[FieldInfo]:
    """Yield the fields that may be given: those that no section of the configuration has."""
    sections = {info.name: info.type for info in fields(ProxyConfig)}
    section = sections.get(mode.config.section)
    taken = section.__struct_fields__ if section else ()
    return (info for info in fields(mode.options) if info.name not in taken)


def _convert(value: Any, info: FieldInfo) -> Any:
    if isinstance(value, str) and get_origin(info.type) in (tuple, list, frozenset, set):
        value = [entry for entry in value.split(",") if entry]
    # Not strict: a text of the command line stands for a number or a switch.
    return convert(value, info.type, strict=not isinstance(value, str))


def _unknown(mode: Mode, name: str, known: Iterable[str]) -> str:
    import difflib

    names = sorted(known)
    if not names:
        return f"{name!r}: {mode.name} mode has no options of its own"
    near = difflib.get_close_matches(name, names, 1)
    hint = f"; did you mean {near[0]}?" if near else f"; it has {', '.join(names)}"
    return f"{mode.name} mode has no option {name!r}{hint}"
