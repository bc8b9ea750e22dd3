"""A disk that is full is an error in one line, and a reader that has seen enough is none."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.warm_kproxy import run_kproxy

COMMANDS = (["--help"], ["demo", "--list-examples"], ["scenario", "list"])


@pytest.mark.parametrize("buffered", ["", "1"])
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_full_disk(command: list[str], buffered: str) -> None:
    with open("/dev/full", "w", encoding="ascii") as full:
        done = subprocess.run(
            [sys.executable, "-m", "kproxy", *command],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            env={**os.environ, "PYTHONUNBUFFERED": buffered},
        )
    assert done.returncode == 1
    assert done.stderr == (
        "kproxy: standard output: No space left on device\n"
        "  try: make room there, or write to another place\n"
    )


@pytest.mark.parametrize("buffered", ["", "1"])
def test_a_reader_that_has_seen_enough(buffered: str) -> None:
    command = [sys.executable, "-m", "kproxy", "demo", "--list-examples"]
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as gone:
        done = subprocess.run(
            command,
            stdout=gone,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            env={**os.environ, "PYTHONUNBUFFERED": buffered},
        )
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.parametrize("width", [60, 80, 120, 200])
@pytest.mark.parametrize(
    "command",
    [
        ["demo", "--example", "no-such-example"],
        ["demo", "--mode", "ebpf"],
        ["demo", "--list-examples"],
        ["scenario", "run", "no-such-scenario"],
        ["scenario", "list"],
        ["scenario", "show", "nodeport-local-from-container-on-another-node"],
        ["bench", "endpoints"],
        ["run", "--manifests", "/no/such/folder/of/manifests/that/has/a/long/name/no-such.yaml"],
    ],
    ids=" ".join,
)
def test_it_fits_the_terminal(command: list[str], width: int) -> None:
    done = run_kproxy(command, env={**os.environ, "COLUMNS": str(width)})
    assert max(map(len, (done.stdout + done.stderr).splitlines())) <= width
