"""Cells written by hand."""

from __future__ import annotations

from kproxy.explain.explainer import Explanation
from kproxy.explain.reason import Mechanism, Reason
from kproxy.matrix.measure import Cell
from kproxy.matrix.places import Question
from kproxy.outcome import Connection, Outcome


def cell(
    question: Question,
    outcome: str = "success",
    source_is: str = "node",
    *,
    protocol: str = "TCP",
    steady: bool = True,
    reason: str = "",
) -> Cell:
    success = outcome == "success"
    return Cell(
        question=question,
        protocol=protocol,
        asked="192.168.10.12:30080",
        source_is=source_is if success else "",
        explanation=Explanation(
            connection=Connection(
                outcome=Outcome(outcome), source="192.168.10.12" if success else ""
            ),
            hops=(),
            reason=Reason(
                mechanism=Mechanism.ANSWERED if success else Mechanism.RULE,
                at="server",
                text=reason,
            ),
            steady=steady,
        ),
    )
