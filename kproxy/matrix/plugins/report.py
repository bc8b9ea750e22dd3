"""The table of network plugins, documented and measured, as a board and as plain values. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from kproxy.matrix.plugins import PluginFinding
from kproxy.report.boards import Board, Chapter, Mark

LEGEND = (
    "documented, and measured. x: measured otherwise, for the observed reason in the note; "
    "!: measured otherwise, and no reason was observed."
)

Findings = Mapping[str, Sequence[PluginFinding]]
"""Findings by the name of their column."""


def chapter(title: str, measured: Findings) -> Chapter:
    """Return a chapter with one board, which has a row for each statement."""
    notes: dict[str, int] = {}
    found = {(each.statement, column): each for column, its in measured.items() for each in its}
    statements = dict.fromkeys(statement for statement, _ in found)
    rows = tuple(
        (
            (statement.plugin, statement.row.value, statement.policy),
            (
                Mark(statement.expect, "dim", statement.says),
                *(_mark(found.get((statement, column)), notes) for column in measured),
            ),
        )
        for statement in statements
    )
    columns = (("", "documented"), *(_in_two(column) for column in measured))
    heads = (("plugin", 12), ("row", 11), ("policy", 7))
    return Chapter(title, (Board("network plugins", heads, columns, rows),), tuple(notes))


def _in_two(column: str) -> tuple[str, str]:
    first, _, second = column.partition(" ")
    return first, second


def _mark(finding: PluginFinding | None, notes: dict[str, int]) -> Mark | None:
    if finding is None:
        return None
    detail = "; ".join([finding.measured, *finding.evidence])
    if finding.agrees:
        return Mark(finding.found, "good", detail)
    if finding.disappoints:
        return Mark(f"{finding.found} !", "odd", detail)
    number = notes.setdefault(finding.unreproducible, len(notes) + 1)
    return Mark(f"{finding.found} x{number}", "odd", detail)


def summary(measured: Findings) -> Iterator[str]:
    for column, findings in measured.items():
        agreed = sum(finding.agrees for finding in findings)
        yield f"network plugins, {column}: {agreed}/{len(findings)} statements agree"


def values(measured: Findings) -> list[Mapping[str, object]]:
    return [
        {
            "plugin": each.statement.plugin,
            "row": each.statement.row,
            "policy": each.statement.policy,
            "says": each.statement.says,
            "documented": each.statement.expect,
            "measured_in": column,
            "measured": each.found,
            "in_words": each.measured,
            "evidence": each.evidence,
            "agrees": each.agrees,
            "unreproducible": each.unreproducible,
        }
        for column, findings in measured.items()
        for each in findings
    ]
