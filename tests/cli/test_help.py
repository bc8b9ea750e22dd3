"""The command line as a new user sees it, in processes of its own."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from kproxy.cli.commands import COMMANDS
from tests.warm_kproxy import run_kproxy

HEAVY = ("scapy", "rich", "watchfiles", "pyroute2", "yaml", "kproxy.lab", "kproxy.forwarding")


def kproxy(*arguments: str, columns: int = 200) -> subprocess.CompletedProcess[str]:
    return run_kproxy(arguments, env={**os.environ, "COLUMNS": str(columns)})


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        *((command,) for command in COMMANDS),
        ("scenario", "run"),
        ("bench", "sync"),
        ("bench", "latency"),
        ("bench", "control-plane"),
        ("bench", "endpoints"),
    ],
)
def test_help_has_examples_and_fits_the_terminal(arguments: tuple[str, ...]) -> None:
    for columns, widest in (60, 60), (80, 80), (200, 80):
        done = kproxy(*arguments, "--help", columns=columns)
        assert done.returncode == 0
        assert "Examples:" in done.stdout
        assert max(map(len, done.stdout.splitlines())) <= widest


def test_help_lists_every_command() -> None:
    listed = kproxy("--help").stdout
    assert all(f"  {command} " in listed for command in COMMANDS)


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from kproxy.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        f"loaded = [name for name in {HEAVY!r} if name in sys.modules]\n"
        "sys.exit(f'loaded: {loaded}' if loaded else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "arguments", [("fly",), ("run", "--no-such-flag"), ("run", "stray"), ("run", "--once=perhaps")]
)
def test_usage_errors_exit_2(arguments: tuple[str, ...]) -> None:
    assert kproxy(*arguments).returncode == 2


NAMED_OTHERWISE = [  # arguments -> what is said of them
    (("up", "--lab", "a"), "No such option '--lab': here it is --name."),
    (("get", "pods", "--name", "a"), "No such option '--name': here it is --lab."),
    (("down", "--lab", "a"), "No such option '--lab': the name of the lab needs no option here."),
    (("ui", "--name", "a"), "No such option '--name': the name of the lab needs no option here."),
]


@pytest.mark.parametrize(("arguments", "said"), NAMED_OTHERWISE)
def test_a_lab_named_as_by_another_command(arguments: tuple[str, ...], said: str) -> None:
    done = kproxy(*arguments)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (2, f"Error: {said}")


@pytest.mark.parametrize("arguments", [("scenario", "run", "--lab", "a"), ("demo", "--name", "a")])
def test_a_command_that_names_no_lab_tells_of_none(arguments: tuple[str, ...]) -> None:
    done = kproxy(*arguments)
    assert (done.returncode, "name of the lab" in done.stderr) == (2, False)
