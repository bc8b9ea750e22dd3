"""A click command that takes flags as Go programs do."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

import click

from kproxy.cli.flags import FLAGS, SECTIONS, SWITCHES, Flag, Kind, initial_text

OWN_SWITCHES = {"once", "allow-empty", "cleanup", "init-only"}


class FlagCommand(click.Command):
    """Adds all of `kproxy.cli.flags` to a command's own options.

    `--masquerade-all` and `--masquerade-all=false` are switches, names may have `_` instead of
    `-`, `-v`, `-v 4`, `-v4` and `--v=4` set the verbosity, and the last of repeated flags takes
    effect.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.extend(_option(flag) for flag in FLAGS.values())

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, list(_as_click_has_it(args)))

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        records = {option.name: option.get_help_record(ctx) for option in self.get_params(ctx)}
        flags = {_parameter(name) for name in FLAGS}
        own = [record for name, record in records.items() if name not in flags and record]
        with formatter.section("Options"):
            formatter.write_dl(own)
        for title, section in SECTIONS.items():
            listed = [record for flag in section if (record := records[_parameter(flag.name)])]
            with formatter.section(title):
                formatter.write_dl(listed)


def given_flags(parameters: dict[str, Any]) -> dict[str, tuple[str, ...]]:
    """Return the values of each flag of the table that was given, by its name."""
    return {name: parameters[_parameter(name)] for name in FLAGS if parameters[_parameter(name)]}


def _parameter(name: str) -> str:
    return name.replace("-", "_")


def _option(flag: Flag) -> click.Option:
    initial = initial_text(flag)
    return click.Option(
        [f"--{flag.name}"],
        multiple=True,
        metavar=flag.kind.value,
        help=f"{flag.help} [{initial}]" if initial and flag.kind is not Kind.TEXT else flag.help,
    )


def _as_click_has_it(args: list[str]) -> Iterator[str]:
    """Yield the arguments for click: switches with a value, names with `-`, `--v` for `-v`."""
    waiting = deque(args)
    while waiting:
        name, equals, value = waiting.popleft().partition("=")
        if name[:2] == "-v" and name[2:].isdigit():
            name, equals, value = "--v", "=", name[2:]
        name = "--v" if name == "-v" else name
        if name.startswith("--"):
            name = name.replace("_", "-")
        if equals:
            yield f"{name}={value}"
        elif name[2:] in SWITCHES | OWN_SWITCHES:
            yield f"{name}=true"
        elif name == "--v":
            yield f"--v={waiting.popleft() if waiting and waiting[0].isdigit() else 1}"
        else:
            yield name
