"""What one stop of a tour has to show, as a value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kproxy.probe import Finding

UNHEARD = ", unheard"  # of what a finding says of who answered


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """`rows` are as long as `header`; a cell may have several lines."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """`tables`, `findings` and `notes` (sentences) may be empty each.

    `problems`: what is not as it must be, besides what the findings say of themselves.
    """

    title: str
    tables: Sequence[Table] = ()
    findings: Sequence[Finding] = ()
    notes: Sequence[str] = ()
    problems: Sequence[str] = ()

    @property
    def ok(self) -> bool:
        return not self.problems and all(finding.ok for finding in self.findings)


def is_answered(finding: Finding) -> bool:
    """Whether a pod got it and its answer came back, as far as that was asked for."""
    return bool(finding.source) and not finding.answered.endswith(UNHEARD)
