"""The parts of a tour, as values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kproxy.probe import Finding

UNHEARD = ", unheard"  # ends `Finding.answered` if the answer did not reach the client


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table. Each row is as long as `header`; a cell may have several lines."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One part of a tour. `tables`, `findings` and `notes` (sentences) may be empty."""

    title: str
    tables: Sequence[Table] = ()
    findings: Sequence[Finding] = ()
    notes: Sequence[str] = ()
    problems: Sequence[str] = ()
    """Problems besides those of the findings."""

    @property
    def ok(self) -> bool:
        return not self.problems and all(finding.ok for finding in self.findings)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A whole tour: its parts, the mode of the proxies, and its duration.

    `left_out` is what the lab left out of the manifests, in one sentence; "" for nothing.
    """

    mode: str
    parts: Sequence[Part]
    left_out: str = ""
    lab_up_s: float
    total_s: float

    @property
    def ok(self) -> bool:
        return all(part.ok for part in self.parts)


def is_answered(finding: Finding) -> bool:
    """Tell whether a pod got the packet and its answer reached the client, as far as observed."""
    return bool(finding.source) and not finding.answered.endswith(UNHEARD)
