"""`--kernel`: the same command again, on a kernel that has IPVS. Decided here and nowhere else."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NoReturn

import click

NEEDS_IPVS = "ipvs"  # the mode

option = click.option(
    "--kernel",
    type=click.Choice(["auto", "host", "uml"]),
    default="auto",
    show_default=True,
    help="uml: run on user-mode Linux; auto: if the mode needs it.",
)


def is_needed(kernel: str, mode: str) -> bool:
    """Whether a command with this `--kernel` has to be run again on user-mode Linux."""
    if kernel == "host" or (kernel == "auto" and mode != NEEDS_IPVS):
        return False
    from kproxy.kernel.ipvs import has_ipvs
    from kproxy.kernel.running import on_uml

    return not on_uml() and (kernel == "uml" or not has_ipvs())


def rerun(namespaces: Sequence[str] = ()) -> NoReturn:
    """Run this very command line there and exit as it does. `namespaces`: what it finds there."""
    from kproxy.kernel.uml.command import run_on_uml

    click.echo("kproxy: on user-mode Linux, a kernel that has IPVS and ends with this", err=True)
    argv = [sys.executable, *sys.orig_argv[1:]]
    sys.exit(run_on_uml(argv, namespaces=namespaces))
