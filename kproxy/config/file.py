"""Reads configuration files (YAML or JSON) into a `ProxyConfig`, and writes them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kproxy.api.places import located
from kproxy.api.problems import Problem
from kproxy.config.decode import Read, from_values, to_values
from kproxy.config.defaults import fill_file, fill_platform
from kproxy.config.gates import gate_notices
from kproxy.config.types import API_VERSION, KIND, ModeConfig, ProxyConfig
from kproxy.config.validation import problems
from kproxy.config.warnings import unset_mode
from kproxy.errors import BadInput

if TYPE_CHECKING:  # reading YAML is imported where it happens: most configurations are no file
    from kproxy.api.yaml_documents import YamlDocument

_NOTHING: Mapping[str, Any] = {}


def load_config(
    path: str | Path, modes: Mapping[str, ModeConfig], overrides: Mapping[str, Any] = _NOTHING
) -> ProxyConfig:
    """Return the checked configuration in a file with defaults filled in. Raises BadInput.

    Notices are dropped; callers that need them use `read_file`.
    """
    read = read_file(path, modes, overrides)
    if read.problems:
        raise BadInput([problem.at(str(path)) for problem in read.problems])
    return read.config


def read_file(
    path: str | Path, modes: Mapping[str, ModeConfig], overrides: Mapping[str, Any] = _NOTHING
) -> Read:
    """Return the configuration in a file; a file that cannot be read is one of the problems.

    `overrides` has values that replace those of the file, by field.
    """
    try:
        return read_text(Path(path).read_text(encoding="utf-8-sig"), modes, overrides)
    except (OSError, UnicodeDecodeError) as error:
        text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        return Read(ProxyConfig(), (Problem("", text),))


def read_text(
    text: str, modes: Mapping[str, ModeConfig], overrides: Mapping[str, Any] = _NOTHING
) -> Read:
    """Return the configuration in a text. Fields that cannot be decoded are not validated.

    As in kube-proxy, the first document counts; a notice names each one that is skipped.
    `modes` has the values allowed for `mode`, and how each one reads the rest. `overrides` has
    values that replace those of the text, by field.
    """
    from kproxy.api.yaml_documents import YamlDocument, documents

    first, *rest = [*documents(text)] or [YamlDocument(1, None, [], [], 0, [])]
    skipped = tuple(_skipped(each) for each in rest if each.value is not None or each.problems)
    if first.problems:
        return Read(ProxyConfig(), tuple(first.problems), skipped)
    read = _from_document(first.value, modes, overrides)
    repeated = [each._replace(text=f"{each.text}; the last one counts") for each in first.repeated]
    return read._replace(
        problems=tuple(located(read.problems, text)),
        notices=(*located((*repeated, *read.notices), text), *skipped),
    )


def without_file(modes: Mapping[str, ModeConfig], overrides: Mapping[str, Any] = _NOTHING) -> Read:
    """Return the configuration of a file that sets nothing; see `read_text`."""
    return _from_document({"apiVersion": API_VERSION, "kind": KIND}, modes, overrides)


def _from_document(
    values: object, modes: Mapping[str, ModeConfig], overrides: Mapping[str, Any]
) -> Read:
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
    fields |= overrides
    read = from_values(fields)
    config = fill_platform(fill_file(read.config, fields), modes)
    undecoded = {problem.field for problem in read.problems}
    invalid = tuple(each for each in problems(config, modes) if each.field not in undecoded)
    notices = (*read.notices, *gate_notices(config.feature_gates))
    at_start = unset_mode(config, chosen=bool(fields.get("mode")))
    return Read(config, read.problems + invalid, notices, tuple(at_start))


def _skipped(document: YamlDocument) -> Problem:
    kind = document.value.get("kind") if isinstance(document.value, dict) else None
    name = f" ({kind})" if isinstance(kind, str) and kind.isidentifier() else ""
    text = f"document {document.number}{name} is skipped: only the first one is read"
    return Problem("", text, document.line)


def write_text(config: ProxyConfig) -> str:
    """Return the text of a file that gives this configuration."""
    import yaml

    text: str = yaml.safe_dump(to_values(config), sort_keys=True)
    return text
