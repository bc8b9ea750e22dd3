"""The command line."""

from __future__ import annotations

from collections.abc import Sequence

from kproxy.garbage import collect_rarely, end_uncollected


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 failed, 2 bad input (nothing was changed), 130 ended
    by Ctrl-C.
    """
    collect_rarely()
    end_uncollected()
    from kproxy.cli.commands import run  # collections while importing would take milliseconds

    run(arguments)
