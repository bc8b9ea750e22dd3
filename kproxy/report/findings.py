"""Findings as a table of at most 80 columns, and as plain values for JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from kproxy.probe import Finding

WIDTH = 80
WIDTHS = (8, 20, 19, 25, 3)
WIDTHS_FOR_PROTOCOLS = (7, 24, 18, 23, 3)  # long ports and protocols, of hosts with short names
_HEADERS = ("who", "asks", "answered by", "source seen", "ok")


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """Findings that belong together, under a title of one line."""

    title: str
    findings: Sequence[Finding]


def print_sections(
    sections: Iterable[Section],
    file: TextIO | None = None,
    *,
    name: Callable[[str], str] = str,
    widths: Sequence[int] = WIDTHS,
) -> None:
    """The table on `file` (standard output): colours only on a terminal, and not with NO_COLOR.

    Problems, and what iptables mode would do, stand below the table of their section. `name` says
    whose an address is. `widths`: of the columns, without the space between them.
    """
    console = Console(file=file, width=WIDTH, highlight=False)
    for section in sections:
        console.print(Text(f"\n{section.title}", style="bold"))
        console.print(_table(section.findings, name, widths))
        for finding in section.findings:
            if there := finding.in_iptables_mode:
                question = f"{finding.client}, {finding.asked}"
                console.print(Text(f"  {question}: in iptables mode {there}", style="dim"))
            for problem in finding.problems:
                console.print(Text(f"  {finding.client}, {finding.asked}: {problem}", style="red"))
            if finding.problems:
                console.print(Text(f"  why it should: {finding.why}", style="dim"))


def _table(findings: Iterable[Finding], name: Callable[[str], str], widths: Sequence[int]) -> Table:
    # A space behind each column makes 80. What is longer is folded, never cut.
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="dim")
    for header, width in zip(_HEADERS, widths, strict=True):
        table.add_column(header, width=width, overflow="fold")
    for finding in findings:
        table.add_row(
            Text(finding.client),
            Text(finding.asked),
            Text(finding.answered),
            Text(f"{finding.source} {name(finding.source)}".strip() or "-"),
            Text("yes", style="green") if finding.ok else Text("NO", style="bold red"),
        )
    return table


def as_values(sections: Iterable[Section]) -> list[Mapping[str, object]]:
    """One mapping for each finding: its fields, `ok`, and the title of its section."""
    return [
        {"section": section.title, **dataclasses.asdict(finding), "ok": finding.ok}
        for section in sections
        for finding in section.findings
    ]
