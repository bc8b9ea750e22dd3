"""Scenarios for a terminal of 80 columns, and as plain values for JSON."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any, TextIO

from rich.console import Console
from rich.text import Text

from kproxy.address import host_port
from kproxy.backend import load
from kproxy.explain.inquiry import SUCCESS
from kproxy.lab import LabSpec
from kproxy.lab.models import MODELS
from kproxy.lab.profiles import PROFILES
from kproxy.report.findings import WIDTH
from kproxy.scenario.files import Scenario
from kproxy.scenario.form import Expected, Question
from kproxy.scenario.play import Asked, Backends, Run, Scene

_INDENT = 4


def print_scenario(scenario: Scenario, file: TextIO | None = None) -> None:
    """What it is about, what is asked and what is expected; nothing was measured."""
    paper = _Paper(file)
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
        paper.line(f"Remedy: {remedy.title}", "bold")
        if remedy.says:
            paper.paragraph(f"The document: {remedy.says}")
        if remedy.manifest:
            paper.paragraph(f"applied: {remedy.manifest}", "dim")
        for question in remedy.questions:
            _planned(paper, question)
        paper.line()
        paper.paragraph(remedy.explanation)


def print_run(run: Run, file: TextIO | None = None) -> None:
    """Colours only on a terminal, and not with NO_COLOR."""
    paper = _Paper(file)
    form = run.scenario.form
    _head(paper, run.scenario, run.mode, run.network)
    for scene in run.scenes:
        paper.line()
        if scene.remedy:
            paper.line(f"Remedy: {scene.remedy.title}{_worth(scene)}", "bold")
            if scene.remedy.says:
                paper.paragraph(f"The document: {scene.remedy.says}")
            if scene.remedy.manifest:
                paper.paragraph(f"applied: {scene.remedy.manifest}", "dim")
        for asked in scene.asked:
            _print_asked(paper, asked)
        for backends in scene.attached:
            _print_backends(paper, backends)
        paper.line()
        paper.paragraph((scene.remedy or form).explanation)
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
        **_scene_values(run.scenes[0]),
        "explanation": form.explanation,
        "remedies": [
            {
                "title": scene.remedy.title,
                "document": scene.remedy.says,
                "manifest": scene.remedy.manifest,
                **_scene_values(scene),
                "explanation": scene.remedy.explanation,
            }
            for scene in run.scenes
            if scene.remedy
        ],
    }


def _scene_values(scene: Scene) -> Mapping[str, Any]:
    return {
        "questions": [
            {
                "client": asked.question.client,
                "target": str(asked.question.asks),
                "asked": _where(asked),
                "expected": {"outcome": asked.expected.outcome, "source": asked.expected.source},
                "outcome": asked.answer.outcome,
                "pod": asked.answer.pod,
                "source": asked.answer.source,
                "source_is": asked.source,
                "hops": list(asked.answer.hops),
                "at": asked.answer.reason.at,
                "mechanism": str(asked.answer.reason.mechanism),
                "reason": asked.answer.reason.text,
                "way": list(asked.answer.reason.way),
                "steady": asked.answer.steady,
                "ok": asked.ok,
            }
            for asked in scene.asked
        ],
        "attached": [
            {
                "balancer": each.expected.balancer,
                "port": each.expected.port,
                "expected": list(each.expected.backends),
                "found": list(each.found),
                "ok": each.ok,
            }
            for each in scene.attached
        ],
    }


class _Paper:
    """Lines of at most 80 columns."""

    def __init__(self, file: TextIO | None) -> None:
        self._console = Console(file=file, width=WIDTH, highlight=False)

    def line(self, text: str = "", style: str = "") -> None:
        """What does not fit goes on below, a little to the right."""
        self.paragraph(text, style, hanging=2)

    def paragraph(self, text: str, style: str = "", *, indent: int = 0, hanging: int = 0) -> None:
        wrapped = textwrap.wrap(
            " ".join(text.split()),
            WIDTH,
            initial_indent=" " * indent,
            subsequent_indent=" " * (indent + hanging),
            break_on_hyphens=False,
        )
        for line in wrapped or [""]:
            self._console.print(Text(line, style=style))

    def verdict(self, text: str, *, ok: bool, good: str = "as expected") -> None:
        """With a word of judgement at the right edge."""
        word = good if ok else "NOT AS EXPECTED"
        *before, last = textwrap.wrap(
            text,
            WIDTH - len(word) - 2,
            initial_indent=" " * _INDENT,
            subsequent_indent=" " * _INDENT,
            break_on_hyphens=False,
        )
        for line in before:
            self._console.print(Text(line))
        gap = " " * (WIDTH - len(word) - len(last))
        self._console.print(Text(f"{last}{gap}").append(word, "green" if ok else "bold red"))


def _head(paper: _Paper, scenario: Scenario, mode: str, network: str) -> None:
    spec = scenario.spec
    paper.line(f"{scenario.form.title} ({mode} mode)", "bold")
    paper.line(f"network {network}: {MODELS[network].summary}")
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


def _planned(paper: _Paper, question: Question) -> None:
    asks = question.asks
    paper.line(f"{question.client} asks {asks}, port {asks.port}")
    paper.paragraph(_told(Expected(question.expect, question.source)), indent=_INDENT)
    for other in question.otherwise:
        outcome, source = other.expect or question.expect, other.source or question.source
        told = _told(Expected(outcome, source if outcome == SUCCESS else ""))
        paper.paragraph(f"{other.column}: {told}", indent=_INDENT)


def _told(expected: Expected) -> str:
    return f"{expected.outcome}, source {expected.source}" if expected.source else expected.outcome


def _where(asked: Asked) -> str:
    return host_port(asked.address, asked.question.asks.port)


def _worth(scene: Scene) -> str:
    reached = sum(asked.answer.outcome == SUCCESS for asked in scene.asked)
    if not scene.asked:
        return ""
    if reached == len(scene.asked):
        return " - helps"
    return " - helps in part" if reached else " - does not help here"


def _print_asked(paper: _Paper, asked: Asked) -> None:
    question, answer, reason = asked.question, asked.answer, asked.answer.reason
    paper.line(f"{question.client} asks {_where(asked)} ({question.asks})")
    if answer.outcome == SUCCESS:
        shown = "" if asked.source == answer.source else f" ({asked.source})"
        found = f"success: {answer.pod} saw {answer.source}{shown}"
    else:
        found = f"{answer.outcome}, ended on {reason.at}"
    paper.verdict(found, ok=asked.ok)
    if not asked.ok:
        steady = "" if answer.steady else "; a single packet met another fate"
        paper.paragraph(f"expected: {_told(asked.expected)}{steady}", "red", indent=_INDENT)
    why = () if answer.outcome == SUCCESS else (f"why: {reason.text}",)
    clauses = (*reason.way, *why)
    for clause in clauses or (reason.text,):
        style = "" if clause.startswith("why: ") else "dim"
        paper.paragraph(clause, style, indent=_INDENT, hanging=2)


def _print_backends(paper: _Paper, backends: Backends) -> None:
    expected = backends.expected
    paper.line(f"load balancer {expected.balancer}, port {expected.port}, has the backends")
    paper.verdict(", ".join(backends.found) or "none", ok=backends.ok)
    if not backends.ok:
        told = ", ".join(expected.backends) or "none"
        paper.paragraph(f"expected: {told}", "red", indent=_INDENT)
