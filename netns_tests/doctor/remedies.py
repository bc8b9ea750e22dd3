"""Remedies as somebody types them: where they belong, and word for word."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from kproxy.backend import load
from kproxy.doctor import Diagnosis, Finding
from kproxy.proxy.setup import cleanup
from netns_tests.control_plane.plane_lab import PlaneLab

KUBECTL = str(Path(sys.prefix, "bin/kubectl"))
CLEANUP = ["kproxy", "run", "--cleanup"]
TIMEOUT_S = 60


def type_all(lab: PlaneLab, diagnosis: Diagnosis) -> None:
    """Run all commands of the remedies; each has to succeed. Editors change nothing."""
    environment = {**os.environ, "KUBE_EDITOR": "true"}
    for finding in diagnosis.findings:
        namespace = lab.hosts[finding.host or "router"].namespace
        for words in commands(finding):
            if words[0] == "kubectl":
                environment["KUBECONFIG"] = str(lab.kubeconfig)
                _run([KUBECTL, *words[1:]], environment)
                continue
            with namespace.entered():
                if words == CLEANUP:  # by this process, to which the namespace belongs
                    assert cleanup(lab.config, load(lab.config.mode).options()) == []
                else:
                    _run(words, environment)
    lab.settle()


def commands(finding: Finding) -> Iterator[list[str]]:
    """Yield the words of each command of a remedy."""
    for line in finding.remedy:
        if line.startswith("$ "):
            yield shlex.split(line.removeprefix("$ "))


def _run(argv: list[str], environment: dict[str, str]) -> None:
    done = subprocess.run(
        argv,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, f"{shlex.join(argv)}: {done.stdout}"
