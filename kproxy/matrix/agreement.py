"""Documented against measured, cell by cell. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec import Struct

from kproxy.matrix.measure import Cell
from kproxy.matrix.places import Question
from kproxy.matrix.seeds import Revision, Statement
from kproxy.matrix.setting import Setting

Measured = Mapping[Setting, Mapping[Question, Cell]]


class Comparison(Struct, frozen=True, kw_only=True):
    """One statement and the cell measured for it."""

    statement: Statement
    cell: Cell

    @property
    def agrees(self) -> bool:
        found = self.cell.explanation
        return found.steady and found.connection.success == (self.statement.expect == "success")

    @property
    def disappoints(self) -> bool:
        """Tell whether it disagrees though a kube-proxy could do what the document says."""
        return not self.agrees and not self.statement.unreproducible


class Count(Struct, frozen=True, kw_only=True):
    """The number of statements that agree, of all of a kind."""

    agreed: int
    of: int

    def __str__(self) -> str:
        return f"{self.agreed}/{self.of}"


def compare(revision: Revision, measured: Measured) -> list[Comparison]:
    """Compare every statement of the revision, in its order."""
    return [
        Comparison(
            statement=statement,
            cell=measured[revision.settings[statement.column]][statement.question],
        )
        for statement in revision.statements
    ]


def count(comparisons: Iterable[Comparison]) -> Count:
    found = list(comparisons)
    return Count(agreed=sum(each.agrees for each in found), of=len(found))


def by_question(cells: Iterable[Cell], protocol: str = "TCP") -> dict[Question, Cell]:
    return {cell.question: cell for cell in cells if cell.protocol == protocol}


def differing(one: Iterable[Cell], other: Iterable[Cell]) -> list[tuple[Cell, Cell]]:
    """Return the pairs of cells for the same question that differ in outcome or kind of source."""
    known = {(cell.question, cell.protocol): cell for cell in other}
    pairs = [(cell, known[cell.question, cell.protocol]) for cell in one]
    return [(cell, twin) for cell, twin in pairs if cell.ending != twin.ending]
