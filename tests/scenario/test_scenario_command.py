"""The parts of `kproxy scenario` that build no lab."""

from __future__ import annotations

import os
import subprocess

import pytest
from click.testing import CliRunner

from kproxy.cli.scenario import scenario as scenario_command
from kproxy.scenario.files import Scenario, names
from tests.scenario.examples import EXAMPLES, SCENARIOS
from tests.warm_kproxy import run_kproxy


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return run_kproxy(["scenario", *arguments], env={**os.environ, "COLUMNS": "200"})


@pytest.mark.parametrize("arguments", [(), ("list",), ("show",), ("run",)], ids=" ".join)
def test_help_has_examples_and_fits_80_columns(arguments: tuple[str, ...]) -> None:
    done = command(*arguments, "--help")
    assert done.returncode == 0
    assert "Examples:" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_list() -> None:
    done = CliRunner().invoke(scenario_command, ["list"])
    assert set(names(EXAMPLES)) <= set(done.output.splitlines())


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: str(scenario.name))
def test_show(scenario: Scenario) -> None:
    done = CliRunner().invoke(scenario_command, ["show", scenario.name])
    assert done.exit_code == 0
    assert max(map(len, done.output.splitlines())) <= 80
    assert done.output.count("Remedy: ") == len(scenario.form.remedies)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("run", "lb"), "no scenario 'lb'\n  try: kproxy scenario list"),
        (("run", "hairpins"), "no scenario 'hairpins'\n  try: hairpin"),
        (("show", "tests"), "no scenario 'tests'\n  try: ./tests"),
        (("show", "./none"), "none: there is no such folder"),
        (("run", "flannel-local", "--mode", "ebpf"), "--mode ebpf: this scenario is for ipvs, "),
        (("run", "flannel-local", "--network", "vpc"), "this scenario is for flannel-vxlan"),
        (("run", "flannel-local", "--svg", __file__), f"--svg {__file__}: this is a file"),
    ],
)
def test_bad_input_is_refused(arguments: tuple[str, ...], said: str) -> None:
    done = command(*arguments)
    assert done.returncode == 2
    assert said in done.stderr
