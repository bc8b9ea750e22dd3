"""The table fits 80 columns and keeps every character; JSON keeps every field."""

from __future__ import annotations

import io

from kproxy.probe import Finding
from kproxy.report.findings import Section, as_values, print_sections

LONG = Finding(
    check="distribution",
    client="a-pod-with-a-long-name",
    asked="300 x [fd00:10:96::10]:80/UDP",
    answered="web-a:100 web-b:100 web-c:100 (p=1)",
    source="fd00:10:244:3::12",
    expected="delivered to web-a from fd00:10:244:3::12",
    why="node-a: cluster IP [fd00:10:96::10]:80/UDP of default/web:echo has one of 3 endpoints",
    problems=("web-a saw source [red]fd00::1[/red] instead of fd00:10:244:3::12 and this is long",),
)
FINE = Finding(
    check="forwarding",
    client="outside",
    asked="192.168.10.11:30080",
    answered="shop-a",
    source="10.244.1.1",
    expected="",
    why="",
    in_iptables_mode="dropped at node-a",
)
SECTIONS = [Section(title="NodePort shop", findings=[FINE, LONG])]


def printed() -> str:
    file = io.StringIO()
    print_sections(SECTIONS, file, name=lambda address: f"({address[:4]})")
    return file.getvalue()


def test_no_line_is_longer_than_80_columns() -> None:
    assert max(map(len, printed().splitlines())) <= 80


def test_a_plain_row_is_one_line() -> None:
    row = "outside  192.168.10.11:30080  shop-a              10.244.1.1 (10.2)         yes"
    assert row in printed()


def test_long_texts_are_folded_and_brackets_are_no_markup() -> None:
    letters = "".join(printed().split())
    for text in (LONG.client, *LONG.problems, LONG.why):
        assert "".join(text.split()) in letters or all(word in letters for word in text.split())
    assert "[fd00:10:96::10]:80/UDP" in printed()
    assert "[red]fd00::1[/red]" in printed()


def test_a_problem_and_its_reason_follow_the_table() -> None:
    text = printed()
    assert "NO" in text
    assert text.index("NO") < text.index("instead of") < text.index("why it should")


def test_what_iptables_mode_would_do_follows_the_table() -> None:
    assert "outside, 192.168.10.11:30080: in iptables mode dropped at node-a" in printed()


def test_nothing_but_text_without_a_terminal() -> None:
    assert "\x1b" not in printed()


def test_values_for_json() -> None:
    fine, long = as_values(SECTIONS)
    assert fine["section"] == "NodePort shop"
    assert (fine["ok"], long["ok"]) == (True, False)
    assert long["problems"] == LONG.problems
