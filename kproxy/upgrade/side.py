"""One side of a comparison: a version of kube-proxy, and a mode if that is not left to the
configuration.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

from kproxy.backend import BackendOptions, Mode, ModeConfigs, complete_options, decode_options, load
from kproxy.backend.options import SECTION
from kproxy.config import ProxyConfig
from kproxy.config.decode import Read
from kproxy.config.file import read_file, read_text
from kproxy.config.types import API_VERSION, KIND
from kproxy.versions import Version, parse_version

_NO_FILE = f"apiVersion: {API_VERSION}\nkind: {KIND}\n"


class Side(Struct, frozen=True, kw_only=True):
    """A version and a mode; `mode` is "" for that of the configuration."""

    version: Version
    mode: str = ""

    def __str__(self) -> str:
        return f"{self.version}:{self.mode}" if self.mode else str(self.version)


def parse_side(text: str) -> Side:
    """Return the side in `VERSION` or `VERSION:MODE`. Raises ValueError."""
    version, _, mode = text.partition(":")
    if mode and mode not in ModeConfigs():
        raise ValueError(f"{mode!r} is not one of {', '.join(ModeConfigs())}")
    return Side(version=parse_version(version), mode=mode)


class Configured(Struct, frozen=True, kw_only=True):
    """A side with its configuration, as far as that could be read: with `read.problems` a proxy
    would not start.
    """

    side: Side
    read: Read
    mode: Mode
    options: BackendOptions

    @property
    def config(self) -> ProxyConfig:
        return self.read.config

    @property
    def label(self) -> str:
        return f"{self.side.version} {self.mode.name}"


def configured(
    side: Side, config: str | Path | None, overrides: Mapping[str, Any] | None = None
) -> Configured:
    """Return a side with the configuration in a file, or without one, kube-proxy's defaults.

    `overrides`: fields that replace those of the file. Raises BackendFault.
    """
    modes = ModeConfigs()
    fields: dict[str, Any] = {"emulate": side.version} | dict(overrides or {})
    if side.mode:
        fields["mode"] = side.mode
    read = read_file(config, modes, fields) if config else read_text(_NO_FILE, modes, fields)
    mode = load(read.config.mode if read.config.mode in modes else "iptables")
    # The options in a file are those of the mode that it names.
    own = {} if side.mode and side.mode != _mode_of(config) else read.config.backend_options
    options, problems = decode_options(mode, own, SECTION)
    if problems:
        read = read._replace(problems=(*read.problems, *problems))
    return Configured(
        side=side,
        read=read,
        mode=mode,
        options=complete_options(mode, read.config, options),
    )


def _mode_of(config: str | Path | None) -> str:
    return read_file(config, ModeConfigs()).config.mode if config else ""
