"""The type of options that name a mode."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from kproxy.backend.registry import is_installed, modes

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    _Type = click.ParamType[str]
else:  # not generic in older versions of click
    _Type = click.ParamType


class ModeChoice(_Type):
    """One of the installed modes. All are looked for only to be listed: it takes a while."""

    name = "mode"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return str(value if is_installed(value) else _installed().convert(value, param, ctx))

    def get_metavar(self, *about: Any, **more: Any) -> str | None:
        """Return what click does for a choice. Its version tells what the parameters are."""
        return _installed().get_metavar(*about, **more)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        return _installed().shell_complete(ctx, param, incomplete)


def _installed() -> click.Choice[str]:
    return click.Choice(modes())
