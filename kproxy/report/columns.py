"""Tables of plain text as kubectl prints them: columns as wide as needed, nothing around them."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import TextIO

from kproxy.report.width import NARROWEST, columns, folded

GAP = 3


class GrowingColumns:
    """A table whose rows come bit by bit: its columns become wider, never narrower."""

    def __init__(self) -> None:
        self._widths: list[int] = []

    def lines(self, rows: Iterable[Sequence[str]], width: int | None = None) -> list[str]:
        """Return more rows as lines; all rows have the same number of cells.

        With a `width`, cells that go beyond it are continued on lines of their own.
        """
        rows = [tuple(row) for row in rows]
        wanted = [max(map(len, column)) for column in zip(*rows, strict=True)]
        former = self._widths or [0] * len(wanted)
        self._widths = [max(pair) for pair in zip(wanted, former, strict=True)]
        lines: list[str] = []
        for row in rows:
            cells = zip(row, self._widths, strict=True)
            padded = [f"{cell:<{size + GAP}}" for cell, size in cells]
            lines += folded(padded, width) if width else ["".join(padded).rstrip()]
        return lines


def column_lines(rows: Iterable[Sequence[str]], width: int | None = None) -> list[str]:
    """Return a table as lines. Rows, the head among them, have the same number of cells.

    With a `width`, cells that go beyond it are continued on lines of their own.
    """
    return GrowingColumns().lines(rows, width)


def fitting_lines(rows: Iterable[Sequence[str]], file: TextIO | None = None) -> list[str]:
    """Return a table that fits the terminal of a file (standard output), if there is one."""
    width = columns(file or sys.stdout)
    return column_lines(rows, max(width, NARROWEST) if width else None)
