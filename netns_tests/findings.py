"""Findings of checks in full, one below the other.

pytest cuts the middle out of long texts when it compares lists, and with it what was observed.
"""

from __future__ import annotations

from collections.abc import Iterable

from kproxy.probe import Finding
from kproxy.tour.part import Part


def require_none(wrong: Iterable[str]) -> None:
    """Fail with all texts, whole, if there is any."""
    found = [*wrong]
    assert not found, "\n" + "\n".join(found)


def require_ok(*findings: Finding) -> None:
    """Fail with all that is known of each finding that is not as expected."""
    require_none(in_full(each) for each in findings if not each.ok)


def in_full(finding: Finding) -> str:
    """Return what was asked, seen and expected, in lines."""
    seen = f"{finding.answered}, which saw {finding.source}" if finding.source else finding.answered
    return "\n".join(
        [
            f"{finding.check}: {finding.client} asks {finding.asked}",
            f"  seen: {seen}; hops: {' -> '.join(finding.hops) or 'not watched'}",
            f"  expected: {finding.expected}: {finding.why}",
            *(f"  wrong: {each}" for each in finding.problems),
        ]
    )


def surprises(example: str, parts: Iterable[Part]) -> list[str]:
    """Return what is not as expected in the parts of a tour, and "nothing shown" if nothing was
    asked.
    """
    parts = [*parts]
    wrong = [
        f"{part.title}: {problem}"
        for part in parts
        for problem in (*part.problems, *(in_full(each) for each in part.findings if not each.ok))
    ]
    if not any(part.findings for part in parts):
        wrong.append("nothing shown")
    return [f"{example}: {each}" for each in wrong]
