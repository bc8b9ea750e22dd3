"""`kproxy demo --example` before anything is built: the list of examples."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from kproxy.cli.demo import demo
from kproxy.lab.examples import examples
from kproxy.tour import catalog

NAMES = [each.name for each in catalog.known(examples() / catalog.FOLDER)]


def named(lines: list[str]) -> list[str]:
    """Return the first word of each line that is indented."""
    return [line.split()[0] for line in lines if line.startswith("  ")]


def test_the_examples_are_listed() -> None:
    result = CliRunner().invoke(demo, ["--list-examples"])
    assert result.exit_code == 0
    assert named(result.stdout.splitlines()) == NAMES
    assert max(map(len, result.stdout.splitlines())) <= 80


@pytest.mark.parametrize("wanted", ["nonesuch", "nonesuch.yaml", ""])
def test_an_unknown_name_lists_those_there_are(wanted: str) -> None:
    result = CliRunner().invoke(demo, ["--example", wanted])
    assert result.exit_code == 2
    assert f"{wanted!r} is neither a manifest nor one of the examples:" in result.stderr
    assert named(result.stderr.splitlines()) == NAMES


def test_help_says_how() -> None:
    result = CliRunner().invoke(demo, ["--help"])
    assert "--example NAME" in result.stdout
    assert "--list-examples" in result.stdout
