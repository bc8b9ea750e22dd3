"""The comparison of two checkouts, with programs in place of their interpreters."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from kproxy.bench import compare


def checkout(folder: Path, script: str) -> Path:
    """Make a checkout whose interpreter is a shell script."""
    program = folder / ".venv/bin/python"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return folder


def test_ratios_of_medians_with_their_spread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counting = 'echo x >>runs; echo "$(wc -l <runs).5"'
    other = checkout(tmp_path / "other", counting)
    monkeypatch.chdir(checkout(tmp_path / "this", "echo 1.25"))
    done = CliRunner().invoke(compare.main, [str(other), "--only", "import"])
    assert done.exit_code == 0
    assert done.stdout.splitlines()[1].split() == [
        *("import", "kproxy.lab:", "s"),
        *("11.5", "4.5-18.5", "1.25", "1.25-1.25", "0.11"),  # each run is the median of seven
    ]


def test_what_fails_is_told_and_the_others_are_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = 'case "$*" in *range*) exit 3 ;; esac; echo 2'
    other = checkout(tmp_path / "other", script)
    monkeypatch.chdir(checkout(tmp_path / "this", "echo 1"))
    chosen = ("--only", "3 nodes", "--only", "import", "--runs", "1")
    done = CliRunner().invoke(compare.main, [str(other), *chosen])
    assert done.exit_code == 1
    assert f"lab of 3 nodes, 6 pods: exit status 3 in {other}" in done.stderr
    assert "import kproxy.lab: s" in done.stdout
    assert "lab of" not in done.stdout


def test_what_cannot_be_measured_at_all(tmp_path: Path) -> None:
    done = CliRunner().invoke(compare.main, [str(tmp_path)])
    assert (done.exit_code, "run scripts/setup there" in done.stderr) == (2, True)
    other = checkout(tmp_path / "other", "")
    done = CliRunner().invoke(compare.main, [str(other), "--only", "nonsense"])
    assert (done.exit_code, "there is: import kproxy.lab," in done.stderr) == (2, True)
