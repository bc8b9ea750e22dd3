"""The option `--emulate`: the version of kube-proxy to behave like."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from kproxy.versions import NEWEST_RELEASED, Version, parse_version

F = TypeVar("F", bound=Callable[..., Any])


class VersionName(click.ParamType[Version]):
    """The name of a `Version`."""

    name = "version"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Version:
        if isinstance(value, Version):
            return value
        try:
            return parse_version(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


def _option(otherwise: str = "") -> Callable[[F], F]:
    return click.option(
        "--emulate",
        type=VersionName(),
        metavar=f"[{'|'.join(map(str, Version))}]",
        help=f"The kube-proxy to behave like. Default: {NEWEST_RELEASED}{otherwise}.",
    )


emulate_option = _option(", or that of --config")
emulate_without_config_option = _option()
