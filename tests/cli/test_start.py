"""How short commands start and end, in processes of their own: that takes most of their time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
EXPLAIN = (
    "explain",
    f"--manifests={EXAMPLES / 'cluster-ip.yaml'}",
    "--node=node-a",
    "--node-ip=192.168.10.11",
    "--from=external",
    "--to=10.96.0.10:80",
    "--json",
)
PROGRAM = """
import atexit, contextlib, gc, sys, typing

gc.collect()
collections = []
gc.callbacks.append(lambda phase, info: collections.append(phase))
from kproxy.cli import main


@atexit.register  # first, so it is called last
def tell():
    print("collections:", len(collections), "exempt:", len(gc.get_objects()) < 1000)
    print("imported:", *sys.modules)


main(sys.argv[1:])
"""
SERVICE = """{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
"spec": {"clusterIP": "10.96.0.10", "ports": [{"port": 80}]}}"""


def at_the_end(*arguments: str) -> tuple[str, set[str]]:
    """Return what the collector has done when a command ends, and the modules it has imported."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, check=True
    )
    collector, modules = done.stdout.splitlines()[-2:]
    return collector, set(modules.split())


def test_the_collector_looks_at_nothing_while_a_question_is_answered() -> None:
    collector, _ = at_the_end(*EXPLAIN)
    assert collector == "collections: 0 exempt: True"


def test_a_question_imports_the_checks_of_no_other_kind() -> None:
    _, modules = at_the_end(*EXPLAIN)
    others = {"pod_rules", "node_rules", "deployment_rules", "ingress_rules", "watched_types"}
    assert {f"kproxy.api.{each}" for each in (*others, "strict")} & modules == set()


@pytest.mark.parametrize("mode", ["iptables", "nftables", "ipvs"])
def test_rules_of_manifests_in_json_need_no_yaml(tmp_path: Path, mode: str) -> None:
    file = tmp_path / "service.json"
    file.write_text(SERVICE)
    _, modules = at_the_end(
        "render",
        f"--manifests={file}",
        "--node=node-a",
        "--address=192.168.10.11",
        f"--mode={mode}",
    )
    assert "kproxy.rules.paper" in modules
    assert "yaml" not in modules
