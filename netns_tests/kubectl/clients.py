"""Two kubectls, and a lab for both."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from netns_tests.up.machine import private_machine

KUBECTLS = {
    "pypi": Path(sys.prefix, "bin/kubectl"),
    "debian": Path(sys.prefix, "debian/usr/bin/kubectl"),  # unpacked by scripts/test
}
TIMEOUT_S = 60
_ATTEMPTS = 30


class Asked(NamedTuple):
    """A command and what is to come of it.

    `says` is a pattern, found in what it prints, errors included. `columns` are those of the first
    line. `editor` is a program of sed by which `kubectl edit` changes what it is given. A kubectl
    before 1.`since` is not asked.
    """

    command: str
    says: str = ""
    status: int = 0
    columns: str = ""
    since: int = 0
    editor: str = ""


class Kubectl:
    """One kubectl, with a home of its own, asked in a namespace."""

    def __init__(self, path: Path, kubeconfig: str, folder: Path, namespace: str) -> None:
        """Take the text of a kubeconfig; `folder` is the home and the working directory."""
        self._path = path
        self._folder = folder
        self.namespace = namespace
        config = json.loads(kubeconfig)
        for each in config["contexts"]:
            each["context"]["namespace"] = namespace
        (folder / "config").write_text(json.dumps(config))
        version = json.loads(self.run("version --client -o json").stdout)
        self.minor = int(re.sub(r"\D", "", version["clientVersion"]["minor"]))

    def argv(self, command: str) -> list[str]:
        return [str(self._path), *shlex.split(command.replace("NAMESPACE", self.namespace))]

    def environment(self, editor: str = "") -> dict[str, str]:
        return {
            **os.environ,
            "HOME": str(self._folder),
            "TMPDIR": str(self._folder),  # what `edit` was given stays there if it is refused
            "KUBECONFIG": str(self._folder / "config"),
            "GOGC": "off",  # a fifth of the CPU time of a program that ends at once
            "KUBE_EDITOR": f"sed -i '{editor}'" if editor else "true",
        }

    def run(self, command: str, *, editor: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.argv(command),
            cwd=self._folder,
            env=self.environment(editor),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )

    def ok(self, command: str) -> str:
        """Run a command, which must succeed, and return what it prints."""
        done = self.run(command)
        assert done.returncode == 0, f"{command}: {done.stdout}"
        return done.stdout

    def ask(self, asked: Asked) -> None:
        """Run a command, and check what comes of it.

        What only reads is asked again as long as controllers may not have done their work yet.
        """
        if self.minor < asked.since:
            return
        reads = asked.command.partition(" ")[0] in ("get", "describe", "events")
        for _ in range(_ATTEMPTS if reads else 1):
            done = self.run(asked.command, editor=asked.editor)
            if not (wrong := self._wrong(asked, done)):
                return
        raise AssertionError(
            f"kubectl 1.{self.minor} {asked.command}: {wrong}; exit status {done.returncode}, and:"
            f"\n{done.stdout}"
        )

    def _wrong(self, asked: Asked, done: subprocess.CompletedProcess[str]) -> str:
        """Return what is not as it should be, if anything is."""
        if done.returncode != asked.status:
            return f"exit status {asked.status} expected"
        pattern = asked.says.replace("NAMESPACE", self.namespace)
        if not re.search(pattern, done.stdout, re.MULTILINE):
            return f"{pattern!r} not found"
        if asked.columns:
            lines = [line for line in done.stdout.splitlines() if not line.startswith("Warning")]
            if re.split(r"\s{2,}", lines[0].strip()) != asked.columns.split(" | "):
                return f"columns {asked.columns} expected"
        return ""


@contextmanager
def lab() -> Iterator[str]:
    """Keep a lab of two nodes for the duration of a block; yields the text of its kubeconfig."""
    with private_machine() as machine:
        machine.ok("up", "--nodes", "2", "--mode", "nftables")
        yield machine.ok("kubeconfig")
