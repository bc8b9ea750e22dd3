"""Reports and errors fit terminals of 60 to 200 columns, and lose nothing."""

from __future__ import annotations

import io

import pytest

from kproxy.report.terminal import Paper, column_widths
from kproxy.report.width import fitting, folded, width_of

WIDTHS = [  # COLUMNS -> the width of reports
    ("60", 60),
    ("80", 80),
    ("119", 119),
    ("200", 120),
    ("20", 60),
    ("0", 80),
    ("", 80),
    ("wide", 80),
]
HEADER = ("name", "resolves to", "ok")
LONG = "_80-8080._tcp.web-with-a-long-name.a-namespace-too.svc.cluster.local."
ROWS = [(LONG, "10.96.0.10\nfd00:10:96::10", "yes"), ("web", "no such name", "NO")]


@pytest.mark.parametrize(("given", "width"), WIDTHS)
def test_the_width_of_reports(monkeypatch: pytest.MonkeyPatch, given: str, width: int) -> None:
    monkeypatch.setenv("COLUMNS", given)
    assert width_of(io.StringIO()) == width


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_tables_fit(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    file = io.StringIO()
    Paper(file).table(HEADER, ROWS)
    text = file.getvalue()
    assert max(map(len, text.splitlines())) <= width
    for word in ("resolves to", "no such name", "yes", "10.96.0.10", "fd00:10:96::10"):
        assert word in text
    column = "".join(line.split(" ")[0] for line in text.splitlines())
    assert LONG in column


SHARES = [  # columns, the room they have -> their widths
    ([["a", "bb"], ["ccc"]], 10, [2, 3]),
    ([["a" * 9], ["b" * 30]], 30, [9, 21]),
    ([["a" * 30], ["b" * 30]], 30, [15, 15]),
    ([["some words", "x"], ["y" * 40]], 20, [8, 12]),  # short words last
    ([["abcdef"], ["ghijkl"]], 4, [2, 2]),
    ([["a\nbb"], [""]], 10, [2, 0]),
]


@pytest.mark.parametrize(("columns", "room", "widths"), SHARES)
def test_shares(columns: list[list[str]], room: int, widths: list[int]) -> None:
    assert column_widths(columns, room) == widths


ERROR = "kproxy: 1 problem, nothing was changed:\n  " + "a field is wrong, " * 12
BROKEN = [  # COLUMNS -> the width that no line exceeds
    ("60", 60),
    ("80", 80),
    ("200", 200),
    ("20", 60),
]


@pytest.mark.parametrize(("given", "width"), BROKEN)
def test_errors_are_broken_between_words(
    monkeypatch: pytest.MonkeyPatch, given: str, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", given)
    lines = fitting(ERROR, io.StringIO()).splitlines()
    assert max(map(len, lines)) <= width
    assert lines[:1] == ["kproxy: 1 problem, nothing was changed:"]
    assert " ".join(" ".join(lines).split()) == " ".join(ERROR.split())
    assert all(line.startswith("    ") for line in lines[2:])


def test_programs_get_errors_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    assert fitting(ERROR, io.StringIO()) == ERROR


def test_rows_are_folded_between_cells() -> None:
    assert list(folded(["mode     ", "  full s", "  scale ms"], 20)) == [
        "mode       full s",
        "   scale ms",
    ]
    assert list(folded(["a", "b"], 1)) == ["a", " b"]
