"""What a tour has to show, as values."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A whole tour: its parts, the mode of the proxies, and how long it took, in seconds."""

    mode: str
    parts: Sequence[Part]
    lab_up_s: float
    total_s: float

    @property
    def ok(self) -> bool:
        return all(part.ok for part in self.parts)


def is_answered(finding: Finding) -> bool:
    """Tell whether a pod got it and its answer came back, as far as that was asked for."""
    return bool(finding.source) and not finding.answered.endswith(UNHEARD)
