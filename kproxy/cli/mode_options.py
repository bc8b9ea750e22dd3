"""The options of modes on the command line: `--backend-option`, and a flag for each well-known one.

Such a flag is for the modes that have an option of its name; others ignore it, so that one command
line works for several modes. An option that `--backend-option` names must exist in the mode.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click
from msgspec import Struct

from kproxy.api.problems import Problem
from kproxy.backend import BackendOptions, Mode, decode_options, parse_options
from kproxy.backend.options import FLAG, SECTION, own_fields
from kproxy.errors import BadInput

_F = TypeVar("_F", bound=Callable[..., Any])

_FLAGS = (
    click.option(
        "--iptables-variant",
        type=click.Choice(["auto", "nft", "legacy"]),
        help="The variant of iptables. auto (default): the one in use here.",
    ),
    click.option(
        "--nftables-layout",
        type=click.Choice(["kube-proxy", "flat"]),
        help="The table of nftables mode: like kube-proxy's (default), or optimised for speed.",
    ),
    click.option(
        "--ipvs-local-fallback/--no-ipvs-local-fallback",
        default=None,
        help="With policy Local and no endpoint here, ipvs mode uses those of other nodes "
        "(default), or refuses, as kube-proxy did before 1.25.",
    ),
    click.option(
        "--backend-option",
        metavar="NAME=VALUE",
        multiple=True,
        help="Set one of the mode's own options. May be repeated.",
    ),
)


class Given(Struct, frozen=True, kw_only=True):
    """The options on the command line. `flags` has values by attribute of `Mode.options`."""

    flags: Mapping[str, str] = {}
    backend_option: tuple[str, ...] = ()

    def options(self, mode: Mode) -> BackendOptions:
        """Return the options of a mode without a file. Raises BadInput."""
        options, problems = self.with_file(mode, {})
        if problems:
            raise BadInput([problem.at("") for problem in problems])
        return options

    def with_file(
        self, mode: Mode, in_file: Mapping[str, Any]
    ) -> tuple[BackendOptions, list[Problem]]:
        """Return a mode's options and their problems. The command line overrides `in_file`."""
        texts, problems = parse_options(self.backend_option)
        names = {info.name: info.encode_name for info in own_fields(mode)}
        named = {names[each]: value for each, value in self.flags.items() if each in names}
        given = named | texts
        left = {name: value for name, value in in_file.items() if name not in given}
        for source, where in ((left, SECTION), (given, FLAG)):
            problems += decode_options(mode, source, where)[1]
        if problems:
            return mode.options(), problems
        return decode_options(mode, left | given, FLAG)  # values may conflict with each other


def mode_options(command: _F) -> _F:
    """Add the options to a click command. It gets them as parameters for `take`."""
    for add in reversed(_FLAGS):
        command = add(command)
    return command


def take(parameters: dict[str, Any]) -> Given:
    """Remove from a command's parameters what `mode_options` added, and return it."""
    flags = {}
    for name in ("iptables_variant", "nftables_layout", "ipvs_local_fallback"):
        value = parameters.pop(name)
        if value is not None:
            flags[name] = str(value).lower() if isinstance(value, bool) else value
    return Given(flags=flags, backend_option=parameters.pop("backend_option"))
