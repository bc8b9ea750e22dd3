"""Scenarios for a terminal, and as plain values for JSON."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any, TextIO

from rich.text import Text

from kproxy.address import host_port
from kproxy.backend import load
from kproxy.lab import LabSpec
from kproxy.lab.models import MODELS
from kproxy.lab.profiles import PROFILES
from kproxy.outcome import Expectation
from kproxy.report.terminal import Paper
from kproxy.scenario.files import Scenario
from kproxy.scenario.form import Question, Remedy, expectation
from kproxy.scenario.run import Asked, Backends, Round, Run

_INDENT = 4


def print_scenario(scenario: Scenario, file: TextIO | None = None) -> None:
    """Print the case, its questions and what is expected, without any measurement."""
    paper = Paper(file)
    form = scenario.form
    _head(paper, scenario, form.modes[0], scenario.networks[0])
    paper.line(f"modes {', '.join(form.modes)}; networks {', '.join(scenario.networks)}")
    paper.line()
    for question in form.questions:
        _planned(paper, question)
    paper.line()
    paper.paragraph(form.explanation)
    for remedy in form.remedies:
        paper.line()
        _print_remedy(paper, remedy)
        for question in remedy.questions:
            _planned(paper, question)
        paper.line()
        paper.paragraph(remedy.explanation)


def print_run(run: Run, file: TextIO | None = None) -> None:
    """Print a run. Colours are used only on a terminal, and not with NO_COLOR."""
    paper = Paper(file)
    form = run.scenario.form
    _head(paper, run.scenario, run.mode, run.network)
    for each in run.rounds:
        paper.line()
        if each.remedy:
            _print_remedy(paper, each.remedy, _worth(each))
        for asked in each.asked:
            _print_asked(paper, asked)
        for backends in each.attached:
            _print_backends(paper, backends)
        paper.line()
        paper.paragraph((each.remedy or form).explanation)
    paper.line()
    paper.line(f"{run.as_expected} of {run.expected} as expected")


def as_values(run: Run) -> Mapping[str, Any]:
    form = run.scenario.form
    return {
        "scenario": run.scenario.name,
        "title": form.title,
        "document": form.says,
        "mode": run.mode,
        "network": run.network,
        "ok": run.as_expected == run.expected,
        "as_expected": run.as_expected,
        "expected": run.expected,
        **_round_values(run.rounds[0]),
        "explanation": form.explanation,
        "remedies": [
            {
                "title": each.remedy.title,
                "document": each.remedy.says,
                "manifest": each.remedy.manifest,
                **_round_values(each),
                "explanation": each.remedy.explanation,
            }
            for each in run.rounds
            if each.remedy
        ],
    }


def _round_values(round_: Round) -> Mapping[str, Any]:
    return {
        "questions": [
            {
                "client": asked.question.client,
                "target": str(asked.question.asks),
                "asked": _where(asked),
                "expected": {"outcome": asked.expected.outcome, "source": asked.expected.source},
                "outcome": asked.explanation.connection.outcome,
                "pod": asked.explanation.connection.pod,
                "source": asked.explanation.connection.source,
                "source_is": asked.source,
                "hops": list(asked.explanation.hops),
                "at": asked.explanation.reason.at,
                "mechanism": str(asked.explanation.reason.mechanism),
                "reason": asked.explanation.reason.text,
                "way": list(asked.explanation.reason.way),
                "steady": asked.explanation.steady,
                "ok": asked.ok,
            }
            for asked in round_.asked
        ],
        "attached": [
            {
                "balancer": each.expected.balancer,
                "port": each.expected.port,
                "expected": list(each.expected.backends),
                "found": list(each.found),
                "ok": each.ok,
            }
            for each in round_.attached
        ],
    }


def _print_compared(paper: Paper, text: str, *, ok: bool) -> None:
    """Print a result, and at the right edge whether it is as expected."""
    word = "as expected" if ok else "NOT AS EXPECTED"
    *before, last = textwrap.wrap(
        text,
        paper.width - len(word) - 2,
        initial_indent=" " * _INDENT,
        subsequent_indent=" " * _INDENT,
        break_on_hyphens=False,
    )
    for line in before:
        paper.console.print(Text(line))
    gap = " " * (paper.width - len(word) - len(last))
    paper.console.print(Text(f"{last}{gap}").append(word, "green" if ok else "bold red"))


def _head(paper: Paper, scenario: Scenario, mode: str, network: str) -> None:
    spec = scenario.spec
    paper.line(f"{scenario.form.title} ({mode} mode)", "bold")
    paper.line(f"network {network}: {MODELS[network].summary}")
    if MODELS[network].remark:
        paper.line(MODELS[network].remark)
    paper.line(f"profile {spec.profile}: {PROFILES[spec.profile].summary}")
    if not scenario.form.ipvs_local_fallback and load(mode).has_option("ipvs_local_fallback"):
        paper.line("ipvs mode as before Kubernetes 1.25")
    paper.line("; ".join(_hosts(spec)))
    paper.line()
    paper.paragraph(f"The document: {scenario.form.says}")


def _hosts(spec: LabSpec) -> Iterator[str]:
    for node in spec.nodes:
        pods = (f"{pod.name} (host network)" if pod.host_network else pod.name for pod in node.pods)
        yield f"{node.name} with {', '.join(pods)}" if node.pods else node.name
    yield from (f"{client.name} on the internet" for client in spec.clients)
    yield from (f"{each.name} ({each.kind})" for each in (spec.edge.balancers if spec.edge else ()))


def _print_remedy(paper: Paper, remedy: Remedy, worth: str = "") -> None:
    paper.line(f"Remedy: {remedy.title}{worth}", "bold")
    if remedy.says:
        paper.paragraph(f"The document: {remedy.says}")
    if remedy.manifest:
        paper.paragraph(f"applied: {remedy.manifest}", "dim")


def _planned(paper: Paper, question: Question) -> None:
    asks = question.asks
    paper.line(f"{question.client} asks {asks}, port {asks.port}")
    paper.paragraph(_in_words(expectation(question.expect, question.source)), indent=_INDENT)
    for other in question.otherwise:
        words = _in_words(
            expectation(other.expect or question.expect, other.source or question.source)
        )
        paper.paragraph(f"{other.column}: {words}", indent=_INDENT)


def _in_words(expected: Expectation) -> str:
    return f"{expected.outcome}, source {expected.source}" if expected.source else expected.outcome


def _where(asked: Asked) -> str:
    return host_port(asked.address, asked.question.asks.port)


def _worth(round_: Round) -> str:
    reached = sum(asked.explanation.connection.success for asked in round_.asked)
    if not round_.asked:
        return ""
    if reached == len(round_.asked):
        return " - helps"
    return " - helps in part" if reached else " - does not help here"


def _print_asked(paper: Paper, asked: Asked) -> None:
    question, connection = asked.question, asked.explanation.connection
    reason = asked.explanation.reason
    paper.line(f"{question.client} asks {_where(asked)} ({question.asks})")
    if connection.success:
        shown = "" if asked.source == connection.source else f" ({asked.source})"
        found = f"success: {connection.pod} saw {connection.source}{shown}"
    else:
        found = f"{connection.outcome}, ended on {reason.at}"
    _print_compared(paper, found, ok=asked.ok)
    if not asked.ok:
        steady = "" if asked.explanation.steady else "; a single packet ended otherwise"
        paper.paragraph(f"expected: {_in_words(asked.expected)}{steady}", "red", indent=_INDENT)
    why = () if connection.success else (f"why: {reason.text}",)
    clauses = (*reason.way, *why)
    for clause in clauses or (reason.text,):
        style = "" if clause.startswith("why: ") else "dim"
        paper.paragraph(clause, style, indent=_INDENT, hanging=2)


def _print_backends(paper: Paper, backends: Backends) -> None:
    expected = backends.expected
    paper.line(f"load balancer {expected.balancer}, port {expected.port}, has the backends")
    _print_compared(paper, ", ".join(backends.found) or "none", ok=backends.ok)
    if not backends.ok:
        names = ", ".join(expected.backends) or "none"
        paper.paragraph(f"expected: {names}", "red", indent=_INDENT)
