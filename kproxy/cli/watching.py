"""`kproxy get --watch`: objects, and then every change, as `kubectl get --watch` prints them.

Source: kubectl pkg/cmd/get/get.go (watch)
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping

import click

from kproxy.cli.api_client import mistake
from kproxy.cli.api_kinds import Kind
from kproxy.cli.api_tables import table_rows
from kproxy.report.columns import GrowingColumns
from kproxy.resident.api_client import ApiClient, Json, refusal

_ONE_KIND = "you may only specify a single resource type"
_ONE_OBJECT = "you may only watch a single resource or type of resource at a time"


def one_watched(wanted: Iterable[tuple[Kind, str]]) -> tuple[Kind, str]:
    """Return the only kind and name ("": all) there is to watch. Raises Refusal if there are more
    than one.
    """
    first, *others = wanted
    if any(kind != first[0] for kind, _ in others):
        raise mistake(_ONE_KIND)
    if others:
        raise mistake(_ONE_OBJECT)
    return first


def follow(
    client: ApiClient,
    path: str,
    begin: Json,
    show: Callable[[Json], None],
    query: Mapping[str, str],
    accept: str,
) -> None:
    """Show the objects or the table that a collection began with, and each change from then on,
    until the server ends the watch. Raises Refusal, Unreachable.
    """
    items = begin.get("items")
    for each in [begin] if items is None else items:
        show(each)
    since = (begin.get("metadata") or {}).get("resourceVersion") or ""
    asked = {**query, "watch": "true", "resourceVersion": since}
    for event in client.follow(path, query=asked, accept=accept):
        if event["type"] == "ERROR":
            raise refusal(int(event["object"].get("code") or 500), event["object"])
        show(event["object"])


def table_shown(*, wide: bool, everywhere: bool) -> Callable[[Json], None]:
    """Return what prints tables one after the other as one: with one head, in the same columns."""
    printed, head = GrowingColumns(), [True]
    known: list[Json] = []

    def show(table: Json) -> None:
        known[:] = table.get("columnDefinitions") or known
        if not table["rows"]:
            return
        rows = table_rows({**table, "columnDefinitions": known}, wide=wide, spaces=everywhere)
        for line in printed.lines(rows if head[0] else rows[1:]):
            click.echo(line)
        head[0] = False

    return show


def object_shown(kind: Kind, output: str) -> Callable[[Json], None]:
    """Return what prints one object after the other; `output` is name, json or yaml."""
    about = {"apiVersion": f"{kind.group}/{kind.version}".lstrip("/"), "kind": kind.kind}
    separator = [""]

    def show(each: Json) -> None:
        if output == "name":
            click.echo(kind.told(each["metadata"]["name"]))
            return
        metadata = {key: value for key, value in each["metadata"].items() if key != "managedFields"}
        whole = {**about, **each, "metadata": metadata}
        if output == "json":
            click.echo(json.dumps(whole, indent=4))
            return
        import yaml

        click.echo(separator[0] + yaml.safe_dump(whole, sort_keys=True), nl=False)
        separator[0] = "---\n"

    return show
