"""Tours for a terminal, and as plain values for JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TextIO

from rich.table import Table as RichTable
from rich.text import Text

from kproxy.probe import Finding
from kproxy.report.terminal import Paper
from kproxy.tour.catalog import Example
from kproxy.tour.part import Part, Shown

WIDTHS = (8, 20, 19, 25, 3)
WIDTHS_FOR_PROTOCOLS = (7, 24, 18, 23, 3)  # long ports and protocols, of hosts with short names
_WIDEST = 100  # columns of findings: wider ones are hard to follow
_HEADERS = ("who", "asks", "answered by", "source seen", "ok")


def print_head(example: Example) -> None:
    """Print the comment of the manifest's author."""
    paper = Paper()
    paper.line(example.title or example.name, "bold")
    for paragraph in example.text:
        paper.line()
        paper.paragraph(paragraph)


def print_part(
    part: Part,
    owners: Mapping[str, str],
    widths: Sequence[int] = WIDTHS,
    file: TextIO | None = None,
) -> None:
    """Print the findings as a table, and below it problems and differences to iptables mode.

    `owners`: address -> its owner. `widths`: the columns' on 80 columns, without the space between
    them.
    """
    paper = Paper(file)
    console = paper.console
    console.print(Text(f"\n{part.title}", style="bold"))
    if part.findings:
        console.print(
            _findings_table(part.findings, owners, _scaled(widths, min(paper.width, _WIDEST)))
        )
        for finding in part.findings:
            _print_remarks(paper, finding)
    for i, table in enumerate(part.tables):
        if i or part.findings:
            console.print()
        paper.table(table.header, table.rows)
    for note in part.notes:
        paper.paragraph(note)
    for problem in part.problems:
        paper.paragraph(f"NOT AS EXPECTED: {problem}", "red")


def part_values(part: Part) -> Mapping[str, object]:
    """Return the fields of a part, with `findings` as from `findings_values`, and `ok`."""
    return {
        "title": part.title,
        "tables": [dataclasses.asdict(table) for table in part.tables],
        "findings": findings_values([part]),
        "notes": list(part.notes),
        "problems": list(part.problems),
        "ok": part.ok,
    }


def findings_values(parts: Iterable[Part]) -> list[Mapping[str, object]]:
    """Return one mapping for each finding: its fields, the title of its part, and `ok`.

    `ok` is None where nothing was predicted.
    """
    return [
        {
            "section": part.title,
            **dataclasses.asdict(finding),
            "ok": finding.ok if finding.judged else None,
        }
        for part in parts
        for finding in part.findings
    ]


def summary(shown: Shown) -> Iterator[str]:
    """Yield a line with counts, and times or what was left out of the manifests, then a line for
    each problem.
    """
    findings = [finding for part in shown.parts for finding in part.findings]
    judged = [finding for finding in findings if finding.judged]
    if len(judged) < len(findings):
        yield (
            f"{len(findings) - len(judged)} seen and not judged: {shown.mode} mode has no oracle "
            "that predicts what must happen"
        )
    times = f"lab up in {shown.lab_up_s:.2f} s, {shown.total_s:.1f} s in all"
    said = f"{sum(finding.ok for finding in judged)} of {len(judged)} as expected"
    if not findings:
        said = "nothing was asked: no Service of the manifest has an address"
    if shown.left_out:
        yield times
    yield f"{said}; {shown.left_out or times}"
    for finding in findings:
        if not finding.ok:
            yield f"NOT AS EXPECTED: {finding.check}: {finding.client} asks {finding.asked}"
            yield from (f"  {problem}" for problem in finding.problems)
    yield from (f"NOT AS EXPECTED: {problem}" for part in shown.parts for problem in part.problems)


def _print_remarks(paper: Paper, finding: Finding) -> None:
    console, question = paper.console, f"{finding.client}, {finding.asked}"
    if there := finding.in_iptables_mode:
        console.print(Text(f"  {question}: in iptables mode {there}", style="dim"))
    for problem in finding.problems:
        console.print(Text(f"  {question}: {problem}", style="red"))
    if finding.problems:
        console.print(Text(f"  expected because: {finding.why}", style="dim"))


def _findings_table(
    findings: Iterable[Finding], owners: Mapping[str, str], widths: Sequence[int]
) -> RichTable:
    # Longer text is folded, never cut.
    table = RichTable(box=None, padding=(0, 1, 0, 0), header_style="dim")
    for header, width in zip(_HEADERS, widths, strict=True):
        table.add_column(header, width=width, overflow="fold")
    for finding in findings:
        table.add_row(
            Text(finding.client),
            Text(finding.asked),
            Text(finding.answered),
            Text(f"{finding.source} {owners.get(finding.source, '')}".strip() or "-"),
            _verdict(finding),
        )
    return table


def _verdict(finding: Finding) -> Text:
    if not finding.judged:
        return Text("-", style="dim")
    return Text("yes", style="green") if finding.ok else Text("NO", style="bold red")


def _scaled(widths: Sequence[int], width: int) -> list[int]:
    """Return the widths of the columns on paper of that width, each with a space behind it.

    The first and the last keep theirs: names of hosts, and a short word.
    """
    first, *middle, last = widths
    room, wanted = width - first - last - len(widths), sum(middle)
    scaled = [room * each // wanted for each in middle]
    scaled[-1] += room - sum(scaled)
    return [first, *scaled, last]
