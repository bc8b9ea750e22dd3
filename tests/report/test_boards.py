"""Boards in each form: nothing is lost, nothing is wider than 80 columns, nothing is injected."""

from __future__ import annotations

import io
from xml.etree import ElementTree

from kproxy.report.boards import Board, Chapter, Mark, markdown, page, picture, print_chapters

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
CHAPTERS = [Chapter("newest revision", (BOARD,), ("a note of " + "many words " * 20, EVIL))]


def printed() -> str:
    file = io.StringIO()
    print_chapters(CHAPTERS, "what it means " * 10, file)
    return file.getvalue()


def test_a_terminal_shows_all_in_80_columns() -> None:
    text = printed()
    assert max(map(len, text.splitlines())) <= 80
    for word in ("newest revision", "NodePort", "ok/ok node", "F/ok eip x", "timeout 1", EVIL):
        assert word in text
    assert " ".join(text.split()).count("many words") == 20


def test_markdown_has_a_row_for_each_and_marks_what_is_not_good() -> None:
    lines = markdown(CHAPTERS, "legend").splitlines()
    rows = [line for line in lines if line.startswith("| ")]
    assert rows[0] == "| client | target | tunnel ipvs | vpc iptables | vpc nftables |"
    assert rows[2].endswith("| ok/ok node | **F/ok eip x** |  |")
    assert rows[3].endswith("\\|\\* | **timeout 1** | -/F |  |")
    assert "legend" in lines


def test_a_page_and_a_picture_quote_what_they_show() -> None:
    for text in (page(EVIL, CHAPTERS, EVIL), picture(CHAPTERS[0], EVIL)):
        assert "<b onload" not in text
        assert "timeout 1" in text
    ElementTree.fromstring(picture(CHAPTERS[0], "legend"))


def test_a_page_tells_the_story_of_a_mark() -> None:
    text = page("title", CHAPTERS, "legend")
    assert 'class="good" title="&lt;b onload=&quot;x&quot;&gt;&amp;|*"' in text
    assert "<li>a note of many words" in text
