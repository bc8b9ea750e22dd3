"""A user without any privilege on a private machine, who reaches kproxy and Python."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from netns_tests.up.machine import KPROXY, Machine

_RUNTIME, _KEPT = "/run/user", "/run/kept"
_KEPT_NAMES = ("PATH", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE")
_NEEDED = tuple(dict.fromkeys(map(Path, (sys.base_prefix, sys.prefix, os.getcwd()))))


class OrdinaryUser(Machine):
    """Runs commands as a user who is nobody else, with a home and a runtime folder of their own."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self.uid = 1_000_000 + os.getpid()

    def argv(self, *command: str) -> list[str]:
        identity = (f"--reuid={self.uid}", f"--regid={self.uid}", "--clear-groups")
        places = (f"HOME={_RUNTIME}/home", f"XDG_RUNTIME_DIR={_RUNTIME}/run")
        kept = [f"{name}={os.environ[name]}" for name in _KEPT_NAMES if name in os.environ]
        return self._machine.argv(
            *("setpriv", *identity, "--bounding-set=-all", "--no-new-privs"),
            *("env", "--ignore-environment", f"--chdir={os.getcwd()}", *kept, *places, *command),
        )

    def kproxy(self, *arguments: str, columns: int = 200) -> subprocess.CompletedProcess[str]:
        return self.run(*KPROXY, *arguments, columns=columns)

    def places(self) -> list[str]:
        found = self.run("find", f"{_RUNTIME}/run", f"{_RUNTIME}/home", "-mindepth", "2").stdout
        return found.splitlines()

    def processes(self) -> list[int]:
        """Return the processes of the user that have not ended."""
        found = []
        for each in Path("/proc").glob("[0-9]*/status"):
            try:
                lines = dict(line.split(":\t", 1) for line in each.read_text().splitlines())
            except OSError:
                continue  # it has ended meanwhile
            if int(lines["Uid"].split()[0]) == self.uid and not lines["State"].startswith("Z"):
                found.append(int(each.parent.name))
        return found


@contextmanager
def ordinary_user(machine: Machine) -> Iterator[OrdinaryUser]:
    """Yield a user of a machine; what is left of their labs is ended."""
    user = OrdinaryUser(machine)
    for command in _opened():
        subprocess.run(machine.argv(*command), check=True, timeout=30)
    for folder in ("home", "run"):
        own = ("install", "-d", "-m", "700", "-o", str(user.uid), f"{_RUNTIME}/{folder}")
        subprocess.run(machine.argv(*own), check=True, timeout=30)
    try:
        yield user
    finally:
        user.kproxy("down", "--all")


def _opened() -> Iterator[tuple[str, ...]]:
    """Yield the commands that let everybody reach what kproxy needs of folders that are closed to
    others, such as /root: another folder is mounted over these, with no more than that in it.
    """
    closed = {path: folder for path in _NEEDED if (folder := _closed(path))}
    kept = {path: f"{_KEPT}/{number}" for number, path in enumerate(closed)}
    for path, place in kept.items():
        yield "mkdir", "-p", place
        yield "mount", "--rbind", str(path), place
    for folder in dict.fromkeys(closed.values()):
        yield "mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", str(folder)
    for path, place in kept.items():
        yield "mkdir", "-p", str(path)
        yield "mount", "--rbind", place, str(path)


def _closed(path: Path) -> Path | None:
    """Return the outermost folder on the way that others cannot enter."""
    ways = [*reversed(path.resolve().parents), path.resolve()]
    return next((each for each in ways if not each.stat().st_mode & 0o001), None)
