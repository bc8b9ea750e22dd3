"""A tour of a manifest for a terminal of 80 columns, and as plain values for JSON."""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Mapping

from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from kproxy.lab import Lab
from kproxy.report.findings import WIDTH, WIDTHS_FOR_PROTOCOLS, Section, as_values, print_sections
from kproxy.tour.catalog import Example
from kproxy.tour.part import Part, Table


def print_head(example: Example) -> None:
    """What its author says of it."""
    console = _console()
    console.print(Text(example.title or example.name, style="bold"))
    for paragraph in example.text:
        console.print()
        _print_filled(console, paragraph)


def print_part(part: Part, lab: Lab) -> None:
    """`lab` knows whose an address is, now."""
    console = _console()
    hosts = lab.network.hosts.values()
    owners = {address: host.name for host in hosts for address in host.addresses}
    if part.findings:
        section = Section(title=part.title, findings=part.findings)
        print_sections([section], name=lambda it: owners.get(it, ""), widths=WIDTHS_FOR_PROTOCOLS)
    else:
        console.print(Text(f"\n{part.title}", style="bold"))
    for i, table in enumerate(part.tables):
        if i or part.findings:
            console.print()
        console.print(_table(table))
    for note in part.notes:
        _print_filled(console, note)
    for problem in part.problems:
        _print_filled(console, f"NOT AS EXPECTED: {problem}", style="red")


def part_values(part: Part) -> Mapping[str, object]:
    """The fields of a part, `findings` as `kproxy demo --json` has them, and `ok`."""
    return {
        "title": part.title,
        "tables": [dataclasses.asdict(table) for table in part.tables],
        "findings": as_values([Section(title=part.title, findings=part.findings)]),
        "notes": list(part.notes),
        "problems": list(part.problems),
        "ok": part.ok,
    }


def _console() -> Console:
    return Console(width=WIDTH, highlight=False)


def _print_filled(console: Console, text: str, style: str = "") -> None:
    lines = textwrap.fill(text, WIDTH, break_long_words=False, break_on_hyphens=False)
    console.print(Text(lines, style=style))


def _table(table: Table) -> RichTable:
    """Columns as wide as they need; what does not fit is folded, never cut."""
    made = RichTable(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for header in table.header:
        made.add_column(header, overflow="fold")
    for row in table.rows:
        made.add_row(*map(Text, row))
    return made
