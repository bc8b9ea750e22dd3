"""A diagnosis as text, and as JSON values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, TextIO

import msgspec

from kproxy.doctor.finding import Diagnosis, Finding, LeftOut, Severity
from kproxy.report.terminal import Paper
from kproxy.typed import converted

_STYLES = {
    Severity.ERROR: "bold red",
    Severity.WARNING: "bold yellow",
    Severity.NOTE: "bold",
}


def values(diagnosis: Diagnosis) -> dict[str, Any]:
    """Return a diagnosis as JSON values; `diagnosis_of` is the inverse."""
    found: dict[str, Any] = msgspec.to_builtins(diagnosis)
    return {
        "findings": [_public(each) for each in found["findings"]],
        "symptoms": [_public(each) for each in found["symptoms"]],
        "leftOut": found["left_out"],
        "checks": found["made"],
        "lookedAt": found["looked_at"],
    }


def diagnosis_of(document: dict[str, Any]) -> Diagnosis:
    """Return the diagnosis that these JSON values are of."""
    return converted(
        {
            "findings": document["findings"],
            "symptoms": document["symptoms"],
            "left_out": document["leftOut"],
            "made": document["checks"],
            "looked_at": document["lookedAt"],
        },
        Diagnosis,
    )


def _public(finding: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in finding.items() if key != "service"}


def print_report(diagnosis: Diagnosis, file: TextIO | None = None) -> None:
    """Print findings, worst first, then what was left out."""
    paper = Paper(file)
    for each in diagnosis.findings:
        _print(paper, each)
    if diagnosis.symptoms:
        paper.line("Also seen, and probably a result of the above:", "bold")
        paper.line()
        for each in diagnosis.symptoms:
            _print(paper, each)
    for left in diagnosis.left_out:
        paper.paragraph(left_out_line(left), "dim", hanging=2)
    if diagnosis.left_out:
        paper.line()
    paper.line(f"{counted(diagnosis)}; looked at {diagnosis.looked_at}")


def _print(paper: Paper, finding: Finding) -> None:
    paper.line(
        f"{finding.severity.value}  {finding.id}  {about(finding)}", _STYLES[finding.severity]
    )
    for label, text in _rows(finding):
        (paper.command if text.startswith("$ ") else paper.labelled)(label, text)
    paper.line()


def _rows(finding: Finding) -> Iterator[tuple[str, str]]:
    for number, text in enumerate(finding.evidence):
        yield "" if number else "seen", text
    for number, text in enumerate(finding.remedy):
        yield "" if number else "remedy", text
    yield "sure", finding.sure.value


def about(finding: Finding) -> str:
    """Return the object and the host that a finding is about."""
    return " on ".join(filter(None, (finding.object, finding.host)))


def left_out_line(left: LeftOut) -> str:
    """Return which checks were left out, where and why."""
    where = f" on {left.where}" if left.where else ""
    return f"left out{where}: {', '.join(left.checks)}: {left.why}"


def counted(diagnosis: Diagnosis) -> str:
    """Return the number of findings, by severity, and of checks."""
    counted = Counter(each.severity for each in diagnosis.findings)
    parts = [
        f"{counted[severity]} {severity.value}{'s' * (counted[severity] != 1)}"
        for severity in Severity
        if counted[severity]
    ]
    made = f"{len(diagnosis.made)} check{'s' * (len(diagnosis.made) != 1)} made"
    return f"{', '.join(parts) or 'nothing found'}; {made}"
