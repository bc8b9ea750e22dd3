"""`kproxy demo` and the examples it shows."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from kproxy.cli.demo import demo
from kproxy.kernel.netns import Namespace, published_names
from kproxy.kernel.process import run
from kproxy.probe import Finding, tour
from kproxy.testing import LabFactory, ProbedLab

EXAMPLES = Path(__file__).parents[2] / "examples"
CHECKS = {
    "forwarding",
    "distribution",
    "source translation",
    "local only",
    "hairpin",
    "source ranges",
    "session affinity",
    "affinity expiry",
    "reject or drop",
}


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "kproxy", "demo", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "NO_COLOR": "1"},
    )


@pytest.mark.parametrize("mode", ["iptables", pytest.param("ipvs", marks=pytest.mark.ipvs)])
def test_the_table_is_for_80_columns(mode: str) -> None:
    process = start("--mode", mode)
    table, progress = process.communicate()
    assert process.returncode == 0, progress
    assert max(map(len, table.splitlines())) <= 80
    assert "\x1b" not in table + progress
    assert len(re.findall(r"yes *$", table, re.MULTILINE)) == 23
    assert "23 of 23 as expected" in progress
    assert "the lab is gone" in progress
    assert table.count(": in iptables mode ") == (4 if mode == "ipvs" else 0)


def test_keep_publishes_the_lab_until_it_is_interrupted() -> None:
    process = start("--keep", "--json", "--iptables-variant", "legacy")
    assert process.stderr
    assert any("Ctrl-C removes it" in line for line in process.stderr)
    assert "demo-node-a" in published_names()
    assert "KUBE-SERVICES" in run(
        ["ip", "netns", "exec", "demo-node-a", "iptables-legacy-save", "-t", "nat"]
    )
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate()
    assert process.returncode == 0
    assert not [name for name in published_names() if name.startswith("demo-")]
    report = json.loads(output)  # and JSON is all that is printed
    assert report["ok"]
    assert {finding["check"] for finding in report["findings"]} == CHECKS


def test_the_examples_also_work_with_kproxy_run() -> None:
    with Namespace.create("node-a") as namespace, namespace.entered():
        argv = ["kproxy", "run", "--once"]
        run([sys.executable, "-m", *argv, "--manifests", str(EXAMPLES)])
        assert "default/shop-local:http" in run(["iptables-save", "-t", "nat"])


@pytest.fixture
def example_lab(kproxy_lab: LabFactory) -> ProbedLab:
    return kproxy_lab(EXAMPLES / "lab" / "demo.yaml", manifests=[EXAMPLES])


def test_broken_rules_are_found(example_lab: ProbedLab) -> None:
    with example_lab.nodes["node-a"].namespace.entered():
        run(["iptables", "-t", "nat", "-F", "KUBE-NODEPORTS"])
    broken = {
        (finding.client, finding.asked)
        for _, findings in tour.walk(example_lab)
        for finding in findings
        if not finding.ok
    }
    assert broken == {
        ("outside", "192.168.10.11:30080"),
        ("node-a", "127.0.0.1:30080"),
        ("outside", "192.168.10.11:30090"),
    }


def test_a_broken_promise_is_named_and_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    finding = Finding(
        check="hairpin",
        client="shop-a",
        asked="10.96.0.30:80",
        answered="dropped at node-a",
        source="",
        expected="delivered to shop-a from 10.244.1.1",
        why="it is so",
        problems=("packet dropped, last seen on node-a",),
    )

    def walk(_: tour.ExampleLab) -> Iterator[tuple[str, list[Finding]]]:
        yield "A title", [finding]

    monkeypatch.setattr(tour, "walk", walk)
    result = CliRunner().invoke(demo)
    assert result.exit_code == 1
    assert "NOT AS EXPECTED: hairpin: shop-a asks 10.96.0.30:80" in result.stderr
    assert "packet dropped, last seen on node-a" in result.stderr
