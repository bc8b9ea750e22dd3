"""A diagnosis as text and as JSON."""

from __future__ import annotations

import json
import re
import shlex
from io import StringIO
from pathlib import Path

import pytest
from msgspec.structs import replace

from kproxy.doctor import Diagnosis, Finding, LeftOut, Severity, Sureness
from kproxy.doctor.checks import CHECKS
from kproxy.doctor.page import page_of
from kproxy.doctor.report import diagnosis_of, print_report, values
from tests.report.pages import Page

PAGE = Path(__file__).parents[2] / "docs/doctor.md"
FINDING = Finding(
    id="hairpin",
    severity=Severity.WARNING,
    object="Node node-a",
    host="node-a",
    evidence=("a port " + "of many words " * 20, "second"),
    remedy=("bridge link set dev web hairpin on",),
    sure=Sureness.LIKELY,
)
DIAGNOSIS = Diagnosis(
    findings=(FINDING,),
    symptoms=(FINDING,),
    left_out=(LeftOut(checks=("no-proxy", "hairpin"), where="node-b", why="this takes root"),),
    made=("hairpin", "no-proxy"),
    looked_at="1 Service",
)


def test_json_is_the_diagnosis() -> None:
    document = json.loads(json.dumps(values(DIAGNOSIS)))
    assert diagnosis_of(document) == DIAGNOSIS
    assert document["findings"][0] == {
        "id": "hairpin",
        "severity": "warning",
        "object": "Node node-a",
        "host": "node-a",
        "evidence": [*FINDING.evidence],
        "remedy": [*FINDING.remedy],
        "sure": "likely",
    }


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_text_fits(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    file = StringIO()
    print_report(DIAGNOSIS, file)
    lines = file.getvalue().splitlines()
    assert max(map(len, lines)) <= columns
    assert lines[0] == "warning hairpin Node node-a on node-a"
    assert lines[1].startswith("  seen    a port of many")
    assert "  remedy  bridge link set dev web hairpin on" in lines
    assert "left out on node-b: no-proxy, hairpin: this takes root" in lines
    assert lines[-1] == "1 warning; 2 checks made; looked at 1 Service"


PATCH = '$ kubectl -n default patch service web --type merge -p \'{"spec": {"a": "b c"}}\''


@pytest.mark.parametrize("columns", range(60, 201, 7))
def test_a_long_command_can_be_copied(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    """A shell takes its lines for one, with the same words."""
    monkeypatch.setenv("COLUMNS", str(columns))
    file = StringIO()
    print_report(replace(DIAGNOSIS, findings=(replace(FINDING, remedy=(PATCH,)),)), file)
    text = file.getvalue().partition("  remedy  ")[2].partition("\n  sure")[0]
    assert max(map(len, text.splitlines())) + 10 <= columns
    assert shlex.split(text.replace("\\\n", "")) == shlex.split(PATCH)


@pytest.mark.parametrize("evil", ["", "<script>'\"&"])
def test_an_html_page_has_all_that_the_text_has(evil: str) -> None:
    hostile = replace(FINDING, object=evil or FINDING.object, evidence=("one", f"two{evil}"))
    diagnosis = replace(DIAGNOSIS, findings=(hostile,))
    found = Page(page_of(diagnosis))
    for caption, each in (("Findings, worst first", hostile), ([*found.tables][1], FINDING)):
        about = f"{each.object} on node-a"
        seen, remedy = "\n".join(each.evidence).strip(), each.remedy[0]
        assert found.tables[caption][1] == ["hairpin", "warning", about, seen, remedy, "likely"]
        assert found.tones[caption][1][1] == "odd"
    assert found.has("left out on node-b: no-proxy, hairpin: this takes root")
    assert found.has("1 warning; 2 checks made")
    assert found.headings == [("h1", "Diagnosis of 1 Service")]


def test_the_page_has_every_field() -> None:
    document = values(DIAGNOSIS)
    fields = {*document} | {
        f"{name}[].{field}" for name in ("findings", "leftOut") for field in document[name][0]
    }
    table = PAGE.read_text().partition("| field | value |\n")[2].partition("\n\n")[0]
    assert {*re.findall(r"^\| `(\S+)` \|", table, re.MULTILINE)} == fields


def test_the_page_has_every_finding() -> None:
    """Once in its table and once with an example, in the same order."""
    ids = [each for check in CHECKS for each in check.ids]
    assert len(ids) == len({*ids})
    page = PAGE.read_text()
    rows = re.findall(r"^\| \[`([a-z-]+)`\]", page, re.MULTILINE)
    examples = re.findall(r"^### ([a-z-]+)$", page, re.MULTILINE)
    assert rows == examples
    assert {*rows} == {*ids}
    for each in examples:
        shown = page.partition(f"### {each}\n")[2].partition("\n###")[0]
        assert re.search(rf"^    (error|warning|note) {each}\b", shown, re.MULTILINE)
