"""The command line on a machine whose /run is its own: no other test sees its labs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from kproxy.kernel.running import on_uml
from tests.warm_kproxy import fork_with, run_kproxy

# By room, what commands about labs import, also what a lab does once it is being built.
_IMPORTED = {
    "cli": ("doctor", "exec", "lab_status", "labs", "rules", "trace", "up", "verbs"),
    "doctor": ("from_lab", "page"),
    "lab": ("building", "cluster.setup", "pods.ingress", "validation"),
    "resident": ("api", "background", "guest", "residence"),
}
if not on_uml():  # where imports are dear, and no test has such a machine
    fork_with(
        "urllib3", *(f"kproxy.{room}.{name}" for room, found in _IMPORTED.items() for name in found)
    )

# Holds the mount namespace until its standard input ends, so it does not outlive the tests.
_HOLDER = ("unshare", "--mount", "sh", "-c", "mount -t tmpfs tmpfs /run && echo ready && exec cat")


class Machine:
    """Runs commands where labs are those of one test."""

    def __init__(self, holder: int) -> None:
        self._holder = holder

    def argv(self, *command: str) -> list[str]:
        """Return a command line that runs there, in our working directory."""
        return ["nsenter", f"--target={self._holder}", "--mount", f"--wd={os.getcwd()}", *command]

    def run(self, *command: str, columns: int = 200) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.argv(*command),
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "COLUMNS": str(columns)},
        )

    def kproxy(self, *arguments: str, columns: int = 200) -> subprocess.CompletedProcess[str]:
        """Run kproxy as a fork that has it imported. `run(*KPROXY, ...)` starts it as users do."""
        return run_kproxy(
            arguments,
            env={**os.environ, "COLUMNS": str(columns)},
            timeout=120,
            machine=self._holder,
        )

    def ok(self, *arguments: str) -> str:
        """Run kproxy, which must succeed, and return its output."""
        done = self.kproxy(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def values(self, *arguments: str) -> Any:
        """Run kproxy with --json, and return what it prints."""
        return json.loads(self.ok(*arguments, "--json"))

    def places(self) -> list[str]:
        """Return the paths of everything that labs have below /run."""
        return self.run("find", "/run/kproxy", "/run/netns").stdout.splitlines()

    def left(self) -> bool:
        """Tell whether there are labs, or what dead ones have left."""
        found = self.run(
            "find", "/run/kproxy", "/run/netns", "-mindepth", "1", "-not", "-name", "labs"
        )
        return found.stdout != ""


KPROXY: Sequence[str] = (sys.executable, "-m", "kproxy")


@contextmanager
def private_machine() -> Iterator[Machine]:
    """Yield a machine without labs; those that are left in the end are removed."""
    with subprocess.Popen(
        _HOLDER, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == "ready\n"
        machine = Machine(holder.pid)
        try:
            yield machine
        finally:
            if machine.left():
                machine.kproxy("down", "--all")
                machine.kproxy("clean", "--yes")
            assert holder.stdin
            holder.stdin.close()
