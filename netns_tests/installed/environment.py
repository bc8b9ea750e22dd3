"""A fresh environment: the wheel of this checkout, the pinned dependencies, and nothing else."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
# Only a failing test waits that long: mypy takes ten seconds of CPU time.
_PATIENCE_S = 500
_OURS = ("kproxy", "_kproxy", "__editable__")  # what an editable install of the checkout leaves


class Environment:
    """An environment in `folder`, with bin/python. Nothing of the checkout is imported there:
    commands run elsewhere, without PYTHONPATH.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.python = folder / "bin" / "python"

    def install(self, *projects: Path) -> None:
        """Install wheels, or build and install projects, as pip does it."""
        _pip(
            self.python,
            *("install", "--no-deps", "--no-index", "--no-build-isolation", "--no-compile"),
            *("--quiet", *map(str, projects)),
        )

    def run(self, *argv: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run a program of the environment, such as `kproxy`, and wait for its end."""
        return subprocess.run(
            [str(self.folder / "bin" / argv[0]), *argv[1:]],
            capture_output=True,
            text=True,
            check=False,
            timeout=_PATIENCE_S,
            cwd=cwd or self.folder,
            env=self.variables,
        )

    @property
    def variables(self) -> dict[str, str]:
        others = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        return {**others, "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}"}


def make(folder: Path, wheel: Path) -> Environment:
    """Make an environment that has the wheel and the other packages of the test's environment.

    The first one is made for all workers of a test run, and copied: pip takes a second.
    """
    with _alone(wheel.parent):
        first = wheel.parent / "environment"
        if not first.exists():
            _make(first, wheel)
    shutil.copytree(first, folder, symlinks=True)
    for script in (folder / "bin").iterdir():
        if not script.is_symlink():
            script.write_text(script.read_text().replace(str(first), str(folder)))
    return Environment(folder)


def _make(folder: Path, wheel: Path) -> None:
    """Dependencies are linked, not installed again: it takes a second, and no network."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    environment = Environment(folder)
    (there,) = folder.glob("lib/python*/site-packages")
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if not entry.name.startswith(_OURS) and not entry.name.startswith("__pycache__"):
            (there / entry.name).symlink_to(entry)
    for program in Path(sys.executable).parent.iterdir():  # mypy, pytest: with the right Python
        if program.name in ("mypy", "pytest"):
            module = program.name
            script = folder / "bin" / module
            script.write_text(f'#!/bin/sh\nexec "{environment.python}" -m {module} "$@"\n')
            script.chmod(0o755)
    environment.install(wheel)


def build_wheel(shared: Path) -> Path:
    """Build the wheel of this checkout into `shared`, once for all workers of a test run."""
    with _alone(shared):
        folder = shared / "wheel"
        if not folder.exists():
            _pip(
                sys.executable,
                *("wheel", "--no-deps", "--no-index", "--no-build-isolation", "--quiet"),
                *("--wheel-dir", str(folder), str(ROOT)),
            )
        (wheel,) = folder.glob("kproxy-*.whl")
        return wheel


@contextmanager
def _alone(shared: Path) -> Iterator[None]:
    """Keep the other workers of the test run out of the block."""
    with (shared / "installed.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _pip(python: str | Path, *arguments: str) -> None:
    """Run pip in the environment itself: for another, with `--python`, it starts twice."""
    done = subprocess.run(
        [python, "-m", "pip", "--disable-pip-version-check", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
