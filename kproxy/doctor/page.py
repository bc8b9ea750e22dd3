"""A diagnosis as a page. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kproxy.doctor.finding import Diagnosis, Finding, Severity
from kproxy.doctor.report import about, counted, left_out_line
from kproxy.report.page import Cell, Paragraph, Part, Table, Tone, page

_TONES: dict[Severity, Tone] = {
    Severity.ERROR: "bad",
    Severity.WARNING: "odd",
    Severity.NOTE: "",
}


def page_of(diagnosis: Diagnosis) -> str:
    """Return the page: all that the text has."""
    return page(f"Diagnosis of {diagnosis.looked_at}", _parts(diagnosis))


def _parts(diagnosis: Diagnosis) -> Iterator[Part]:
    worst = diagnosis.findings[0].severity if diagnosis.findings else None
    yield Paragraph(counted(diagnosis), _TONES[worst] if worst else "good")
    if diagnosis.findings:
        yield _table("Findings, worst first", diagnosis.findings)
    if diagnosis.symptoms:
        yield _table("Also seen, and probably a result of the above:", diagnosis.symptoms)
    for left in diagnosis.left_out:
        yield Paragraph(left_out_line(left), "dim")


def _table(caption: str, findings: Sequence[Finding]) -> Table:
    return Table(
        caption,
        ("finding", "severity", "of", "seen", "remedy", "sure"),
        tuple(
            (
                Cell(each.id),
                Cell(each.severity.value, _TONES[each.severity]),
                Cell(about(each)),
                Cell("\n".join(each.evidence)),
                Cell("\n".join(each.remedy)),
                Cell(each.sure.value),
            )
            for each in findings
        ),
    )
