"""A report as text and as plain values for JSON."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import TextIO

from msgspec import Struct

from kproxy.report.terminal import Paper
from kproxy.upgrade.check import Report
from kproxy.upgrade.lasting import Event, Lasting, still_answered
from kproxy.upgrade.packets import Measured, key, lasting_key
from kproxy.upgrade.prediction import Difference
from kproxy.upgrade.questions import place
from kproxy.upgrade.rules import RulesDifference
from kproxy.upgrade.settings import Said

_MOST_RULES = 8  # of one chain, in the text


class Disagreement(Struct, frozen=True, kw_only=True):
    """A packet that was not treated as predicted, on one side."""

    side: str
    question: str
    problem: str


def disagreements(report: Report, measured: Sequence[Measured]) -> list[Disagreement]:
    """Return what was measured otherwise than predicted: none, if all is well."""
    found = []
    for side, own in zip((report.before, report.after), measured, strict=True):
        found += [
            Disagreement(side=side.label, question=question, problem=problem)
            for question, problems in own.problems.items()
            for problem in problems
        ]
        expected = {event.value: still_answered(side, event) for event in Event}
        found += [
            Disagreement(
                side=side.label,
                question=what,
                problem="answered" if answered else "not answered",
            )
            for what, answered in own.lasting.items()
            if answered
            != next(expect for event, expect in expected.items() if what.endswith(event))
        ]
    return found


# Text ---------------------------------------------------------------------------------------------


def print_report(
    report: Report, measured: Sequence[Measured] = (), file: TextIO | None = None
) -> None:
    """Print as wide as the paper is."""
    paper = Paper(file)
    title = f"kube-proxy {report.before.label} -> {report.after.label}"
    paper.line(f"{title}: {counted(report)}", "bold")
    _print_settings(paper, report)
    _print_behaviours(paper, report)
    _print_rules(paper, report)
    _print_packets(paper, report, measured)
    paper.line()
    for each in report.left_out:
        paper.line(f"Not looked at: {each}", "yellow")
    for line in summary(report, measured):
        paper.line(line, "bold")


def counted(report: Report) -> str:
    """Return how much there is to compare."""
    services, nodes = len(report.services), report.nodes
    return f"{services} Service{'s' * (services != 1)}, {nodes} node{'s' * (nodes != 1)}"


def summary(report: Report, measured: Sequence[Measured] = ()) -> Iterator[str]:
    """Yield the last lines."""
    if report.refused:
        sides = dict.fromkeys(each.side for each in report.refused)
        yield f"{' and '.join(sides)} would not start with this configuration"
        return
    affected = report.affected
    if not affected:
        yield "No Service is affected"
    else:
        rules = sum(each.rules for each in affected)
        packets = sum(bool(each.packets) for each in affected)
        others = sum(not (each.rules or each.packets) for each in affected)
        yield (
            f"{len(affected)} of {len(report.services)} Services affected: "
            f"other rules for {rules}, other ends of packets for {packets}"
            + (f", only other behaviours for {others}" if others else "")
        )
    if measured:
        found = disagreements(report, measured)
        count = sum(len(each.seen) + len(each.lasting) for each in measured)
        yield (
            f"{count} answers measured, {len(found)} not as predicted"
            if found
            else f"{count} answers measured, all as predicted"
        )


def _heading(paper: Paper, text: str) -> None:
    paper.line()
    paper.line(text, "bold")


def _print_settings(paper: Paper, report: Report) -> None:
    if report.said:
        _heading(paper, "At the start")
        for each in report.said:
            word = "refuses" if each.refuses else "warns"
            paper.paragraph(
                f"{each.side} {word}: {each.text}",
                "red" if each.refuses else "",
                indent=2,
                hanging=2,
            )
    differing = [each for each in report.values if each.name != "mode"]
    if differing:
        _heading(paper, "Settings that mean something else")
        header = ("setting", report.before.label, report.after.label)
        paper.table(header, [(each.name, each.before, each.after) for each in differing])
    if report.gates:
        _heading(paper, "Feature gates")
        header = ("gate", report.before.label, report.after.label)
        rows = [
            (f"{each.name}{' (set)' * each.given}", each.before, each.after)
            for each in report.gates
        ]
        paper.table(header, rows)


def _print_behaviours(paper: Paper, report: Report) -> None:
    if report.behaviours:
        _heading(paper, "Behaviours that apply here")
    for each in report.behaviours:
        mark = " [packets]" if each.packets else ""
        paper.paragraph(
            f"{each.name}{mark}  {each.source}",
            "yellow" if each.packets else "",
            indent=2,
            hanging=2,
        )
        paper.paragraph(f"before: {each.before}", indent=4, hanging=2)
        paper.paragraph(f"after: {each.after}", indent=4, hanging=2)
        _print_services(paper, each.services)
    if report.modes:
        _heading(paper, "Differences between the modes that apply here")
    for row in report.modes:
        paper.paragraph(row.what, "yellow", indent=2, hanging=2)
        paper.paragraph(f"before: {row.before}", indent=4, hanging=2)
        paper.paragraph(f"after: {row.after}", indent=4, hanging=2)
        _print_services(paper, row.services)


def _print_services(paper: Paper, services: Sequence[str]) -> None:
    if services:
        paper.paragraph(f"for {', '.join(services)}", indent=4, hanging=2)


def _print_rules(paper: Paper, report: Report) -> None:
    if report.refused:
        return
    _heading(paper, "Rules")
    if not report.rules:
        paper.paragraph(same_rules(report), indent=2, hanging=2)
        return
    if report.before.mode.name != report.after.mode.name:
        paper.paragraph(
            "all of them, because the mode is another one; --json has them", indent=2, hanging=2
        )
        return
    for each in report.rules:
        title = each.service or "common to all Services"
        paper.paragraph(
            f"{title} ({each.family.value}, on {each.node})", "yellow", indent=2, hanging=2
        )
        for chain in each.chains:
            paper.paragraph(chain.place, indent=4)
            for sign, rules in (("-", chain.removed), ("+", chain.added)):
                for rule in rules[:_MOST_RULES]:
                    paper.paragraph(f"{sign} {rule}", indent=6, hanging=4)
                if len(rules) > _MOST_RULES:
                    paper.paragraph(f"{sign} ... {len(rules) - _MOST_RULES} more", indent=6)
    paper.paragraph(same_rules(report), indent=2, hanging=2)


def same_rules(report: Report) -> str:
    """Return which Services have the same rules on both sides."""
    if not report.rules:
        return "the same on every node, for every Service"
    without = {*report.services} - {each.service for each in report.rules}
    return f"{len(without)} Services have the same rules"


def _print_packets(paper: Paper, report: Report, measured: Sequence[Measured]) -> None:
    if report.refused:
        return
    how = "measured" if measured else "predicted"
    _heading(paper, f"Packets ({how})")
    if not report.answers and not report.lasting:
        paper.paragraph(f"{report.asked} questions, all with the same answer", indent=2, hanging=2)
    for service, found in groupby(report.answers, lambda each: each.question.service):
        paper.paragraph(str(service), "yellow", indent=2, hanging=2)
        header = ("who", "asks", report.before.label, report.after.label)
        paper.table(header, [difference_cells(each, measured) for each in found])
    if report.lasting:
        _heading(paper, "UDP clients that keep sending from one port")
        header = ("service", "when", report.before.label, report.after.label)
        paper.table(header, [lasting_cells(each, measured) for each in report.lasting])
    for wrong in disagreements(report, measured) if measured else ():
        paper.paragraph(
            f"NOT AS PREDICTED: {wrong.side}: {wrong.question}: {wrong.problem}",
            "red",
            indent=2,
            hanging=2,
        )


def difference_cells(each: Difference, measured: Sequence[Measured]) -> tuple[str, str, str, str]:
    question = each.question
    if measured:
        answers = [", ".join(own.seen[key(question)]) for own in measured]
    else:
        answers = [_short(str(answer)) for answer in (each.before, each.after)]
    asks = f"{question.asks} {place(question)}"
    return question.client, asks, answers[0], answers[1]


def _short(answer: str) -> str:
    return answer.removeprefix("delivered: ")


def lasting_cells(each: Lasting, measured: Sequence[Measured]) -> tuple[str, str, str, str]:
    answers = [each.before, each.after]
    if measured:
        what = lasting_key(each.service, each.family, each.event)
        answers = [own.lasting.get(what, False) for own in measured]
    words = ["still answered" if answered else "no longer answered" for answered in answers]
    name = f"{each.service} ({each.family.value})"
    return name, each.event.value, words[0], words[1]


# JSON ---------------------------------------------------------------------------------------------


def values(report: Report, measured: Sequence[Measured] = ()) -> Mapping[str, object]:
    """Return plain values for JSON."""
    before, after = report.before, report.after
    return {
        "from": {"version": str(before.side.version), "mode": before.mode.name},
        "to": {"version": str(after.side.version), "mode": after.mode.name},
        "services": list(report.services),
        "nodes": report.nodes,
        "refused": [_said(each) for each in report.refused],
        "warnings": [_said(each) for each in report.said if not each.refuses],
        "settings": [
            {"name": each.name, "from": each.before, "to": each.after} for each in report.values
        ],
        "gates": [
            {"name": each.name, "from": each.before, "to": each.after, "set": each.given}
            for each in report.gates
        ],
        "behaviours": [
            {
                "name": each.name,
                "begins": each.begins,
                "from": each.before,
                "to": each.after,
                "source": each.source,
                "packets": each.packets,
                "services": list(each.services),
            }
            for each in report.behaviours
        ],
        "mode_differences": [
            {
                "what": each.what,
                "from": each.before,
                "to": each.after,
                "services": list(each.services),
            }
            for each in report.modes
        ],
        "rules": [_rules(each) for each in report.rules],
        "packets": {
            "asked": report.asked,
            "differences": [_difference(each, measured) for each in report.answers],
            "lasting": [_lasting(each, measured) for each in report.lasting],
            "measured": bool(measured),
            "not_as_predicted": [
                {"side": each.side, "question": each.question, "problem": each.problem}
                for each in (disagreements(report, measured) if measured else ())
            ],
        },
        "affected": [
            {
                "service": each.service,
                "rules": each.rules,
                "packets": each.packets,
                "behaviours": list(each.behaviours),
                "mode_differences": list(each.modes),
            }
            for each in report.affected
        ],
        "unseen": report.unseen,
        "left_out": list(report.left_out),
    }


def _said(each: Said) -> Mapping[str, str]:
    return {"side": each.side, "text": each.text}


def _rules(each: RulesDifference) -> Mapping[str, object]:
    return {
        "service": each.service,
        "family": each.family.value,
        "node": each.node,
        "chains": [
            {"place": chain.place, "removed": list(chain.removed), "added": list(chain.added)}
            for chain in each.chains
        ],
    }


def _difference(each: Difference, measured: Sequence[Measured]) -> Mapping[str, object]:
    question = each.question
    seen = [list(own.seen[key(question)]) for own in measured]
    return {
        "service": "/".join(question.service.service),
        "port": str(question.service),
        "family": question.family.value,
        "client": question.client,
        "asks": question.asks,
        "address": place(question),
        "from": _answer(each.before.outcome, each.before.pods, each.before.why),
        "to": _answer(each.after.outcome, each.after.pods, each.after.why),
        "measured": {"from": seen[0], "to": seen[1]} if seen else None,
    }


def _answer(outcome: str, pods: Iterable[str], why: str) -> Mapping[str, object]:
    return {"outcome": outcome, "pods": list(pods), "why": why}


def _lasting(each: Lasting, measured: Sequence[Measured]) -> Mapping[str, object]:
    what = lasting_key(each.service, each.family, each.event)
    seen = [own.lasting.get(what) for own in measured]
    return {
        "service": "/".join(each.service.service),
        "port": str(each.service),
        "family": each.family.value,
        "event": each.event.value,
        "from": each.before,
        "to": each.after,
        "measured": {"from": seen[0], "to": seen[1]} if seen else None,
    }
