"""A report as an HTML page that needs no other file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from itertools import groupby

from kproxy.report.boards import STYLE
from kproxy.upgrade.check import Report
from kproxy.upgrade.packets import Measured
from kproxy.upgrade.report import difference_cells, disagreements, lasting_cells, summary

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>{style}
pre {{ background: #f7f7f7; padding: .6rem; overflow-x: auto; }}
pre .removed {{ color: #a01313; }} pre .added {{ color: #12651b; }}
.bad {{ color: #a01313; font-weight: 600; }}
</style></head><body>
<h1>{title}</h1>
{body}
</body></html>
"""


def page(report: Report, measured: Sequence[Measured] = ()) -> str:
    """Return the whole page."""
    before, after = report.before.label, report.after.label
    parts = [f"<p><strong>{escape(line)}</strong></p>" for line in summary(report, measured)]
    parts += [f"<p>Not looked at: {escape(each)}</p>" for each in report.left_out]
    if report.affected:
        parts.append("<h2>Services</h2>")
        rows = [
            (
                each.service,
                "other rules" if each.rules else "",
                f"{each.packets} other answers" if each.packets else "",
                ", ".join((*each.behaviours, *each.modes)),
            )
            for each in report.affected
        ]
        parts.append(_table(("Service", "rules", "packets", "behaviours"), rows))
    if report.said:
        parts.append("<h2>At the start</h2>")
        rows_said = [
            (each.side, "refuses" if each.refuses else "warns", each.text) for each in report.said
        ]
        parts.append(_table(("", "", ""), rows_said))
    for title, settings in (("Settings", report.values), ("Feature gates", report.gates)):
        if settings:
            parts.append(f"<h2>{title}</h2>")
            cells = [(each.name, each.before, each.after) for each in settings]
            parts.append(_table(("", before, after), cells))
    if report.behaviours or report.modes:
        parts.append("<h2>Behaviours</h2>")
        told = [
            (each.name, each.before, each.after, ", ".join(each.services))
            for each in report.behaviours
        ]
        told += [
            (each.what, each.before, each.after, ", ".join(each.services)) for each in report.modes
        ]
        parts.append(_table(("", before, after, "Services"), told))
    parts += _packets(report, measured)
    parts += _rules(report)
    title = f"kube-proxy {before} → {after}"
    return _PAGE.format(title=escape(title), style=STYLE, body="\n".join(parts))


def _packets(report: Report, measured: Sequence[Measured]) -> Iterable[str]:
    if report.answers or report.lasting:
        yield "<h2>Packets</h2>"
    head = ("who", "asks", report.before.label, report.after.label)
    for service, found in groupby(report.answers, lambda each: each.question.service):
        yield f"<h3>{escape(str(service))}</h3>"
        yield _table(head, [difference_cells(each, measured) for each in found])
    if report.lasting:
        yield "<h3>UDP clients that keep sending from one port</h3>"
        head = ("Service", "when", report.before.label, report.after.label)
        yield _table(head, [lasting_cells(each, measured) for each in report.lasting])
    for wrong in disagreements(report, measured) if measured else ():
        told = f"Not as predicted: {wrong.side}: {wrong.question}: {wrong.problem}"
        yield f'<p class="bad">{escape(told)}</p>'


def _rules(report: Report) -> Iterable[str]:
    if report.rules:
        yield "<h2>Rules</h2>"
    for each in report.rules:
        title = each.service or "common to all Services"
        yield f"<h3>{escape(f'{title} ({each.family.value}, on {each.node})')}</h3>"
        lines = []
        for chain in each.chains:
            lines.append(escape(chain.place))
            lines += [f'<span class="removed">- {escape(rule)}</span>' for rule in chain.removed]
            lines += [f'<span class="added">+ {escape(rule)}</span>' for rule in chain.added]
        yield "<pre>" + "\n".join(lines) + "</pre>"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    titles = "".join(f"<th>{escape(each)}</th>" for each in head)
    body = "\n".join(
        f"<tr>{''.join(f'<td>{escape(cell.strip())}</td>' for cell in row)}</tr>" for row in rows
    )
    return f"<table><tr>{titles}</tr>\n{body}\n</table>"
