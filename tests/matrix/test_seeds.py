"""The documented tables, as they are read."""

from __future__ import annotations

from collections import Counter

import pytest

from kproxy.matrix.places import Client, Kind, Question, Target, questions
from kproxy.matrix.seeds import Revision, Statement, node_level_affinity
from kproxy.matrix.setting import Setting

NEWEST, OLDER = REVISIONS = node_level_affinity()
COLUMNS = ("tunnel-ipvs", "vpc-ipvs", "tunnel-iptables", "vpc-iptables")
by_revision = pytest.mark.parametrize("revision", REVISIONS, ids=lambda revision: revision.name)

COUNTS = [  # revision, column, stated, implied, unreproducible
    ("newest", "tunnel-ipvs", 23, 8, 0),
    ("newest", "vpc-ipvs", 23, 8, 0),
    ("newest", "tunnel-iptables", 24, 8, 0),
    ("newest", "vpc-iptables", 24, 8, 0),
    ("older", "tunnel-ipvs", 28, 8, 0),
    ("older", "vpc-ipvs", 28, 8, 1),
    ("older", "tunnel-iptables", 28, 8, 3),
    ("older", "vpc-iptables", 28, 8, 4),
]


@pytest.mark.parametrize(("name", "column", "stated", "implied", "unreproducible"), COUNTS)
def test_how_much_is_said(
    name: str, column: str, stated: int, implied: int, unreproducible: int
) -> None:
    (revision,) = (each for each in REVISIONS if each.name == name)
    said = [each for each in revision.statements if each.column == column]
    counts = Counter(each.implied for each in said)
    assert (counts[False], counts[True]) == (stated, implied)
    assert sum(bool(each.unreproducible) for each in said) == unreproducible


def test_all_in_all() -> None:
    newest, older = (Counter(each.implied for each in said.statements) for said in REVISIONS)
    assert (newest[False], newest[True]) == (94, 32)
    assert (older[False], older[True]) == (112, 32)
    assert sum(bool(each.unreproducible) for each in OLDER.statements) == 8


@by_revision
def test_statements_are_about_what_is_measured(revision: Revision) -> None:
    assert {each.question for each in revision.statements} <= set(questions())
    assert {each.column for each in revision.statements} == set(COLUMNS) == set(revision.settings)
    assert {each.expect for each in revision.statements} == {"success", "fail"}
    assert {each.revision for each in revision.statements} == {revision.name}
    asked = Counter((each.column, each.question) for each in revision.statements)
    assert set(asked.values()) == {1}, "said twice"


SETTINGS = [  # column, number in the newest revision, number in the older one
    ("tunnel-ipvs", ("ipvs", "tunnel", True), ("ipvs", "tunnel", False)),
    ("vpc-ipvs", ("ipvs", "vpc", True), ("ipvs", "vpc", False)),
    ("tunnel-iptables", ("iptables", "tunnel", True), ("iptables", "tunnel", True)),
    ("vpc-iptables", ("iptables", "vpc", True), ("iptables", "vpc", True)),
]


@pytest.mark.parametrize(("column", *(name.name for name in REVISIONS)), SETTINGS)
def test_settings(column: str, newest: tuple[str, str, bool], older: tuple[str, str, bool]) -> None:
    """Columns of the older revision need another ipvs mode, and nothing else."""
    for revision, (mode, network, fallback) in zip(REVISIONS, (newest, older), strict=True):
        assert revision.settings[column] == Setting(
            mode=mode, network=network, profile="cce", policy="Local", local_fallback=fallback
        )


def statement(revision: Revision, column: str, client: Client, target: Target) -> Statement | None:
    question = Question(Kind.NODE_PORT, client, target)
    return next(
        (
            each
            for each in revision.statements
            if (each.column, each.question) == (column, question)
        ),
        None,
    )


def test_a_document_may_be_silent() -> None:
    asked = (Client.CONTAINER_OTHER, Target.OWN_PUBLIC)
    assert statement(NEWEST, "vpc-ipvs", *asked) is None
    found = statement(NEWEST, "vpc-iptables", *asked)
    assert found
    assert (found.expect, found.basis) == ("fail", "stated")


BASES = [  # revision, column, client, target -> expectation, basis
    (NEWEST, "tunnel-ipvs", Client.NODE_OTHER, Target.OWN_PRIVATE, "fail", "derived"),
    (NEWEST, "vpc-ipvs", Client.NODE_OTHER, Target.OWN_PRIVATE, "success", "stated"),
    (OLDER, "vpc-ipvs", Client.NODE_OTHER, Target.OWN_PRIVATE, "fail", "stated"),
    (OLDER, "vpc-iptables", Client.NODE_OTHER, Target.OWN_PRIVATE, "success", "unqualified"),
    (OLDER, "vpc-iptables", Client.CONTAINER_SAME, Target.SERVER_PUBLIC, "fail", "unqualified"),
]


@pytest.mark.parametrize(("revision", "column", "client", "target", "expect", "basis"), BASES)
def test_what_is_said_and_how(
    revision: Revision, column: str, client: Client, target: Target, expect: str, basis: str
) -> None:
    found = statement(revision, column, client, target)
    assert found
    assert (found.expect, found.basis) == (expect, basis)


NO_TARGET, CORRECTED = "the cell names no target", "the newest revision of the document says so"
UNREPRODUCIBLE = {
    (column, Client.NODE_OTHER, target): NO_TARGET
    for column in ("tunnel-iptables", "vpc-iptables")
    for target in (Target.OWN_PUBLIC, Target.ANOTHER_PRIVATE, Target.ANOTHER_PUBLIC)
} | {
    (column, Client.CONTAINER_SAME, Target.SERVER_PUBLIC): CORRECTED
    for column in ("vpc-ipvs", "vpc-iptables")
}


def test_what_no_kube_proxy_does() -> None:
    found = {
        (each.column, each.question.client, each.question.target): each.unreproducible
        for each in OLDER.statements
        if each.unreproducible
    }
    assert found.keys() == UNREPRODUCIBLE.keys()
    assert [key for key, words in UNREPRODUCIBLE.items() if words not in found[key]] == []
