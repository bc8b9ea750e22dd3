"""The `ipset` program, to make sets that kproxy would not make, and to compare kproxy with."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from kproxy.kernel.process import run


class Printed(NamedTuple):
    """One set as `ipset save` prints it."""

    creation: str
    """The part of its `create` line behind the name."""
    entries: frozenset[str]
    """Without their options."""


def restore(lines: Iterable[str]) -> None:
    """Carry out `create`, `add` ... lines. Raises KernelRefused."""
    run(["ipset", "restore", "-exist"], "".join(f"{line}\n" for line in lines))


def save() -> dict[str, Printed]:
    """Return all sets."""
    creations: dict[str, str] = {}
    entries: dict[str, set[str]] = {}
    for line in run(["ipset", "save"]).splitlines():
        verb, name, rest = line.split(" ", 2)
        if verb == "create":
            creations[name], entries[name] = rest, set()
        else:
            entries[name].add(rest.split(" ", 1)[0])
    return {name: Printed(creations[name], frozenset(entries[name])) for name in creations}
