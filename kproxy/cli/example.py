"""`kproxy demo --example`: one manifest on a lab with a control plane, applied and explained."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import click

from kproxy.backend import BackendOptions, load
from kproxy.cli.examples import examples
from kproxy.cli.keeping import keep
from kproxy.tour import catalog

if TYPE_CHECKING:
    from kproxy.tour.part import Part


def names() -> str:
    """The examples there are, a line each."""
    return "\n".join(catalog.listing(catalog.known(examples() / catalog.FOLDER)))


def find(wanted: str) -> catalog.Example:
    """By name, or a manifest by its path. Raises click.BadParameter, with the names there are."""
    found = catalog.find(examples() / catalog.FOLDER, wanted)
    if found is None:
        raise click.BadParameter(
            f"{wanted!r} is no manifest, and none of the examples:\n{names()}",
            param_hint="--example",
        )
    return found


def run_example(
    example: catalog.Example, mode: str, options: BackendOptions, *, stays: bool, as_json: bool
) -> int:
    """Apply it and print what is seen; how many things are not as they must be.

    Raises BadInput, and what a lab raises.
    """
    started = time.monotonic()
    from kproxy.lab import Lab, load_spec

    spec = load_spec(examples() / catalog.LAB)
    load(mode)  # imported now, so that the lab's time is its own
    _say(f"{example.path} in {mode} mode: building the lab ...")
    from kproxy.tour.report import part_values, print_head, print_part
    from kproxy.tour.run import run

    if not as_json:
        print_head(example)
    parts: list[Part] = []
    with Lab(spec, mode, options=options, publish=stays) as lab:
        for part in run(lab, example):
            parts.append(part)
            _say(f"[{time.monotonic() - started:.1f} s] {part.title}")
            if not as_json:
                print_part(part, lab)
        broken = _summary(parts, time.monotonic() - started)
        if as_json:
            values = {"example": example.name, "mode": mode, "ok": not broken}
            click.echo(json.dumps({**values, "parts": [*map(part_values, parts)]}, indent=2))
        if stays:
            keep(lab, "node-a", ("shell", "getent", "hosts", "kube-dns.kube-system"))
    return broken


def _summary(parts: list[Part], total_s: float) -> int:
    """Say how it went; how many things are not as they must be."""
    findings = [finding for part in parts for finding in part.findings]
    broken = [finding for finding in findings if not finding.ok]
    problems = [problem for part in parts for problem in part.problems]
    _say(f"\n{len(findings) - len(broken)} of {len(findings)} as expected; {total_s:.1f} s in all")
    for finding in broken:
        _say(f"NOT AS EXPECTED: {finding.check}: {finding.client} asks {finding.asked}")
    for problem in problems:
        _say(f"NOT AS EXPECTED: {problem}")
    return len(broken) + len(problems)


def _say(text: str) -> None:
    """Progress, for people: standard output is for the result."""
    click.echo(text, err=True)
