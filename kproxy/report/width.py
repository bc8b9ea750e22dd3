"""How wide a report may be, and text that is made to fit. Imports nothing large."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from typing import TextIO

NARROWEST, USUAL, WIDEST = 60, 80, 120  # longer lines are hard to read


def columns(file: TextIO) -> int | None:
    """Return the columns of a terminal, which COLUMNS overrides; None if there is none."""
    given = os.environ.get("COLUMNS", "")
    if given.isdecimal() and int(given):
        return int(given)
    try:
        return os.get_terminal_size(file.fileno()).columns or None
    except (OSError, ValueError):
        return None


def width_of(file: TextIO | None = None) -> int:
    """Return the width of reports on a file, by default standard output."""
    found = columns(file or sys.stdout)
    return min(max(found, NARROWEST), WIDEST) if found else USUAL


def fitting(text: str, file: TextIO) -> str:
    """Return text whose lines fit the terminal of a file, broken between words; as it is if there
    is no terminal, for programs that read it.
    """
    width = columns(file)
    if width is None:
        return text
    width = max(width, NARROWEST)
    return "\n".join(line for each in text.split("\n") for line in wrapped(each, width))


def wrapped(line: str, width: int) -> list[str]:
    """Return a line in lines of `width`, broken between words and continued with more indent."""
    if len(line) <= width:
        return [line]
    import textwrap  # whose patterns take two milliseconds

    indent = line[: len(line) - len(line.lstrip())]
    return textwrap.wrap(
        line.strip(),
        width,
        initial_indent=indent,
        subsequent_indent=f"{indent}  ",
        break_on_hyphens=False,
    )


def folded(cells: Iterable[str], width: int) -> Iterator[str]:
    """Yield the lines of a row of a table: cells of fixed widths, continued below, indented."""
    line = ""
    for cell in cells:
        if line and len(line) + len(cell) > width:
            yield line.rstrip()
            line = " "
        line += cell
    yield line.rstrip()
