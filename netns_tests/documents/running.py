"""A page is played, and its output compared with what it shows."""

from __future__ import annotations

from difflib import unified_diff
from pathlib import Path

from netns_tests.documents.masks import masked
from netns_tests.documents.pages import rewritten, steps
from netns_tests.documents.sessions import session


def printed(page: str, home: Path) -> list[str]:
    """Return the output of each step of a page.

    It is the page's own where both are the same but for what is masked.
    """
    with session(home) as reader:
        outputs = []
        for step in steps(page):
            output = reader.type(step.command)
            outputs.append(step.output if masked(output) == masked(step.output) else output)
    return outputs


def played(page: str, home: Path) -> str:
    """Return the page with what its commands print now."""
    return rewritten(page, printed(page, home))


def difference(page: str, now: str) -> str:
    """Return what differs between a page and what it would be now, as a diff; nothing if equal."""
    lines = unified_diff(page.splitlines(), now.splitlines(), "page", "printed", lineterm="")
    return "\n".join(lines)
