"""A run as a page, with a picture for each question. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from kproxy.report.page import Cell, Figure, Heading, Paragraph, Part, Table, page
from kproxy.scenario.pictures import picture_of
from kproxy.scenario.report import (
    clauses_of,
    done_lines,
    expected_of,
    found_of,
    head_lines,
    part_title,
    result_of,
    title_of,
    where_of,
    worth_of,
)
from kproxy.scenario.run import Asked, Backends, Round, Run


def page_of(run: Run) -> str:
    """Return the page."""
    return page(title_of(run.scenario, run.mode), _parts(run))


def _parts(run: Run) -> Iterator[Part]:
    yield Paragraph(result_of(run), "good" if run.as_expected == run.expected else "bad")
    for line in head_lines(run.scenario, run.mode, run.network):
        yield Paragraph(line)
    if run.scenario.form.says:
        yield Paragraph(f"The document: {run.scenario.form.says}")
    for each in run.rounds:
        remedy = each.remedy
        if remedy:
            yield Heading(part_title(run.scenario.form, remedy) + worth_of(run, each))
        else:
            yield Heading("Without a remedy")
        if remedy and remedy.says:
            yield Paragraph(f"The document: {remedy.says}")
        for line in done_lines(remedy) if remedy else ():
            yield Paragraph(line, "dim")
        yield from _round(each)
        yield Paragraph((remedy or run.scenario.form).explanation)
        for asked in each.asked:
            if drawn := picture_of(asked):
                yield Figure(drawn, f"One probe: {where_of(asked)}")


def _round(round_: Round) -> Iterator[Part]:
    if round_.asked:
        yield Table(
            "Questions",
            ("question", "found", "as expected", "why"),
            tuple(map(_asked_row, round_.asked)),
        )
    if round_.attached:
        yield Table(
            "Backends of load balancers",
            ("load balancer", "found", "as expected"),
            tuple(map(_backends_row, round_.attached)),
        )


def _asked_row(asked: Asked) -> tuple[Cell, ...]:
    success = asked.explanation.connection.success
    return (
        Cell(where_of(asked)),
        Cell(found_of(asked), "good" if success else "bad"),
        _compared(expected_of(asked), ok=asked.ok),
        Cell("\n".join(clauses_of(asked))),
    )


def _backends_row(each: Backends) -> tuple[Cell, ...]:
    return (
        Cell(f"{each.expected.balancer}, port {each.expected.port}"),
        Cell(", ".join(each.found) or "none"),
        _compared(", ".join(each.expected.backends) or "none", ok=each.ok),
    )


def _compared(expected: str, *, ok: bool) -> Cell:
    return (
        Cell("as expected", "good") if ok else Cell(f"NOT AS EXPECTED\nexpected: {expected}", "odd")
    )
