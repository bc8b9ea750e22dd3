"""Options of the commands of `kproxy bench`, and the printing of their results."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

import click

from kproxy.backend import DEFAULT_MODE, load
from kproxy.bench.cluster import MOST_ENDPOINTS, MOST_SERVICES
from kproxy.cli import kernel as kernel_choice
from kproxy.cli.emulate import emulate_without_config_option
from kproxy.report.width import width_of


class Size(Protocol):
    """The arguments of a measurement."""

    @property
    def label(self) -> str:
        """Return what is measured, in a few words."""


_Command = TypeVar("_Command", bound=Callable[..., Any])
_Size = TypeVar("_Size", bound=Size)
_Result = TypeVar("_Result")


def subject_options(
    sizes: tuple[int, ...], per_service: int = 5, most: int = MOST_SERVICES
) -> Callable[[_Command], _Command]:
    """Return a decorator that adds the options common to measurements: proxy and cluster size."""
    options = [
        click.option("--mode", default=DEFAULT_MODE, show_default=True, help="The proxy mode."),
        emulate_without_config_option,
        kernel_choice.option,
        click.option(
            "--variant",
            "chosen",
            type=click.Choice(["nft", "legacy", "kube-proxy", "flat"]),
            multiple=True,
            help="A variant of iptables or layout of nftables; may be repeated. "
            "Default: all of the mode.",
        ),
        click.option(
            "--services",
            "sizes",
            type=click.IntRange(1, most),
            multiple=True,
            default=sizes,
            show_default=True,
            help="Number of Services; may be repeated.",
        ),
        click.option(
            "--endpoints",
            type=click.IntRange(1, MOST_ENDPOINTS),
            default=per_service,
            show_default=True,
            help="Endpoints per Service.",
        ),
        click.option(
            "--runs",
            type=click.IntRange(1),
            default=1,
            show_default=True,
            help="Repeat every measurement N times.",
        ),
        click.option(
            "--json", "as_json", is_flag=True, help="Print one JSON object per line instead."
        ),
    ]

    def decorate(command: _Command) -> _Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def subjects(
    mode: str, kernel: str, chosen: Iterable[str], sizes: Iterable[int], runs: int
) -> list[tuple[str, int]]:
    """Return each variant with each number of Services, as often as it is to be measured.

    If the mode needs another kernel, the command runs there instead. Raises BadInput.
    """
    if kernel_choice.is_needed(kernel, load(mode)):
        kernel_choice.rerun(kernel)
    from kproxy.bench.subject import variants

    return [
        (variant, services)
        for variant in variants(mode, chosen)
        for services in sizes
        for _ in range(runs)
    ]


def print_results(
    sizes: Iterable[_Size],
    measure: Callable[[_Size], _Result],
    heading: str,
    row: Callable[[_Result], str],
    *,
    as_json: bool,
) -> None:
    """Measure one size after another, and print a line for each."""
    import msgspec

    from kproxy.bench.tables import lines

    width = width_of()
    if not as_json:
        click.echo("\n".join(lines(heading, heading, width)))
    for size in sizes:
        with _progress(size):
            result = measure(size)
        if as_json:
            click.echo(msgspec.json.encode(result).decode())
        else:
            click.echo("\n".join(lines(row(result), heading, width)))


@contextmanager
def _progress(size: Size) -> Iterator[None]:
    """Show on a terminal what is being measured, in a line that is removed afterwards."""
    if not sys.stderr.isatty():
        yield
        return
    click.echo(f"{size.label} ...", nl=False, err=True)
    try:
        yield
    finally:
        click.echo("\r\033[K", nl=False, err=True)
