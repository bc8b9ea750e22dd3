"""The option `--html`: refused early, written as a whole, the same content as other outputs."""

from __future__ import annotations

import json
import os
import re
import stat
from pathlib import Path

import pytest

from kproxy.cli import main
from kproxy.cli.page_file import write_page
from kproxy.errors import BadInput
from tests.report.pages import Page

EXAMPLES = Path(__file__).parents[2] / "examples"
LOCAL = str(EXAMPLES / "node-port-local.yaml")
ALL = str(EXAMPLES)


def done(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main([*arguments])
    assert isinstance(ended.value.code, int)
    return ended.value.code


def words(text: str) -> set[str]:
    return {*re.findall(r"[\w./:\[\]-]*\w", text)}


def test_a_file_is_new_or_replaced_and_nothing_else_is_left(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    for text in ("one", "another, \udcff"):
        write_page(str(page), text)
        assert page.read_text() == text.replace("\udcff", "?")
    assert [each.name for each in tmp_path.iterdir()] == ["page.html"]
    mask = os.umask(0o022)
    os.umask(mask)
    assert stat.S_IMODE(page.stat().st_mode) == 0o666 & ~mask


def test_a_link_stays(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("page.html")
    write_page(str(tmp_path / "link"), "text")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "page.html").read_text() == "text"


def test_what_is_no_regular_file_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    refused = [
        (str(tmp_path), "this is no regular file"),
        (str(tmp_path / "pipe"), "this is no regular file"),
        ("/dev/full", "this is no regular file"),
        ("/nowhere/page.html", "there is no folder /nowhere"),
        (str(tmp_path / "loop"), "loop"),
        (str(tmp_path / ("x" * 300)), "name too long"),
    ]
    for path, said in refused:
        with pytest.raises(BadInput, match=re.escape(said)):
            write_page(path, "text")
        for command in (["compare", LOCAL], ["upgrade-check", "--manifests", LOCAL]):
            assert done(*command, "--html", path) == 2
            told = capsys.readouterr()
            assert said in " ".join(told.err.split())
            assert told.out == ""
    for command in (["matrix"], ["scenario", "run", "flannel-local"], ["trace", "a", "b"]):
        assert done(*command, "--html", str(tmp_path)) == 2
        assert "this is no regular file" in " ".join(capsys.readouterr().err.split())
    assert {each.name for each in tmp_path.iterdir()} == {"pipe", "loop"}


def test_compare(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "page.html"
    assert done("compare", ALL, "--json", "--html", str(page)) == 0
    captured = capsys.readouterr()
    assert captured.err.split() == ["wrote", str(page)]
    values = json.loads(captured.out)
    found = Page(page.read_text())
    rows = [row for rows in found.tables.values() for row in rows[1:]]
    tones = [row[2:] for rows in found.tones.values() for row in rows[1:]]
    assert len(rows) == len(values["rows"]) > 50
    for row, tone, value in zip(rows, tones, values["rows"], strict=True):
        assert row[0] == value["client"]
        assert row[1].startswith(value["asks"])
        assert {*tone} == {"odd" if value["differs"] else "dim"}
        for cell, answer in zip(row[2:], value["answers"].values(), strict=True):
            if answer["outcome"] == "delivered":
                assert re.match(r"\d+: ", cell)
            else:
                assert cell.startswith(answer["outcome"])
            assert found.has(answer["why"]) or not value["differs"]
    monkeypatch.setenv("COLUMNS", "120")
    assert done("compare", ALL) == 0
    missing = words(capsys.readouterr().out) - words(found.text)
    assert {each for each in missing if not each.startswith(":")} == set()  # folded addresses


@pytest.mark.parametrize("sides", [("1.36", "1.37"), ("1.36:ipvs", "1.37:nftables")])
def test_upgrade_check(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    sides: tuple[str, str],
) -> None:
    page = tmp_path / "page.html"
    asked = ["upgrade-check", f"--from={sides[0]}", f"--to={sides[1]}", "--manifests", ALL]
    assert done(*asked, "--json", "--html", str(page)) == 0
    captured = capsys.readouterr()
    assert captured.err.split()[-2:] == ["wrote", str(page)]
    values = json.loads(captured.out)
    found = Page(page.read_text())
    for each in values["affected"]:
        assert each["service"] in found.cells
    for each in (*values["settings"], *values["gates"], *values["behaviours"]):
        assert {each["from"], each["to"]} <= found.cells or each["name"] == "mode"
    for each in values["packets"]["differences"]:
        assert f"{each['asks']} {each['address']}" in found.cells
    for each in values["rules"]:
        for chain in each["chains"]:
            for rule in (*chain["removed"], *chain["added"]):
                assert found.has(rule)
    monkeypatch.setenv("COLUMNS", "120")
    assert done(*asked) == 0
    text = capsys.readouterr().out.replace(" -> ", " ").replace("Differences between", "")
    text = text.replace("all of them, because the mode is another one; --json has them", "")
    missing = words(text) - words(found.text)
    assert missing - {"before:", "before", "after", "for"} == set()
