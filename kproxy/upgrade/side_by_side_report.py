"""Modes side by side as boards: a row for each client and address, a column for each mode."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TextIO

from kproxy.report.boards import Board, Chapter, Mark, parts_of, print_chapters
from kproxy.report.page import page
from kproxy.report.width import width_of
from kproxy.upgrade.questions import place
from kproxy.upgrade.side_by_side import Comparison, Row

_NARROW, _WIDE, _FROM = (20, 23), (26, 44), 112  # columns of the words on the left
LEGEND = (
    "`2: own` means that one of two endpoints answers and sees the client's own address, `node's` "
    "that it sees an address of a node, `1 lost` that the answer of one does not return. All is "
    "predicted, with the addresses that pods and nodes would have in a lab."
)


def chapters(comparison: Comparison, width: int, between: str = " | ") -> Iterator[Chapter]:
    """Yield a chapter for each service port in each family, with the reasons of differences.

    `width`: the columns of the paper. `between` stands between the reasons of two modes.
    """
    who, asks = _WIDE if width >= _FROM else _NARROW
    for (name, family), group in groupby(
        comparison.rows, lambda row: (row.question.service, row.question.family)
    ):
        rows = list(group)
        notes = list(dict.fromkeys(_note(comparison, row, between) for row in rows if row.differs))
        board = Board(
            title=f"{name.protocol}, {family.value}",
            heads=(("who", who), ("asks", asks)),
            columns=tuple((mode, "") for mode in comparison.modes),
            rows=tuple(_row(comparison, row, notes, between) for row in rows),
        )
        yield Chapter(title=str(name), boards=(board,), notes=tuple(notes))


def print_comparison(comparison: Comparison, file: TextIO | None = None) -> None:
    """Print as wide as the paper is."""
    legend = f"{LEGEND}\n\n{_ending(comparison)}"
    print_chapters(chapters(comparison, width_of(file)), legend, file)


def page_of(comparison: Comparison) -> str:
    """Return the same as a page."""
    legend = f"{_ending(comparison)}\n\n{LEGEND}"
    title = f"Modes side by side: {', '.join(comparison.modes)}"
    return page(title, parts_of(chapters(comparison, _FROM, "\n"), legend))


def _ending(comparison: Comparison) -> str:
    total, differing = len(comparison.rows), comparison.differing
    left_out = "".join(f"left out: {each}\n\n" for each in comparison.left_out)
    return f"{left_out}{differing} of {total} answers differ, as kube-proxy {comparison.version}"


def _row(
    comparison: Comparison, row: Row, notes: Sequence[str], between: str
) -> tuple[tuple[str, ...], tuple[Mark | None, ...]]:
    left = (row.question.client, f"{row.question.asks} {place(row.question)}")
    if not row.differs:
        return left, tuple(Mark(each.short, "dim") for each in row.cells)
    number = notes.index(_note(comparison, row, between)) + 1
    return left, tuple(
        Mark(f"{each.short} ({number})", "odd", str(each.answer)) for each in row.cells
    )


def _note(comparison: Comparison, row: Row, between: str) -> str:
    """Return why the modes differ, those with the same answer together."""
    told: dict[tuple[str, str], list[str]] = {}
    for mode, cell in zip(comparison.modes, row.cells, strict=True):
        told.setdefault((str(cell.answer), cell.answer.why), []).append(mode)
    return between.join(
        f"{', '.join(modes)}: {answer}, as {why}" for (answer, why), modes in told.items()
    )
