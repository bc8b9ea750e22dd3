"""Tables that a server has made, printed as kubectl prints them."""

from __future__ import annotations

from collections.abc import Sequence

import click

from kproxy.cli.api_kinds import Kind
from kproxy.report.columns import column_lines
from kproxy.resident.api_client import Json


def print_tables(
    answers: Sequence[tuple[Kind, Json]], *, wide: bool, everywhere: bool, namespace: str
) -> None:
    """Print the tables of several kinds, an empty line between them.

    `wide`: also the columns that are for -o wide. `everywhere`: the namespace comes first. If there
    are no objects, that is said on standard error. `namespace`: for this sentence; "": of all.
    Source: kubectl pkg/cmd/get/get.go
    """
    filled = [(kind, answer) for kind, answer in answers if answer.get("rows")]
    several = len({kind.full_name for kind, _ in answers}) > 1
    if not filled:
        scoped = namespace and any(kind.namespaced for kind, _ in answers)
        where = f" in {namespace} namespace" if scoped else ""
        click.echo(f"No resources found{where}." if scoped else "No resources found", err=True)
        return
    merged: list[tuple[Kind, Json]] = []
    for kind, answer in filled:  # `get svc a b` is one table
        if merged and merged[-1][0] == kind:
            merged[-1][1]["rows"] += answer["rows"]
        else:
            merged.append((kind, answer))
    for number, (kind, answer) in enumerate(merged):
        if number:
            click.echo()
        prefix, spaces = kind if several else None, everywhere and kind.namespaced
        for line in column_lines(table_rows(answer, prefix, wide=wide, spaces=spaces)):
            click.echo(line)


def table_rows(
    answer: Json, prefix: Kind | None = None, *, wide: bool, spaces: bool
) -> list[tuple[str, ...]]:
    """Return the head and the rows of a table; names begin with their kind if there is a prefix.

    `wide`: also the columns that are for -o wide. `spaces`: the namespace comes first.
    """
    columns = answer["columnDefinitions"]
    shown = [number for number, each in enumerate(columns) if wide or not each.get("priority")]
    rows = [tuple(columns[number]["name"].upper() for number in shown)]
    for row in answer["rows"]:
        cells = [_cell(row["cells"][number]) for number in shown]
        if prefix:
            cells[0] = prefix.told(cells[0])
        rows.append(tuple(cells))
    if not spaces:
        return rows
    named = [row["object"]["metadata"].get("namespace", "") for row in answer["rows"]]
    return [(space, *row) for space, row in zip(["NAMESPACE", *named], rows, strict=True)]


def _cell(value: object) -> str:
    return "<none>" if value is None else str(value).partition("\n")[0]
