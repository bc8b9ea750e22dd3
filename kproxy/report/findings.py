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


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """Findings that belong together, under a title of one line."""

    title: str
    findings: Sequence[Finding]


def print_sections(
    sections: Iterable[Section], file: TextIO | None = None, *, name: Callable[[str], str] = str
) -> None:
    """The table on `file` (standard output): colours only on a terminal, and not with NO_COLOR.

    Problems stand below the table of their section. `name` says whose an address is.
    """
    console = Console(file=file, width=WIDTH, highlight=False)
    for section in sections:
        console.print(Text(f"\n{section.title}", style="bold"))
        console.print(_table(section.findings, name))
        for finding in section.findings:
            for problem in finding.problems:
                console.print(Text(f"  {finding.client}, {finding.asked}: {problem}", style="red"))
            if finding.problems:
                console.print(Text(f"  why it should: {finding.why}", style="dim"))


def _table(findings: Iterable[Finding], name: Callable[[str], str]) -> Table:
    table = Table(box=None, padding=(0, 1), expand=True, header_style="dim")
    # The widths add up to 80 with their padding; what is longer is folded, never cut.
    for header, width in (
        ("who", 8),
        ("asks", 19),
        ("answered by", 18),
        ("source seen", 24),
        ("", 3),
    ):
        table.add_column(header, width=width, overflow="fold")
    for finding in findings:
        mark = Text("ok", style="green") if finding.ok else Text("BAD", style="bold red")
        table.add_row(finding.client, finding.asked, finding.answered, _source(finding, name), mark)
    return table


def _source(finding: Finding, name: Callable[[str], str]) -> str:
    if not finding.source:
        return "-"
    return f"{finding.source} {name(finding.source)}"


def as_values(sections: Iterable[Section]) -> list[Mapping[str, object]]:
    """One mapping for each finding: its fields, `ok`, and the title of its section."""
    return [
        {"section": section.title, **dataclasses.asdict(finding), "ok": finding.ok}
        for section in sections
        for finding in section.findings
    ]
