"""A configuration, its mode and the mode's options: read together, as each depends on the others.

Nothing here starts a proxy.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

from kproxy.api.problems import Problem
from kproxy.backend.mode import Mode
from kproxy.backend.options import SECTION, complete_options, decode_options
from kproxy.backend.registry import DEFAULT_MODE, ModeConfigs, load
from kproxy.config.decode import Read
from kproxy.config.file import read_file, without_file
from kproxy.config.types import ProxyConfig
from kproxy.errors import BadInput
from kproxy.forwarding.plan import BackendOptions

_NOTHING: Mapping[str, Any] = {}


class Configuration(Struct, frozen=True, kw_only=True):
    """A configuration as far as it could be read: with `read.problems` no proxy would start."""

    read: Read
    mode: Mode
    options: BackendOptions

    @property
    def config(self) -> ProxyConfig:
        return self.read.config


def read_configuration(
    file: str | Path | None, overrides: Mapping[str, Any] = _NOTHING
) -> Configuration:
    """Return the configuration in a file, or without one, kube-proxy's defaults.

    `overrides`: fields that replace those of the file. Raises BackendFault.
    """
    modes = ModeConfigs()
    read = read_file(file, modes, overrides) if file else without_file(modes, overrides)
    mode = load(read.config.mode if read.config.mode in modes else DEFAULT_MODE)
    # The options in a file are those of the mode that it names.
    others = bool(overrides.get("mode")) and overrides["mode"] != _mode_of(file)
    own = {} if others else read.config.backend_options
    options, problems = decode_options(mode, own, SECTION)
    if problems:
        read = read._replace(problems=(*read.problems, *problems))
    return Configuration(read=read, mode=mode, options=complete_options(mode, read.config, options))


def checked_configuration(
    file: str | Path | None, overrides: Mapping[str, Any] = _NOTHING
) -> Configuration:
    """Return what `read_configuration` does. Raises BadInput if no proxy would start with it."""
    found = read_configuration(file, overrides)
    if found.read.problems:
        raise BadInput([_at(problem, file) for problem in found.read.problems])
    return found


def _at(problem: Problem, file: str | Path | None) -> str:
    return problem.at(str(file or ""))


def _mode_of(file: str | Path | None) -> str:
    return read_file(file, ModeConfigs()).config.mode if file else ""
