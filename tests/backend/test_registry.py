"""Finding backends: kproxy's own without looking through the packages of this machine."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from kproxy.backend import registry

ROOT = Path(__file__).parents[2]
EXPLAIN = ["explain", f"--manifests={ROOT}/examples/cluster-ip.yaml", "--node=node-a"]
_PROGRAM = """
import sys
from kproxy.cli import main
try:
    main(sys.argv[1:])
finally:
    print(*sorted(sys.modules))
"""


def test_own_modes_are_the_entry_points_of_kproxy() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    entries = project["entry-points"][registry.GROUP]
    assert {name: f"{each}:MODE" for name, each in registry._OWN_MODES.items()} == entries


@pytest.mark.parametrize("mode", [*registry._OWN_MODES])
def test_a_command_in_an_own_mode_looks_through_no_packages(mode: str) -> None:
    """That takes a sixth of the time of `kproxy explain`."""
    loaded = _loaded_by_a_question(mode)
    assert "kproxy.verdict.decision" in loaded
    assert "importlib.metadata" not in loaded


@pytest.mark.parametrize("mode", ["iptables", "ipvs", "nftables"])
def test_a_question_loads_nothing_that_makes_or_lists_rules(mode: str) -> None:
    package = registry._OWN_MODES[mode]
    loaded = _loaded_by_a_question(mode)
    assert f"{package}.oracle" in loaded
    unneeded = {"hashlib", f"{package}.rendering", f"{package}.service_rules", f"{package}.backend"}
    assert not unneeded & loaded


def _loaded_by_a_question(mode: str) -> set[str]:
    asked = ["--from=external", "--to=10.96.0.10:80", f"--mode={mode}"]
    argv = [sys.executable, "-c", _PROGRAM, *EXPLAIN, *asked]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    return {*done.stdout.splitlines()[-1].split()}
