"""Paper for reports on a terminal: lines of at most 80 columns."""

from __future__ import annotations

import textwrap
from typing import TextIO

from rich.console import Console
from rich.text import Text

WIDTH = 80


class Paper:
    """Prints on `file` (standard output): colours only on a terminal, and not with NO_COLOR."""

    def __init__(self, file: TextIO | None = None) -> None:
        self.console = Console(file=file, width=WIDTH, highlight=False)

    def line(self, text: str = "", style: str = "") -> None:
        """Print one line. A long one is continued below, indented a little."""
        self.paragraph(text, style, hanging=2)

    def paragraph(self, text: str, style: str = "", *, indent: int = 0, hanging: int = 0) -> None:
        """Print a paragraph, its lines as full as possible.

        `hanging`: the additional indent of all lines but the first.
        """
        wrapped = textwrap.wrap(
            " ".join(text.split()),
            WIDTH,
            initial_indent=" " * indent,
            subsequent_indent=" " * (indent + hanging),
            break_on_hyphens=False,
        )
        for line in wrapped or [""]:
            self.console.print(Text(line, style=style))
