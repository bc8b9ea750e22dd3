"""Boards in each form: nothing is lost, nothing is wider than the paper, nothing is injected."""

from __future__ import annotations

import io
from xml.etree import ElementTree

import pytest

from kproxy.report.boards import (
    Board,
    Chapter,
    Mark,
    markdown,
    parts_of,
    picture,
    print_chapters,
)
from kproxy.report.page import page
from tests.report.pages import Page

EVIL = '<b onload="x">&|*'
BOARD = Board(
    "NodePort",
    (("client", 15), ("target", 15)),
    (("tunnel", "ipvs"), ("vpc", "iptables"), ("vpc", "nftables")),
    (
        (
            ("container-other", "another private"),
            (Mark("ok/ok node", "good", EVIL), Mark("F/ok eip x", "odd"), None),
        ),
        (("node-same", EVIL), (Mark("timeout 1", "bad"), Mark("-/F", "dim"), None)),
    ),
)
CHAPTERS = [
    Chapter("newest revision", (BOARD,), ("a note of " + "many words " * 20, EVIL)),
    Chapter("older revision", (BOARD, BOARD), ("another note",), "a remark"),
]


def printed() -> str:
    file = io.StringIO()
    print_chapters(CHAPTERS, "what it means " * 10, file)
    return file.getvalue()


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_a_terminal_shows_all(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    text = printed()
    assert max(map(len, text.splitlines())) <= width
    for word in ("newest revision", "NodePort", "ok/ok node", "F/ok eip x", "timeout 1", EVIL):
        assert all(part in text for part in word.split())
    assert " ".join(text.split()).count("many words") == 20
    assert text.count("container-other") >= 3
    assert "\na remark\n" in text


def test_a_board_that_is_too_wide_is_printed_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """No word is broken, and each part has the words on the left."""
    monkeypatch.setenv("COLUMNS", "60")
    columns = tuple((f"column-{number}", "private") for number in range(6))
    marks = tuple(Mark(f"timeout {number}", "bad") for number in range(6))
    board = Board("NodePort", (("who", 22),), columns, ((("process",), marks),))
    file = io.StringIO()
    print_chapters([Chapter("vpc", (board,))], "legend", file)
    text = file.getvalue()
    assert max(map(len, text.splitlines())) <= 60
    assert text.count("process") == 2
    for number in range(6):
        assert f"column-{number}" in text
    assert text.count("timeout") == 6


def test_markdown_has_a_row_for_each_and_marks_what_is_not_good() -> None:
    lines = markdown(CHAPTERS, "legend").splitlines()
    rows = [line for line in lines if line.startswith("| ")]
    assert rows[0] == "| client | target | tunnel ipvs | vpc iptables | vpc nftables |"
    assert rows[2].endswith("| ok/ok node | **F/ok eip x** |  |")
    assert rows[3].endswith("\\|\\* | **timeout 1** | -/F |  |")
    assert "legend" in lines


def shown(legend: str = "legend") -> str:
    return page(EVIL, parts_of(CHAPTERS, legend))


def test_a_page_and_a_picture_quote_what_they_show() -> None:
    for text in (shown(EVIL), picture(CHAPTERS, EVIL)):
        assert "<b onload" not in text
        assert "timeout 1" in text
    ElementTree.fromstring(picture(CHAPTERS, "legend"))


def test_a_picture_has_all_tables_with_their_notes() -> None:
    texts = [each.text or "" for each in ElementTree.fromstring(picture(CHAPTERS, "legend")).iter()]
    for text in ("newest revision", "older revision", "a remark", "1 another note", "legend"):
        assert text in texts
    assert texts.count("NodePort") == 3
    assert " ".join(texts).count("many words") == 20


def test_pages_and_markdown_have_remarks() -> None:
    assert "<p>a remark</p>" in shown()
    assert "a remark" in markdown(CHAPTERS, "legend").splitlines()


def test_a_page_has_every_mark_and_note() -> None:
    html = shown()
    assert 'class="good" title="&lt;b onload=&quot;x&quot;&gt;&amp;|*"' in html
    found = Page(html)
    assert [*found.tables] == ["NodePort", "NodePort #2", "NodePort #3"]
    assert found.tables["NodePort"] == [
        ["client", "target", "tunnel ipvs", "vpc iptables", "vpc nftables"],
        ["container-other", "another private", "ok/ok node", "F/ok eip x", ""],
        ["node-same", EVIL, "timeout 1", "-/F", ""],
    ]
    assert found.tones["NodePort"][1] == ["", "", "good", "odd", ""]
    assert found.has("a note of " + "many words " * 20)
