"""Access matrices as boards and as plain values. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from kproxy.lab.models import MODELS
from kproxy.matrix.agreement import Comparison, Measured, count
from kproxy.matrix.measure import Cell
from kproxy.matrix.places import Client, Kind, Target
from kproxy.matrix.seeds import Revision
from kproxy.matrix.setting import Setting
from kproxy.report.boards import Board, Chapter, Mark
from kproxy.versions import NEWEST_RELEASED

_SOURCES = {
    "pod": "the address of the client's pod",
    "node": "that of the client's node",
    "eip": "the public one of the client's node",
    "gateway": "the server node's on the link to its pods",
    "tunnel": "a node's on its tunnel device",
    "second": "a node's on its second interface",
    "client": "that of the client outside",
}
LEGEND = (
    "A word: it is reached, and this is the source that the server saw: "
    + "; ".join(f"{word}, {meaning}" for word, meaning in _SOURCES.items())
    + ". timeout and refused: it is not; the number leads to the reason, as observed."
)
SEED_LEGEND = (
    "documented/measured: ok or F(ails), and the source that the server saw (gw: gateway, vtep: "
    "tunnel). *: implied, for the document lists only what may fail; -: it does not say. "
    "!: they disagree; x: they disagree, and no kube-proxy does what is said."
)
_SHORT = {"gateway": "gw", "tunnel": "vtep"}
_CLIENTS = {
    Client.NODE_SAME: "process, server's node",
    Client.NODE_OTHER: "process, another node",
    Client.CONTAINER_SAME: "pod, server's node",
    Client.CONTAINER_OTHER: "pod, another node",
    Client.OUTSIDE: "internet",
}
_TARGETS = {
    Target.CLUSTER_IP: ("cluster", "IP"),
    Target.SERVER_PRIVATE: ("its node", "private"),
    Target.SERVER_PUBLIC: ("its node", "public"),
    Target.OWN_PRIVATE: ("own node", "private"),
    Target.OWN_PUBLIC: ("own node", "public"),
    Target.ANOTHER_PRIVATE: ("third node", "private"),
    Target.ANOTHER_PUBLIC: ("third node", "public"),
    Target.LB_PRIVATE: ("balancer", "private"),
    Target.LB_PUBLIC: ("balancer", "public"),
    Target.DNAT_PUBLIC: ("DNAT", "gateway"),
}
_KINDS = {
    Kind.CLUSTER_IP: "cluster IP",
    Kind.NODE_PORT: "NodePort",
    Kind.LOAD_BALANCER: "shared load balancer",
    Kind.DNAT_GATEWAY: "DNAT gateway",
    Kind.NGINX: "NGINX ingress behind a dedicated load balancer",
}
_ASKED = {
    Kind.CLUSTER_IP: "clusterip",
    Kind.NODE_PORT: "nodeport",
    Kind.LOAD_BALANCER: "lb",
    Kind.DNAT_GATEWAY: "dnat",
    Kind.NGINX: "ingress",
}
_BOARDS = (
    (Kind.NODE_PORT,),
    (Kind.CLUSTER_IP, Kind.LOAD_BALANCER, Kind.DNAT_GATEWAY),
    (Kind.NGINX,),
)


def chapters(measured: Mapping[Setting, Sequence[Cell]]) -> list[Chapter]:
    """Return a chapter for each setting and protocol, or one for both if they do not differ."""
    return [
        _chapter(f"{title_of(setting)}, {protocols}", cells, MODELS[setting.network].remark)
        for setting, found in measured.items()
        for protocols, cells in _by_protocol(found)
    ]


def title_of(setting: Setting) -> str:
    old = "" if setting.local_fallback else " (as before 1.25)"
    newest = setting.emulate is NEWEST_RELEASED
    version = "" if newest else f" of kube-proxy {setting.emulate}"
    return (
        f"{setting.network}, {setting.mode} mode{old}{version}, profile {setting.profile}, "
        f"policy {setting.policy}, {setting.family}"
    )


def _by_protocol(cells: Sequence[Cell]) -> list[tuple[str, list[Cell]]]:
    found = {
        name: [cell for cell in cells if cell.protocol == name]
        for name in dict.fromkeys(cell.protocol for cell in cells)
    }
    if len(found) == 2 and _alike(*found.values()):
        return [(" and ".join(found), next(iter(found.values())))]
    return [*found.items()]


def _alike(one: Iterable[Cell], other: Iterable[Cell]) -> bool:
    """Tell whether the questions that both have end the same (an ingress has only TCP)."""
    known = {cell.question: cell for cell in one}
    return all(cell.ending == known[cell.question].ending for cell in other)


def _chapter(title: str, cells: Sequence[Cell], remark: str) -> Chapter:
    notes: dict[str, int] = {}
    marks = {
        (cell.question.kind, cell.question.target, cell.question.client): cell for cell in cells
    }
    present = {key[:2] for key in marks}
    boards = []
    for kinds in _BOARDS:
        columns = [
            (kind, target) for kind in kinds for target in Target if (kind, target) in present
        ]
        if columns:
            rows = tuple(
                (
                    (words,),
                    tuple(_mark(marks.get((*column, client)), notes) for column in columns),
                )
                for client, words in _CLIENTS.items()
            )
            heads = (("who", 13 if len(columns) > 4 else 22),)
            name = ", ".join(_KINDS[kind] for kind in dict.fromkeys(kind for kind, _ in columns))
            boards.append(Board(name, heads, tuple(_TARGETS[each] for _, each in columns), rows))
    return Chapter(title, tuple(boards), tuple(notes), remark)


def _mark(cell: Cell | None, notes: dict[str, int]) -> Mark | None:
    if cell is None:
        return None
    connection, doubt = cell.connection, "" if cell.explanation.steady else "?"
    if connection.success:
        return Mark(f"{cell.source_is or connection.source}{doubt}", "good", _detail(cell))
    number = notes.setdefault(cell.reason.text, len(notes) + 1)
    return Mark(f"{connection.outcome} {number}{doubt}", "bad", _detail(cell))


def _detail(cell: Cell) -> str:
    return "; ".join([cell.asked, *cell.reason.way, cell.reason.text])


def differences(title: str, pairs: Sequence[tuple[Cell, Cell]], one: str, other: str) -> Chapter:
    """Return a chapter of the cells that differ in two measurements.

    Both protocols share a row if they differ in the same way.
    """
    notes: dict[str, int] = {}
    rows: dict[object, tuple[tuple[str, ...], tuple[Mark | None, ...]]] = {}
    for first, second in pairs:
        question = first.question
        difference = (first.ending, second.ending)
        if (question, difference) not in rows:
            rows[question, difference] = (
                (_ASKED[question.kind], question.client.value, question.target.value),
                (_mark(first, notes), _mark(second, notes)),
            )
    heads = (("service", 9), ("client", 15), ("target", 20))
    board = Board(
        f"{len(rows)} questions are answered otherwise",
        heads,
        (("in", one), ("in", other)),
        tuple(rows.values()),
    )
    return Chapter(title, (board,), tuple(notes))


def comparison(
    revision: Revision, comparisons: Sequence[Comparison], measured: Measured
) -> Chapter:
    """Return a chapter that compares documented and measured, cell by cell."""
    said = {(each.statement.question, each.statement.column): each for each in comparisons}
    questions = dict.fromkeys(each.statement.question for each in comparisons)
    columns = tuple(
        (network, mode) for network, _, mode in (c.partition("-") for c in revision.settings)
    )
    boards = []
    for kind in _KINDS:
        rows = tuple(
            (
                (question.client.value, question.target.replace("-node-", " ")),
                tuple(
                    _compared(said.get((question, column)), measured[setting][question])
                    for column, setting in revision.settings.items()
                ),
            )
            for question in questions
            if question.kind is kind
        )
        if rows:
            boards.append(Board(_KINDS[kind], (("client", 15), ("target", 15)), columns, rows))
    notes = tuple(
        dict.fromkeys(each.statement.unreproducible for each in comparisons if not each.agrees)
    )
    title = f"externalTrafficPolicy Local, as documented ({revision.name} revision) and measured"
    return Chapter(title, tuple(boards), tuple(filter(None, notes)))


def _compared(comparison: Comparison | None, cell: Cell) -> Mark:
    success, detail = cell.connection.success, _detail(cell)
    found = f"ok {_SHORT.get(cell.source_is, cell.source_is)}" if success else "F"
    if comparison is None:
        return Mark(f"-/{found}", "dim", detail)
    statement = comparison.statement
    documented = ("ok" if statement.expect == "success" else "F") + "*" * statement.implied
    if comparison.agrees:
        return Mark(f"{documented}/{found}", "good" if success else "bad", detail)
    return Mark(f"{documented}/{found} {'!' if comparison.disappoints else 'x'}", "odd", detail)


def summary(revision: Revision, comparisons: Sequence[Comparison]) -> Iterator[str]:
    """Yield lines with the numbers of cells that agree: in all, and by column."""
    stated = [each for each in comparisons if not each.statement.implied]
    implied = [each for each in comparisons if each.statement.implied]
    yield (
        f"{revision.name} revision: {count(stated)} stated cells agree, "
        f"{count(implied)} implied ones"
    )
    by_column = {
        column: [each for each in stated if each.statement.column == column]
        for column in revision.settings
    }
    yield "  " + ", ".join(f"{column} {count(each)}" for column, each in by_column.items())


def cell_values(setting: Setting, cells: Iterable[Cell]) -> Mapping[str, object]:
    """Return plain values for JSON."""
    return {
        "mode": setting.mode,
        "network": setting.network,
        "profile": setting.profile,
        "policy": setting.policy,
        "family": setting.family,
        "ipvs_local_fallback": setting.local_fallback,
        "emulate": setting.emulate.value,
        "cells": [
            {
                "service": cell.question.kind,
                "client": cell.question.client,
                "target": cell.question.target,
                "protocol": cell.protocol,
                "asked": cell.asked,
                "outcome": cell.connection.outcome,
                "source": cell.connection.source,
                "source_is": cell.source_is,
                "hops": cell.explanation.hops,
                "at": cell.reason.at,
                "mechanism": cell.reason.mechanism,
                "reason": cell.reason.text,
                "way": cell.reason.way,
                "steady": cell.explanation.steady,
            }
            for cell in cells
        ],
    }


def comparison_values(comparisons: Iterable[Comparison]) -> list[Mapping[str, object]]:
    return [
        {
            "revision": each.statement.revision,
            "column": each.statement.column,
            "service": each.statement.question.kind,
            "client": each.statement.question.client,
            "target": each.statement.question.target,
            "documented": each.statement.expect,
            "basis": each.statement.basis,
            "measured": each.cell.connection.outcome,
            "source_is": each.cell.source_is,
            "agrees": each.agrees,
            "unreproducible": each.statement.unreproducible,
            "at": each.cell.reason.at,
            "reason": each.cell.reason.text,
        }
        for each in comparisons
    ]
