"""Console blocks of a page: found, and written again with other output."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

_BLOCK = re.compile(r"^```console\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_PROMPT, _CONTINUED = "$ ", "> "


class Step(NamedTuple):
    """A command, without prompts, and the lines that a page shows below it."""

    command: str
    output: str


def steps(page: str) -> list[Step]:
    """Return the steps of all blocks of a page, in order. Raises ValueError for a block that does
    not begin with a command.
    """
    return [step for block in _BLOCK.finditer(page) for step in _steps(block[1])]


def rewritten(page: str, outputs: Sequence[str]) -> str:
    """Return the page with these outputs, one for each step, and all else as it is."""
    remaining = iter(outputs)

    def block(found: re.Match[str]) -> str:
        body = "".join(_typed(step.command) + next(remaining) for step in _steps(found[1]))
        return f"```console\n{body}```"

    return _BLOCK.sub(block, page)


def _steps(block: str) -> list[Step]:
    found: list[Step] = []
    for line in block.splitlines(keepends=True):
        if line.startswith(_PROMPT):
            found.append(Step(line.removeprefix(_PROMPT), ""))
        elif not found:
            raise ValueError(f"a block begins with output: {line!r}")
        elif line.startswith(_CONTINUED) and not found[-1].output:
            found[-1] = Step(found[-1].command + line.removeprefix(_CONTINUED), "")
        else:
            found[-1] = Step(found[-1].command, found[-1].output + line)
    return found


def _typed(command: str) -> str:
    first, *others = command.splitlines(keepends=True)
    return "".join([_PROMPT + first, *(_CONTINUED + line for line in others)])
