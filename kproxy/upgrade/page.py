"""A report as a page: all that the text has, and the rules also where the mode is another one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from kproxy.report.page import Cell, Heading, Lines, Paragraph, Part, Table, cells, page
from kproxy.upgrade.check import Report
from kproxy.upgrade.packets import Measured
from kproxy.upgrade.report import (
    counted,
    difference_cells,
    disagreements,
    lasting_cells,
    same_rules,
    summary,
)


def page_of(report: Report, measured: Sequence[Measured] = ()) -> str:
    """Return the whole page."""
    title = f"kube-proxy {report.before.label} → {report.after.label}"
    return page(title, _parts(report, measured))


def _parts(report: Report, measured: Sequence[Measured]) -> Iterator[Part]:
    yield Paragraph(counted(report))
    wrong = disagreements(report, measured) if measured else []
    for line in summary(report, measured):
        yield Paragraph(line, "bad" if report.refused or wrong else "")
    for each in report.left_out:
        yield Paragraph(f"Not looked at: {each}", "odd")
    if report.affected:
        yield Heading("Services", sheet=False)
        yield Table(
            "Services that are affected",
            ("Service", "rules", "packets", "behaviours"),
            tuple(
                cells(
                    each.service,
                    "other rules" if each.rules else "",
                    f"{each.packets} other answers" if each.packets else "",
                    ", ".join((*each.behaviours, *each.modes)),
                )
                for each in report.affected
            ),
        )
    yield from _settings(report)
    yield from _behaviours(report)
    if not report.refused:
        yield from _packets(report, measured)
        yield from _rules(report)


def _settings(report: Report) -> Iterator[Part]:
    before, after = report.before.label, report.after.label
    if report.said:
        yield Heading("At the start", sheet=False)
        for each in report.said:
            word = "refuses" if each.refuses else "warns"
            yield Paragraph(f"{each.side} {word}: {each.text}", "bad" if each.refuses else "")
    differing = [each for each in report.values if each.name != "mode"]
    if differing or report.gates:
        yield Heading("Settings", sheet=False)
    if differing:
        rows = tuple(cells(each.name, each.before, each.after) for each in differing)
        yield Table("Settings that mean something else", ("setting", before, after), rows)
    if report.gates:
        rows = tuple(
            cells(f"{each.name}{' (set)' * each.given}", each.before, each.after)
            for each in report.gates
        )
        yield Table("Feature gates", ("gate", before, after), rows)


def _behaviours(report: Report) -> Iterator[Part]:
    before, after = report.before.label, report.after.label
    if report.behaviours or report.modes:
        yield Heading("Behaviours", sheet=False)
    if report.behaviours:
        yield Table(
            "Behaviours that apply here",
            ("behaviour", "packets", before, after, "Services", "source"),
            tuple(
                (
                    Cell(each.name),
                    Cell("[packets]", "odd") if each.packets else Cell(""),
                    *cells(each.before, each.after, ", ".join(each.services), each.source),
                )
                for each in report.behaviours
            ),
        )
    if report.modes:
        yield Table(
            "Differences between the modes that apply here",
            ("difference", before, after, "Services"),
            tuple(
                cells(each.what, each.before, each.after, ", ".join(each.services))
                for each in report.modes
            ),
        )


def _packets(report: Report, measured: Sequence[Measured]) -> Iterator[Part]:
    yield Heading(f"Packets ({'measured' if measured else 'predicted'})", sheet=False)
    before, after = report.before.label, report.after.label
    if not report.answers and not report.lasting:
        yield Paragraph(f"{report.asked} questions, all with the same answer", "good")
    for service, found in groupby(report.answers, lambda each: each.question.service):
        rows = tuple(cells(*difference_cells(each, measured)) for each in found)
        yield Table(str(service), ("who", "asks", before, after), rows, left=2)
    if report.lasting:
        rows = tuple(cells(*lasting_cells(each, measured)) for each in report.lasting)
        yield Table(
            "UDP clients that keep sending from one port",
            ("service", "when", before, after),
            rows,
            left=2,
        )
    for wrong in disagreements(report, measured) if measured else ():
        told = f"NOT AS PREDICTED: {wrong.side}: {wrong.question}: {wrong.problem}"
        yield Paragraph(told, "bad")


def _rules(report: Report) -> Iterator[Part]:
    yield Heading("Rules")
    for each in report.rules:
        title = each.service or "common to all Services"
        yield Heading(f"{title} ({each.family.value}, on {each.node})", level=3)
        yield Lines(
            tuple(
                line
                for chain in each.chains
                for line in (
                    Cell(chain.place),
                    *(Cell(f"- {rule}", "bad") for rule in chain.removed),
                    *(Cell(f"+ {rule}", "good") for rule in chain.added),
                )
            )
        )
    yield Paragraph(same_rules(report))
