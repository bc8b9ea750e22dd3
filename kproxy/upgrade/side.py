"""One side of a comparison: a version of kube-proxy, and a mode if that is not left to the
configuration.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

from kproxy.backend import ModeConfigs
from kproxy.backend.configuration import Configuration, read_configuration
from kproxy.versions import Version, parse_version


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


class Configured(Configuration, frozen=True, kw_only=True):
    """A side with its configuration, as far as that could be read."""

    side: Side

    @property
    def label(self) -> str:
        return f"{self.side.version} {self.mode.name}"


def configured(
    side: Side, config: str | Path | None, overrides: Mapping[str, Any] | None = None
) -> Configured:
    """Return a side with the configuration in a file, or without one, kube-proxy's defaults.

    `overrides`: fields that replace those of the file. Raises BackendFault.
    """
    fields: dict[str, Any] = {"emulate": side.version} | dict(overrides or {})
    if side.mode:
        fields["mode"] = side.mode
    found = read_configuration(config, fields)
    return Configured(side=side, read=found.read, mode=found.mode, options=found.options)
