"""Cells as boards: the place of each word, and the reason behind each number."""

from __future__ import annotations

from kproxy.matrix.agreement import Comparison
from kproxy.matrix.places import Client, Kind, Question, Target
from kproxy.matrix.report import chapters, comparison, differences, summary
from kproxy.matrix.seeds import Revision, Statement
from kproxy.matrix.setting import Setting
from kproxy.report.boards import Board
from tests.matrix.cells import cell

SETTING = Setting(mode="iptables", network="vpc", profile="cce")
OWN = Question(Kind.NODE_PORT, Client.NODE_OTHER, Target.OWN_PRIVATE)
THIRD = Question(Kind.NODE_PORT, Client.NODE_OTHER, Target.ANOTHER_PRIVATE)
BALANCED = Question(Kind.LOAD_BALANCER, Client.CONTAINER_SAME, Target.LB_PRIVATE)
REASON = "node-c drops it: filter KUBE-EXTERNAL-SERVICES"


def words(board: Board) -> dict[tuple[str, ...], list[str]]:
    return {left: [mark.text if mark else "" for mark in marks] for left, marks in board.rows}


def test_words_and_notes() -> None:
    lost = [cell(question, "timeout", reason=REASON) for question in (THIRD, BALANCED)]
    (chapter,) = chapters({SETTING: [cell(OWN), *lost]})
    ports, others = chapter.boards
    assert chapter.title == "vpc, iptables mode, profile cce, policy Local, IPv4, TCP"
    assert chapter.notes == (REASON,)
    assert ports.columns == (("own node", "private"), ("third node", "private"))
    assert words(ports)["process, another node",] == ["node", "timeout 1"]
    assert words(ports)["internet",] == ["", ""]
    assert (others.title, words(others)["pod, server's node",]) == (
        "shared load balancer",
        ["timeout 1"],
    )


def test_protocols_share_a_chapter_unless_they_differ() -> None:
    tcp, udp = [cell(OWN)], [cell(OWN, protocol="UDP")]
    assert len(chapters({SETTING: tcp + udp})) == 1
    assert len(chapters({SETTING: [*tcp, cell(OWN, "timeout", protocol="UDP")]})) == 2


def test_a_doubtful_cell_is_marked() -> None:
    (chapter,) = chapters({SETTING: [cell(OWN, steady=False)]})
    assert words(chapter.boards[0])["process, another node",] == ["node?"]


def test_differences_have_one_row_for_both_protocols() -> None:
    """No note is left without a row that refers to it."""
    pairs = [
        (
            cell(OWN, protocol=each),
            cell(OWN, "timeout", protocol=each, reason=f"drops {each}"),
        )
        for each in ("TCP", "UDP")
    ]
    chapter = differences("title", pairs, "cce", "upstream")
    assert words(chapter.boards[0]) == {
        ("nodeport", "node-other", "own-node-private"): ["node", "timeout 1"]
    }
    assert chapter.notes == ("drops TCP",)


COMPARED = [  # documented, measured, unreproducible -> the word, its tone
    ("success", "node", "", "ok/ok node", "good"),
    ("success", "gateway", "", "ok/ok gw", "good"),
    ("fail", "", "", "F/F", "bad"),
    ("success", "", "", "ok/F !", "odd"),
    ("success", "", "no kube-proxy does", "ok/F x", "odd"),
]


def test_documented_beside_measured() -> None:
    for expect, source_is, why, word, tone in COMPARED:
        statement = Statement(
            revision="newest",
            column="vpc-iptables",
            question=OWN,
            expect=expect,
            basis="stated",
            unreproducible=why,
        )
        found = cell(OWN, "success" if source_is else "timeout", source_is)
        revision = Revision(
            name="newest", settings={"vpc-iptables": SETTING}, statements=(statement,)
        )
        compared = [Comparison(statement=statement, cell=found)]
        board = comparison(revision, compared, {SETTING: {OWN: found}}).boards[0]
        ((_, (mark,)),) = board.rows
        assert mark
        assert (mark.text, mark.tone) == (word, tone)
        agreed = int(word in ("ok/ok node", "ok/ok gw", "F/F"))
        assert next(summary(revision, compared)).startswith(
            f"newest revision: {agreed}/1 stated cells agree"
        )
