"""The parts of `kproxy scenario` that build no lab."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from kproxy.cli.scenario import scenario as scenario_command
from kproxy.scenario.files import Scenario, load, names

EXAMPLES = Path(__file__).parents[2] / "examples" / "scenarios"
SCENARIOS = [load(EXAMPLES / name) for name in names(EXAMPLES)]


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "kproxy", "scenario", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": "200"},
    )


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
        (("run", "lb"), "no scenario 'lb'"),
        (("show", "./none"), "none/scenario.yaml"),
        (("run", "flannel-local", "--mode", "ebpf"), "--mode ebpf: this scenario is for ipvs, "),
        (("run", "flannel-local", "--network", "vpc"), "this scenario is for flannel-vxlan"),
    ],
)
def test_bad_input_is_refused(arguments: tuple[str, ...], said: str) -> None:
    done = command(*arguments)
    assert done.returncode == 2
    assert said in done.stderr
