"""The access matrix, cell by cell, against the documents and against kube-proxy.

Each column is measured once, by real packets; ipvs ones on a kernel that has IPVS.
"""

from __future__ import annotations

from typing import Any

import pytest

from kproxy.matrix.agreement import Comparison, differing
from kproxy.matrix.places import Kind, Question
from kproxy.matrix.seeds import Revision, Statement, node_level_affinity
from kproxy.matrix.setting import Setting
from netns_tests.findings import require_none
from netns_tests.matrix.conftest import Measured, Surveys
from netns_tests.matrix.expected import QUESTIONS, ending, met

NEWEST, OLDER = node_level_affinity()
NFTABLES = tuple(
    Setting(mode="nftables", network=network, profile="cce") for network in ("tunnel", "vpc")
)
SETTINGS = dict.fromkeys([*NEWEST.settings.values(), *NFTABLES, *OLDER.settings.values()])


def marked(setting: Setting, name: str, *values: object) -> Any:
    """Return a parameter set of that name, for the kernel that the setting needs."""
    marks = [pytest.mark.ipvs] if setting.mode == "ipvs" else []
    return pytest.param(setting, *values, marks=marks, id=f"{setting}-{name}".replace(" ", "-"))


def told(question: Question) -> str:
    return f"{question.kind}-{question.client}-{question.target}"


def statements(revision: Revision) -> list[Any]:
    """Return the parameters, those of one column next to each other."""
    return [
        marked(setting, told(statement.question), statement)
        for column, setting in revision.settings.items()
        for statement in revision.statements
        if statement.column == column
    ]


@pytest.mark.parametrize(("setting", "statement"), statements(NEWEST))
def test_newest_revision(measured: Measured, setting: Setting, statement: Statement) -> None:
    cell = measured(setting)[statement.question, "TCP"]
    assert Comparison(statement=statement, cell=cell).agrees, cell.reason.text


@pytest.mark.parametrize(("setting", "statement"), statements(OLDER))
def test_older_revision(measured: Measured, setting: Setting, statement: Statement) -> None:
    """All statements agree except those that no kube-proxy reproduces."""
    cell = measured(setting)[statement.question, "TCP"]
    agrees = Comparison(statement=statement, cell=cell).agrees
    assert agrees == (not statement.unreproducible), cell.reason.text
    assert cell.explanation.steady


@pytest.mark.parametrize(
    ("setting", "question"),
    [marked(setting, told(question), question) for setting in SETTINGS for question in QUESTIONS],
)
def test_cells(measured: Measured, setting: Setting, question: Question) -> None:
    """The source, or the end and its reason, is as expected; with UDP exactly as with TCP."""
    cells, wanted = measured(setting), ending(setting, question)
    for protocol in ("TCP",) if question.kind is Kind.NGINX else ("TCP", "UDP"):
        cell = cells[question, protocol]
        assert met(cell, wanted) == wanted
        assert cell.explanation.steady


@pytest.mark.parametrize("setting", [marked(setting, "all") for setting in SETTINGS])
def test_nothing_else_is_asked(measured: Measured, setting: Setting) -> None:
    assert {question for question, _ in measured(setting)} == set(QUESTIONS)


@pytest.mark.parametrize("setting", [marked(setting, "trace") for setting in SETTINGS])
def test_trace_and_explain_agree(surveys: Surveys, setting: Setting) -> None:
    require_none(surveys(setting).disagreements)


@pytest.mark.parametrize("nftables", NFTABLES, ids=str)
def test_nftables_is_as_iptables(measured: Measured, nftables: Setting) -> None:
    iptables = Setting(mode="iptables", network=nftables.network, profile="cce")
    one, other = measured(iptables), measured(nftables)
    assert one.keys() == other.keys()
    assert differing(one.values(), other.values()) == []
