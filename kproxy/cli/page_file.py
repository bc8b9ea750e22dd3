"""The option `--html`: a file to which a command writes its report as a page."""

from __future__ import annotations

import os
import secrets
from contextlib import ExitStack
from pathlib import Path

import click

from kproxy.errors import BadInput


def _checked(_context: click.Context, _parameter: click.Parameter, path: str | None) -> str | None:
    """Refuse early, before minutes of measuring, what cannot be written."""
    if path is not None:
        _place(path)
    return path


html_option = click.option(
    "--html",
    metavar="FILE",
    type=click.Path(),
    callback=_checked,
    help="Write the report as a page to this file, which needs no other.",
)


def write_page(path: str, text: str) -> None:
    """Write a page, all of it or nothing, and say so. Raises BadInput."""
    from kproxy.cli.progress import say

    place = _place(path)
    new = place.with_name(f".{place.name[:200]}.{secrets.token_hex(4)}")
    try:
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        with ExitStack() as undo:
            undo.callback(new.unlink)
            with open(descriptor, "w", encoding="utf-8", errors="replace") as file:
                file.write(text)
            new.replace(place)
            undo.pop_all()
    except OSError as error:
        raise BadInput([f"--html {path}: {error.strerror}"]) from None
    say(f"wrote {path}")


def _place(path: str) -> Path:
    """Return the file that a path leads to: a new one, or a regular one. Raises BadInput."""
    try:
        place = Path(path).resolve()
        if not place.parent.is_dir():
            raise BadInput([f"--html {path}: there is no folder {Path(path).parent}"])
        if place.exists() and not place.is_file():
            raise BadInput([f"--html {path}: this is no regular file"])
    except (OSError, RuntimeError) as error:  # a name too long, a loop of links
        raise BadInput([f"--html {path}: {error}"]) from None
    return place
