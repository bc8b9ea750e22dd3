"""Boards: tables of short coloured words, with numbered notes; for terminals, Markdown, pages, SVG.

Their makers know what they are about; here they are only drawn.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from html import escape
from typing import Literal, TextIO

from msgspec import Struct
from msgspec.structs import replace
from rich.table import Table
from rich.text import Text

from kproxy.report import page
from kproxy.report.page import Cell, Heading, Numbered, Paragraph, Part, cells
from kproxy.report.terminal import Paper

Tone = Literal["good", "bad", "odd", "dim"]


class Mark(Struct, frozen=True):
    """One word of a board. `detail`: a longer text, shown where there is room."""

    text: str
    tone: Tone
    detail: str = ""


class Board(Struct, frozen=True):
    """One table."""

    title: str
    heads: tuple[tuple[str, int], ...]
    """The headings of the words on the left, with their widths."""
    columns: tuple[tuple[str, str], ...]
    """The headings of the marks, two lines each."""
    rows: tuple[tuple[tuple[str, ...], tuple[Mark | None, ...]], ...]
    """The words on the left, and a mark (or nothing) for each column."""


class Chapter(Struct, frozen=True):
    """Boards under one title, and the notes that their numbers refer to.

    `remark`: a line below the title, for what may surprise in all of it.
    """

    title: str
    boards: tuple[Board, ...]
    notes: tuple[str, ...] = ()
    remark: str = ""


_STYLES = {"good": "green", "bad": "red", "odd": "bold yellow", "dim": "dim"}


def print_chapters(chapters: Iterable[Chapter], legend: str, file: TextIO | None = None) -> None:
    """Print as wide as the paper is, with colours only on a terminal, and not with NO_COLOR.

    A board that is too wide is printed in parts, each with some of its columns.
    """
    paper = Paper(file)
    console = paper.console
    for chapter in chapters:
        console.print(Text(f"\n{chapter.title}", style="bold"))
        if chapter.remark:
            console.print(Text(chapter.remark))
        for board in chapter.boards:
            console.print(Text(f"\n{board.title}"))
            for part in _parts(board, paper.width):
                console.print(_table(part, paper.width))
        for number, note in enumerate(chapter.notes, 1):
            console.print(_numbered(number, note, paper.width))
    console.print(Text(f"\n{legend}", style="dim"))


def _parts(board: Board, width: int) -> Iterator[Board]:
    """Yield boards of as many columns as fit, so that no word is broken."""
    words = [word for pair in board.columns for text in pair for word in text.split()]
    words += [word for mark in _marks(board) for word in mark.text.split()]
    room = width - sum(own_width + 1 for _, own_width in board.heads)
    most = max(1, room // (max(map(len, words)) + 1))
    count = -(-len(board.columns) // most)
    each = -(-len(board.columns) // count)
    for start in range(0, len(board.columns), each):
        here = slice(start, start + each)
        rows = tuple((left, marks[here]) for left, marks in board.rows)
        yield replace(board, columns=board.columns[here], rows=rows)


def _table(board: Board, paper_width: int) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="dim")
    left = sum(width + 1 for _, width in board.heads)
    width = min(14, (paper_width - left) // len(board.columns) - 1)
    for head, own_width in board.heads:
        table.add_column(f"\n{head}", width=own_width, overflow="fold")
    for above, below in board.columns:
        table.add_column(f"{above}\n{below}", width=width, overflow="fold")
    for left_words, marks in board.rows:
        words = (Text(mark.text, style=_STYLES[mark.tone]) if mark else "" for mark in marks)
        table.add_row(*left_words, *words)
    return table


def _numbered(number: int, note: str, paper_width: int) -> Table:
    """Return a hanging paragraph."""
    table = Table(box=None, show_header=False, padding=(0, 1, 0, 0))
    table.add_column(width=3, justify="right")
    table.add_column(width=paper_width - 5, overflow="fold")
    table.add_row(str(number), Text(note))
    return table


def markdown(chapters: Iterable[Chapter], legend: str) -> str:
    """Return the chapters as Markdown, with all marks bold that are neither good nor dim."""
    lines: list[str] = []
    for chapter in chapters:
        lines += [f"## {chapter.title}", ""]
        lines += [_plain(chapter.remark), ""] if chapter.remark else []
        for board in chapter.boards:
            lines += [f"### {board.title}", "", *_markdown_rows(board), ""]
        lines += [f"{number}. {_plain(note)}" for number, note in enumerate(chapter.notes, 1)]
        lines.append("")
    return "\n".join([*lines, legend, ""])


def _markdown_rows(board: Board) -> Iterator[str]:
    heads = [head for head, _ in board.heads]
    yield "| " + " | ".join([*heads, *(" ".join(column) for column in board.columns)]) + " |"
    yield "|" + " --- |" * (len(heads) + len(board.columns))
    for left, marks in board.rows:
        yield (
            "| "
            + " | ".join([*map(_plain, left), *(_markdown_mark(mark) for mark in marks)])
            + " |"
        )


def _markdown_mark(mark: Mark | None) -> str:
    if mark is None:
        return ""
    text = _plain(mark.text)
    return text if mark.tone in ("good", "dim") else f"**{text}**"


def _plain(text: str) -> str:
    return text.replace("|", "\\|").replace("*", "\\*")


def parts_of(chapters: Iterable[Chapter], legend: str) -> Iterator[Part]:
    """Yield the parts of a page: the legend, then each chapter with its notes."""
    for text in legend.split("\n\n"):
        yield Paragraph(text)
    for chapter in chapters:
        yield Heading(chapter.title)
        if chapter.remark:
            yield Paragraph(chapter.remark)
        yield from map(_page_table, chapter.boards)
        if chapter.notes:
            yield Numbered(chapter.notes)


def _page_table(board: Board) -> page.Table:
    heads = [head for head, _ in board.heads]
    heads += [" ".join(column).strip() for column in board.columns]
    rows = ((*cells(*left), *map(_page_cell, marks)) for left, marks in board.rows)
    return page.Table(board.title, tuple(heads), tuple(rows), left=len(board.heads))


def _page_cell(mark: Mark | None) -> Cell:
    return Cell(mark.text, mark.tone, mark.detail) if mark else Cell("")


_FILLS = {"good": "#cdeccf", "bad": "#f8d0cb", "odd": "#ffe9a8", "dim": "#eeeeee"}
_ROW, _GAP, _CHARACTER = 24, 10, 7.4


def picture(chapters: Iterable[Chapter], legend: str) -> str:
    """Return all chapters as SVG, one below the other: title, remark, boards and notes."""
    chapters = tuple(chapters)
    shapes: list[str] = []
    y = width = 0.0
    for chapter in chapters:
        shapes.append(_svg_text(0, y, chapter.title, "bold"))
        y, width = y + _ROW, max(width, len(chapter.title) * _CHARACTER)
        if chapter.remark:
            shapes.append(_svg_text(0, y, chapter.remark, "normal"))
            y, width = y + _ROW, max(width, len(chapter.remark) * _CHARACTER)
        column = _column(chapter)
        for board in chapter.boards:
            width = max(width, _draw(board, y, column, shapes))
            y += _ROW * (len(board.rows) + 2.8) + _GAP
        for number, note in enumerate(chapter.notes, 1):
            y = _write(f"{number} {note}", y, width, shapes)
        y += _GAP
    y = _write(legend, y, width, shapes)
    width, height = width + 2 * _GAP, y + 2 * _GAP
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="-{_GAP} -{_GAP} {width:.0f} {height:.0f}" '
        'font-family="Helvetica, Arial, sans-serif" font-size="13">\n'
        f'<rect x="-{_GAP}" y="-{_GAP}" width="100%" height="100%" fill="white"/>\n'
        + "\n".join(shapes)
        + "\n</svg>\n"
    )


def _column(chapter: Chapter) -> float:
    """Return the width of all columns of a chapter."""
    heads = (len(word) for each in chapter.boards for pair in each.columns for word in pair)
    marks = (len(mark.text) for each in chapter.boards for mark in _marks(each))
    return _CHARACTER * max(max(heads, default=0) + 2, max(marks, default=0) + 3)


def _write(text: str, y: float, width: float, shapes: list[str]) -> float:
    """Add a paragraph below `y`, and return where it ends."""
    for line in textwrap.wrap(text, max(40, int(width / _CHARACTER)), break_on_hyphens=False):
        shapes.append(_svg_text(0, y, line, "normal"))
        y += _ROW * 0.75
    return y


def _draw(board: Board, y: float, column: float, shapes: list[str]) -> float:
    """Add the board's shapes below `y`, and return its width. `column`: the width of a column."""
    shapes.append(_svg_text(0, y, board.title, "600"))
    lefts = [0.0]
    for number in range(len(board.heads)):
        longest = max(len(left[number]) for left, _ in board.rows)
        lefts.append(lefts[-1] + (longest + 2) * _CHARACTER)
    across = [lefts[-1] + index * column for index in range(len(board.columns))]
    for x, (above, below) in zip(across, board.columns, strict=True):
        shapes.append(_svg_text(x + 4, y + 0.85 * _ROW, above, "600"))
        shapes.append(_svg_text(x + 4, y + 1.45 * _ROW, below, "600"))
    top = y + 2.3 * _ROW
    for left, marks in board.rows:
        for x, word in zip(lefts, left, strict=False):
            shapes.append(_svg_text(x, top, word, "normal"))
        for x, mark in zip(across, marks, strict=True):
            if mark:
                shapes.append(
                    f'<rect x="{x:.0f}" y="{top - 2:.0f}" width="{column - 3:.0f}" '
                    f'height="{_ROW - 3}" rx="3" fill="{_FILLS[mark.tone]}">'
                    f"<title>{escape(mark.detail)}</title></rect>"
                )
                shapes.append(_svg_text(x + 4, top, mark.text, "normal"))
        top += _ROW
    return max(across[-1] + column, len(board.title) * _CHARACTER)


def _marks(board: Board) -> Iterator[Mark]:
    return (mark for _, marks in board.rows for mark in marks if mark)


def _svg_text(x: float, y: float, text: str, weight: str) -> str:
    return f'<text x="{x:.0f}" y="{y + 13:.0f}" font-weight="{weight}">{escape(text)}</text>'
