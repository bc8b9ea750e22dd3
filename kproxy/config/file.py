"""Reads configuration files (YAML or JSON) into a `ProxyConfig`, and writes them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from kproxy.api.problems import Problem
from kproxy.config.decode import Read, from_values, to_values
from kproxy.config.defaults import fill_file, fill_platform
from kproxy.config.gates import gate_notices
from kproxy.config.types import API_VERSION, KIND, ModeConfig, ProxyConfig
from kproxy.config.validation import problems
from kproxy.errors import BadInput


def load_config(path: str | Path, modes: Mapping[str, ModeConfig]) -> ProxyConfig:
    """Return the checked configuration in a file with defaults filled in. Raises BadInput.

    Notices are dropped; callers that need them use `read_file`.
    """
    read = read_file(path, modes)
    if read.problems:
        raise BadInput([problem.at(str(path)) for problem in read.problems])
    return read.config


def read_file(path: str | Path, modes: Mapping[str, ModeConfig]) -> Read:
    """Return the configuration in a file; a file that cannot be read is one of the problems."""
    try:
        return read_text(Path(path).read_text(encoding="utf-8"), modes)
    except (OSError, UnicodeDecodeError) as error:
        text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        return Read(ProxyConfig(), (Problem("", text),))


def read_text(text: str, modes: Mapping[str, ModeConfig]) -> Read:
    """Return the configuration in a text. Fields that cannot be decoded are not validated.

    `modes` has the values allowed for `mode`, and how each one reads the rest.
    """
    loader = _Loader(text)
    try:
        values = loader.get_single_data()
    except (yaml.YAMLError, ValueError) as error:  # ValueError: the date 2026-13-45
        return Read(ProxyConfig(), (Problem("", _one_line(error)),))
    finally:
        loader.dispose()
    if not isinstance(values, dict):
        return Read(ProxyConfig(), (Problem("", f"expected a {KIND} object"),))
    kind_problems = tuple(
        Problem(field, f"expected {expected}, got {values.get(field)!r}")
        for field, expected in (("apiVersion", API_VERSION), ("kind", KIND))
        if values.get(field) != expected
    )
    if kind_problems:
        return Read(ProxyConfig(), kind_problems)
    fields = {key: value for key, value in values.items() if key not in ("apiVersion", "kind")}
    read = from_values(fields)
    config = fill_platform(fill_file(read.config, fields), modes)
    undecoded = {problem.field for problem in read.problems}
    invalid = tuple(each for each in problems(config, modes) if each.field not in undecoded)
    notices = (*loader.notices, *read.notices, *gate_notices(config.feature_gates))
    return Read(config, read.problems + invalid, notices)


def write_text(config: ProxyConfig) -> str:
    """Return the text of a file that gives this configuration."""
    text: str = yaml.safe_dump(to_values(config), sort_keys=True)
    return text


class _Loader(yaml.CSafeLoader):
    """Notes repeated keys (the last one counts, as in kube-proxy)."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.notices: list[Problem] = []

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if key.value in seen:
                line = key.start_mark.line + 1
                self.notices.append(Problem(str(key.value), f"repeated on line {line}"))
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()).replace('in "<unicode string>", ', "at ")
