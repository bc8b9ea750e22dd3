"""Scenarios for a terminal, and as plain values for JSON."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any, TextIO

from msgspec import to_builtins
from rich.text import Text

from kproxy.address import host_port
from kproxy.backend import load
from kproxy.lab import LabSpec
from kproxy.lab.models import MODELS
from kproxy.lab.profiles import PROFILES
from kproxy.outcome import Expectation
from kproxy.report.terminal import Paper
from kproxy.scenario.files import Scenario
from kproxy.scenario.form import Form, Question, Remedy, expectation
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
    for remedy in form.parts:
        paper.line()
        _print_remedy(paper, remedy, part_title(form, remedy))
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
            _print_remedy(paper, each.remedy, part_title(form, each.remedy) + worth_of(run, each))
        for asked in each.asked:
            _print_asked(paper, asked)
        for backends in each.attached:
            _print_backends(paper, backends)
        paper.line()
        paper.paragraph((each.remedy or form).explanation)
    paper.line()
    paper.line(result_of(run))


def result_of(run: Run) -> str:
    """Return how much was as expected."""
    return f"{run.as_expected} of {run.expected} as expected"


def as_values(run: Run) -> Mapping[str, Any]:
    form = run.scenario.form
    return {
        "scenario": run.scenario.name,
        "title": form.title,
        "document": form.says,
        "mode": run.mode,
        "network": run.network,
        "left_behind": to_builtins(form.left_behind),
        "ok": run.as_expected == run.expected,
        "as_expected": run.as_expected,
        "expected": run.expected,
        **_round_values(run.rounds[0]),
        "explanation": form.explanation,
        "steps": _part_values(run, form.steps),
        "remedies": _part_values(run, form.remedies),
    }


def _part_values(run: Run, parts: tuple[Remedy, ...]) -> list[Mapping[str, Any]]:
    return [
        {
            "title": each.remedy.title,
            "document": each.remedy.says,
            "manifest": each.remedy.manifest,
            "cleanup": each.remedy.cleanup,
            "after_s": each.remedy.after_s,
            **_round_values(each),
            "explanation": each.remedy.explanation,
        }
        for each in run.rounds
        if each.remedy in parts and each.remedy
    ]


def _round_values(round_: Round) -> Mapping[str, Any]:
    return {
        "questions": [
            {
                "client": asked.question.client,
                "target": str(asked.question.asks),
                "asked": _where(asked),
                "protocol": asked.question.protocol,
                "flow": asked.question.flow,
                "bytes": asked.question.bytes,
                "expected": {
                    "outcome": asked.expected.outcome,
                    "source": asked.expected.source,
                    "pods": sorted(asked.expected.pods),
                },
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
    paper.line(title_of(scenario, mode), "bold")
    for line in head_lines(scenario, mode, network):
        paper.line(line)
    if scenario.form.says:
        paper.line()
        paper.paragraph(f"The document: {scenario.form.says}")


def title_of(scenario: Scenario, mode: str) -> str:
    return f"{scenario.form.title} ({mode} mode)"


def head_lines(scenario: Scenario, mode: str, network: str) -> Iterator[str]:
    """Yield lines on the lab."""
    spec = scenario.spec
    yield f"network {network}: {MODELS[network].summary}"
    if MODELS[network].remark:
        yield MODELS[network].remark
    yield f"profile {spec.profile}: {PROFILES[spec.profile].summary}"
    if not scenario.form.ipvs_local_fallback and load(mode).has_option("ipvs_local_fallback"):
        yield "ipvs mode as before Kubernetes 1.25"
    yield "; ".join(_hosts(spec))
    if left := scenario.form.left_behind:
        yield f"left behind on {left.node}: rules of {left.mode} mode for {left.manifest}"


def _hosts(spec: LabSpec) -> Iterator[str]:
    for node in spec.nodes:
        pods = (f"{pod.name} (host network)" if pod.host_network else pod.name for pod in node.pods)
        yield f"{node.name} with {', '.join(pods)}" if node.pods else node.name
    yield from (f"{client.name} on the internet" for client in spec.clients)
    yield from (f"{each.name} ({each.kind})" for each in (spec.edge.balancers if spec.edge else ()))


def done_lines(remedy: Remedy) -> Iterator[str]:
    """Yield what is done before the questions."""
    if remedy.manifest:
        yield f"applied: {remedy.manifest}"
    if remedy.cleanup:
        yield "cleaned up: what was left behind"
    if remedy.after_s:
        yield f"waited: {remedy.after_s} s"


def part_title(form: Form, part: Remedy) -> str:
    """Return the title of a step or a remedy."""
    return f"{'Remedy' if part in form.remedies else 'Then'}: {part.title}"


def _print_remedy(paper: Paper, remedy: Remedy, title: str) -> None:
    paper.line(title, "bold")
    if remedy.says:
        paper.paragraph(f"The document: {remedy.says}")
    for line in done_lines(remedy):
        paper.paragraph(line, "dim")


def _planned(paper: Paper, question: Question) -> None:
    asks = question.asks
    paper.line(f"{question.client} asks {asks}, {_port(question)}{_flow(question)}")
    words = _in_words(expectation(question.expect, question.source, question.pods))
    paper.paragraph(words, indent=_INDENT)
    for other in question.otherwise:
        words = _in_words(
            expectation(
                other.expect or question.expect,
                other.source or question.source,
                other.pods or question.pods,
            )
        )
        paper.paragraph(f"{other.column}: {words}", indent=_INDENT)


def _in_words(expected: Expectation) -> str:
    source = f", source {expected.source}" if expected.source else ""
    pods = f", answered by {' or '.join(sorted(expected.pods))}" if expected.pods else ""
    return f"{expected.outcome}{source}{pods}"


def _port(question: Question) -> str:
    protocol = "" if question.protocol == "TCP" else f"{question.protocol} "
    return f"{protocol}port {question.asks.port}"


def _flow(question: Question) -> str:
    size = f" with {question.bytes} bytes" if question.bytes else ""
    return f", flow {question.flow}{size}" if question.flow else ""


def _where(asked: Asked) -> str:
    protocol = "" if asked.question.protocol == "TCP" else f"{asked.question.protocol} "
    return f"{protocol}{host_port(asked.address, asked.question.asks.port)}"


def worth_of(run: Run, round_: Round) -> str:
    """Return whether a remedy helps, to be added to its title; "" if nothing was asked, or of a
    step.
    """
    reached = sum(asked.explanation.connection.success for asked in round_.asked)
    if not round_.asked or round_.remedy not in run.scenario.form.remedies:
        return ""
    if reached == len(round_.asked):
        return " - helps"
    return " - helps in part" if reached else " - does not help here"


def where_of(asked: Asked) -> str:
    """Return who asks what."""
    question = asked.question
    name = "" if question.asks.address else f" ({question.asks})"
    return f"{question.client} asks {_where(asked)}{name}{_flow(question)}"


def found_of(asked: Asked) -> str:
    """Return what became of it."""
    connection = asked.explanation.connection
    if not connection.success:
        return f"{connection.outcome}, ended on {asked.explanation.reason.at}"
    shown = "" if asked.source == connection.source else f" ({asked.source})"
    return f"success: {connection.pod} saw {connection.source}{shown}"


def expected_of(asked: Asked) -> str:
    """Return what should have become of it."""
    steady = "" if asked.explanation.steady else "; a single packet ended otherwise"
    return f"{_in_words(asked.expected)}{steady}"


def clauses_of(asked: Asked) -> tuple[str, ...]:
    """Return what happened on the way, in order, and of a failure why."""
    reason = asked.explanation.reason
    why = () if asked.explanation.connection.success else (f"why: {reason.text}",)
    return (*reason.way, *why) or (reason.text,)


def _print_asked(paper: Paper, asked: Asked) -> None:
    paper.line(where_of(asked))
    _print_compared(paper, found_of(asked), ok=asked.ok)
    if not asked.ok:
        paper.paragraph(f"expected: {expected_of(asked)}", "red", indent=_INDENT)
    for clause in clauses_of(asked):
        style = "" if clause.startswith("why: ") else "dim"
        paper.paragraph(clause, style, indent=_INDENT, hanging=2)


def _print_backends(paper: Paper, backends: Backends) -> None:
    expected = backends.expected
    paper.line(f"load balancer {expected.balancer}, port {expected.port}, has the backends")
    _print_compared(paper, ", ".join(backends.found) or "none", ok=backends.ok)
    if not backends.ok:
        names = ", ".join(expected.backends) or "none"
        paper.paragraph(f"expected: {names}", "red", indent=_INDENT)
