"""`--kernel`: runs the same command again on a kernel that has IPVS. Only decided here."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NoReturn

import click

from kproxy.backend import Mode

option = click.option(
    "--kernel",
    type=click.Choice(["auto", "host", "uml"]),
    default="auto",
    show_default=True,
    help="uml: run on user-mode Linux; auto: do so if the mode needs it.",
)


def is_needed(kernel: str, mode: Mode) -> bool:
    """Tell whether a command with this `--kernel` has to be run again on user-mode Linux."""
    if kernel == "host" or (kernel == "auto" and not mode.needs_ip_vs):
        return False
    from kproxy.kernel.running import on_uml

    return not on_uml() and (kernel == "uml" or mode.lacks_kernel())


def rerun(kernel: str, namespaces: Sequence[str] = ()) -> NoReturn:
    """Run this command line there and exit with its status. `namespaces` are created there."""
    from kproxy.kernel.uml.command import run_on_uml

    reason = "this kernel has no IPVS; " if kernel == "auto" else ""
    click.echo(f"kproxy: {reason}running on user-mode Linux instead", err=True)
    argv = [sys.executable, *sys.orig_argv[1:]]
    sys.exit(run_on_uml(argv, namespaces=namespaces))
