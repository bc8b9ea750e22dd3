"""The table fits the terminal and keeps every character; JSON keeps every field."""

from __future__ import annotations

import dataclasses
import io

import pytest

from kproxy.probe import Finding
from kproxy.tour.part import Part, Shown
from kproxy.tour.report import findings_values, part_values, print_part, summary

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
    expected="delivered to shop-a from 10.244.1.1",
    why="",
    in_iptables_mode="dropped at node-a",
)
PART = Part(title="NodePort shop", findings=[FINE, LONG], problems=["web-1 is ready"])


def printed() -> str:
    file = io.StringIO()
    print_part(PART, {"10.244.1.1": "(10.2)", "fd00:10:244:3::12": "web-a"}, file=file)
    return file.getvalue()


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_it_fits_the_terminal(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    assert max(map(len, printed().splitlines())) <= width
    letters = "".join(printed().split())
    for finding in PART.findings:
        assert finding.client in letters
        assert all(problem.replace(" ", "") in letters for problem in finding.problems)


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
    assert text.index("NO") < text.index("instead of") < text.index("expected because")


def test_what_iptables_mode_would_do_follows_the_table() -> None:
    assert "outside, 192.168.10.11:30080: in iptables mode dropped at node-a" in printed()


def test_nothing_but_text_without_a_terminal() -> None:
    assert "\x1b" not in printed()


def test_values_for_json() -> None:
    fine, long = findings_values([PART])
    assert fine["section"] == "NodePort shop"
    assert (fine["ok"], long["ok"]) == (True, False)
    assert long["problems"] == LONG.problems
    values = part_values(PART)
    assert values["findings"] == [fine, long]
    assert (values["ok"], values["problems"]) == (False, ["web-1 is ready"])


def test_the_summary_counts_findings_and_names_what_is_wrong() -> None:
    shown = Shown(mode="iptables", parts=[PART], lab_up_s=0.456, total_s=4.94)
    assert not shown.ok
    assert list(summary(shown)) == [
        "1 of 2 as expected; lab up in 0.46 s, 4.9 s in all",
        f"NOT AS EXPECTED: distribution: {LONG.client} asks {LONG.asked}",
        f"  {LONG.problems[0]}",
        "NOT AS EXPECTED: web-1 is ready",
    ]


def test_the_summary_ends_with_what_was_left_out() -> None:
    left_out = "1 thing in the manifest was left out: NetworkPolicy deny"
    part = Part(title="web", findings=[FINE])
    shown = Shown(mode="ipvs", parts=[part], lab_up_s=0.4, total_s=4.9, left_out=left_out)
    assert list(summary(shown)) == [
        "lab up in 0.40 s, 4.9 s in all",
        f"1 of 1 as expected; {left_out}",
    ]


def test_a_tour_without_questions_does_not_claim_success() -> None:
    shown = Shown(mode="ipvs", parts=[Part(title="web")], lab_up_s=0.4, total_s=4.9)
    (line,) = summary(shown)
    assert line.startswith("nothing was asked: no Service of the manifest has an address; lab up")


def test_what_no_oracle_predicts_is_not_judged() -> None:
    """A finding that was not judged is shown with neither "yes" nor "NO"."""
    seen = dataclasses.replace(FINE, expected="", in_iptables_mode="")
    part = Part(title="NodePort shop", findings=[seen])
    out = io.StringIO()
    print_part(part, {}, file=out)
    assert out.getvalue().splitlines()[-1].split() == [
        *("outside", "192.168.10.11:30080", "shop-a", "10.244.1.1", "-")
    ]
    assert [each["ok"] for each in findings_values([part])] == [None]
    shown = Shown(mode="mirror", parts=[part], lab_up_s=0.4, total_s=4.9)
    assert list(summary(shown)) == [
        "1 seen and not judged: mirror mode has no oracle that predicts what must happen",
        "0 of 0 as expected; lab up in 0.40 s, 4.9 s in all",
    ]
