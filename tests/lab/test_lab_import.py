"""An import of labs loads what describes one; what builds it comes with the first lab."""

from __future__ import annotations

import subprocess
import sys
from inspect import signature

from kproxy.backend import DEFAULT_MODE
from kproxy.lab import Lab

LATER = {
    "kproxy.api.manifests",
    "kproxy.backend",
    "kproxy.kernel.netns",
    "kproxy.kernel.xtables",
    "kproxy.lab.building",
    "kproxy.lab.pods.nginx",
    "kproxy.lab.validation",
    "kproxy.proxy",
}


def loaded(program: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"import sys, kproxy.lab\n{program}\nprint(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.split())


def test_what_builds_labs_comes_with_the_first_lab() -> None:
    assert loaded("kproxy.lab.Lab, kproxy.lab.load_spec") & LATER == set()
    made = loaded("kproxy.lab.Lab(kproxy.lab.LabSpec(nodes=(kproxy.lab.NodeSpec(name='a'),)))")
    assert "kproxy.lab.building" in made
    assert made & {"kproxy.api.manifests", "kproxy.lab.pods.nginx"} == set()


def test_the_default_mode_is_that_of_everything_else() -> None:
    assert signature(Lab).parameters["mode"].default == DEFAULT_MODE
