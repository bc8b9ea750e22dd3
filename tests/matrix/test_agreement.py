"""Agreement of a measured cell with a document, and with another cell."""

from __future__ import annotations

import pytest

from kproxy.matrix.agreement import Comparison, Count, by_question, compare, count, differing
from kproxy.matrix.places import Client, Kind, Question, Target
from kproxy.matrix.seeds import Revision, Statement
from kproxy.matrix.setting import Setting
from tests.matrix.cells import cell

OWN = Question(Kind.NODE_PORT, Client.NODE_OTHER, Target.OWN_PRIVATE)
PRIVATE = Question(Kind.NODE_PORT, Client.NODE_OTHER, Target.SERVER_PRIVATE)
ELSEWHERE = Question(Kind.NODE_PORT, Client.NODE_OTHER, Target.ANOTHER_PRIVATE)


def statement(question: Question, expect: str, column: str = "x", why: str = "") -> Statement:
    return Statement(
        revision="r",
        column=column,
        question=question,
        expect=expect,
        basis="stated",
        unreproducible=why,
    )


AGREEMENTS = [  # documented, found, steady, unreproducible -> agrees, disappoints
    ("success", "success", True, "", True, False),
    ("success", "timeout", True, "", False, True),
    ("success", "refused", True, "", False, True),
    ("fail", "timeout", True, "", True, False),
    ("fail", "refused", True, "", True, False),
    ("fail", "success", True, "", False, True),
    ("success", "success", False, "", False, True),  # nothing agrees with an unsteady cell
    ("fail", "timeout", False, "", False, True),
    ("success", "timeout", True, "because", False, False),
    ("success", "success", True, "because", True, False),
]


@pytest.mark.parametrize(("said", "found", "steady", "why", "agrees", "disappoints"), AGREEMENTS)
def test_agreement(
    said: str, found: str, steady: bool, why: str, agrees: bool, disappoints: bool
) -> None:
    comparison = Comparison(
        statement=statement(OWN, said, why=why), cell=cell(OWN, found, steady=steady)
    )
    assert (comparison.agrees, comparison.disappoints) == (agrees, disappoints)


def test_each_column_is_compared_with_its_own_setting() -> None:
    one, other = Setting(network="vpc"), Setting(network="tunnel")
    revision = Revision(
        name="r",
        settings={"one": one, "other": other},
        statements=(
            statement(OWN, "success", "one"),
            statement(OWN, "success", "other"),
            statement(PRIVATE, "fail", "other"),
        ),
    )
    measured = {
        one: {OWN: cell(OWN)},
        other: {OWN: cell(OWN, "timeout"), PRIVATE: cell(PRIVATE, "timeout")},
    }
    found = compare(revision, measured)
    assert [each.statement for each in found] == list(revision.statements)
    assert [each.agrees for each in found] == [True, False, True]
    assert count(found) == Count(agreed=2, of=3)
    assert str(count(found)) == "2/3"


def test_nothing_to_compare() -> None:
    assert str(count([])) == "0/0"


def test_cells_by_question() -> None:
    cells = [cell(OWN), cell(OWN, "timeout", protocol="UDP"), cell(PRIVATE)]
    assert by_question(cells) == {OWN: cells[0], PRIVATE: cells[2]}
    assert by_question(cells, "UDP") == {OWN: cells[1]}


def test_differing_cells() -> None:
    one = [cell(OWN), cell(PRIVATE), cell(ELSEWHERE, "timeout", ""), cell(OWN, protocol="UDP")]
    other = [
        cell(OWN, protocol="UDP", source_is="pod"),
        cell(ELSEWHERE, "refused", ""),
        cell(PRIVATE, steady=False),
        cell(OWN),
    ]
    assert differing(one, other) == [(one[2], other[1]), (one[3], other[0])]
