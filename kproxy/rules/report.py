"""The rules of a Service as text. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from kproxy.backend import RuleLine

_INDENT = 2
_MOST_INDENT = 12  # deeper rules stay here, so that there is room for them


def rule_lines(rules: Sequence[RuleLine], width: int) -> Iterator[str]:
    """Yield the lines of a block: packets, if any were counted, and rules indented by jump.

    A line names the chain when it changes; behind `#` is what the rule is for.
    """
    counts = ["" if each.packets is None else str(each.packets) for each in rules]
    column = max(map(len, counts), default=0)
    margin = " " * (column + 1 if column else 0)
    place = ("", "")
    for each, count in zip(rules, counts, strict=True):
        indent = margin + " " * min(_INDENT * each.depth, _MOST_INDENT)
        if place != (each.table, each.chain):
            place = (each.table, each.chain)
            yield f"{indent}{each.table} {each.chain}"
        start = f"{count:>{column}} {indent[len(margin) :]}  " if column else f"{indent}  "
        yield from _wrapped(each.rule, start, f"{indent}      ", width)
        if each.purpose:
            yield from _wrapped(f"# {each.purpose}", f"{indent}    ", f"{indent}      ", width)


def _wrapped(text: str, first: str, rest: str, width: int) -> list[str]:
    return textwrap.wrap(
        text,
        max(width, len(rest) + 20),
        initial_indent=first,
        subsequent_indent=rest,
        break_on_hyphens=False,
    )
