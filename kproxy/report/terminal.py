"""Paper for reports on a terminal: as wide as the terminal is, from 60 to 120 columns."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Sequence
from typing import TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from kproxy.report.width import width_of

_LABEL = 10  # columns of a label with its indent
_SHELL_WORD = re.compile(r"""(?:'[^']*'|"(?:\\.|[^"\\])*"|\\.|[^\s'"\\])+""")
_SHORT = 12  # columns of a word that is not broken


class Paper:
    """Prints on `file` (standard output): colours only on a terminal, and not with NO_COLOR."""

    def __init__(self, file: TextIO | None = None) -> None:
        self.width = width_of(file)
        self.console = Console(file=file, width=self.width, highlight=False)

    def line(self, text: str = "", style: str = "") -> None:
        """Print one line. A long one is continued below, indented a little."""
        self.paragraph(text, style, hanging=2)

    def paragraph(self, text: str, style: str = "", *, indent: int = 0, hanging: int = 0) -> None:
        """Print a paragraph, its lines as full as possible.

        `hanging`: the additional indent of all lines but the first.
        """
        wrapped = textwrap.wrap(
            " ".join(text.split()),
            self.width,
            initial_indent=" " * indent,
            subsequent_indent=" " * (indent + hanging),
            break_on_hyphens=False,
        )
        for line in wrapped or [""]:
            self.console.print(Text(line, style=style))

    def labelled(self, label: str, text: str) -> None:
        """Print a paragraph behind a label of a few letters, which stands alone in its column."""
        wrapped = textwrap.wrap(" ".join(text.split()), self.width - _LABEL, break_on_hyphens=False)
        for number, line in enumerate(wrapped or [""]):
            self.console.print(Text(f"  {'' if number else label:<{_LABEL - 2}}{line}"))

    def command(self, label: str, text: str) -> None:
        """Print a command behind a label, so that it can be copied into a shell: a long one goes on
        behind a backslash, and only between words. So a longer word goes beyond the width.
        """
        for number, line in enumerate(_continued(text, self.width - _LABEL)):
            shown = Text(f"  {'' if number else label:<{_LABEL - 2}}{line}")
            self.console.print(shown, soft_wrap=True)

    def table(self, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Print a table with columns as wide as needed; longer text is folded, never cut.

        Short words are not broken, if there is room.
        """
        rows = tuple(rows)
        columns = [*zip(header, *rows, strict=True)]
        gap = 2 if sum(map(_least, columns)) + 2 * len(columns) <= self.width else 1
        widths = column_widths(columns, self.width - gap * len(columns))
        made = Table(box=None, padding=(0, gap, 0, 0), header_style="dim")
        for each, width in zip(header, widths, strict=True):
            made.add_column(each, overflow="fold", width=width)
        for row in rows:
            made.add_row(*map(Text, row))
        self.console.print(made)


def _continued(command: str, room: int) -> list[str]:
    lines, line = [], ""
    for word in _SHELL_WORD.findall(command):
        if line.strip() and len(line) + len(word) + len(" \\ ") > room:
            lines.append(f"{line} \\")
            line = "   "
        line = f"{line} {word}" if line else word
    return [*lines, line]


def column_widths(columns: Sequence[Sequence[str]], room: int) -> list[int]:
    """Return the widths of columns of text: as needed, or else the widest ones are narrowed, at
    first only so far that no short word is broken.
    """
    widths = [max(len(line) for cell in each for line in cell.split("\n")) for each in columns]
    for least in ([_least(each) for each in columns], [1] * len(columns)):
        while sum(widths) > room:
            spare = [width if width > few else 0 for width, few in zip(widths, least, strict=True)]
            if not any(spare):
                break
            widths[spare.index(max(spare))] -= 1
    return widths


def _least(column: Iterable[str]) -> int:
    """Return a width for a column in which no short word is broken."""
    return min(_SHORT, max(len(word) for cell in column for word in cell.split() or [""]))
