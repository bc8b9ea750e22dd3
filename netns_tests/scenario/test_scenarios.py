"""Every scenario in each of its modes, and the command that runs them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from kproxy.backend import modes
from kproxy.explain.reason import Mechanism
from kproxy.scenario.files import Scenario, load, names
from kproxy.scenario.run import Run, ScenarioLab, run
from netns_tests.findings import require_none

EXAMPLES = Path(__file__).parents[2] / "examples" / "scenarios"
DOCUMENTATION = Path(__file__).parents[2] / "docs" / "scenarios.md"
SCENARIOS = [load(EXAMPLES / name) for name in names(EXAMPLES)]
ONE_NETWORK = ("ipvs", "userspace")
"""Modes that run in a scenario's usual network only: ipvs mode takes long, and userspace mode ends
each connection on the node, so that networks differ only in the node's address that servers see.
"""


def lab_of(scenario: Scenario) -> str:
    """Return a key that is equal for scenarios that fit the same lab in a mode and a network."""
    return f"{scenario.spec} {scenario.form.ipvs_local_fallback}"


def worth_it(scenario: Scenario, mode: str) -> bool:
    """Tell whether to run it: in ipvs mode, where each takes long, only one for each lab in the
    networks that netns_tests/matrix measures completely.
    """
    alike = [each for each in SCENARIOS if lab_of(each) == lab_of(scenario)]
    asked_anyway = {"vpc", "tunnel"}.issuperset(scenario.networks)
    return mode != "ipvs" or not asked_anyway or scenario is alike[0]


CASES: list[Any] = [
    pytest.param(
        scenario,
        mode,
        scenario.networks[:1] if mode in ONE_NETWORK else scenario.networks,
        marks=[pytest.mark.ipvs] if mode == "ipvs" else [],
        id=f"{scenario.name}-{mode}",
    )
    for mode in modes()
    for scenario in sorted(SCENARIOS, key=lab_of)
    if mode in scenario.form.modes and worth_it(scenario, mode)
]


class Labs:
    """Keeps a lab for each network as long as the next scenario fits it."""

    def __init__(self) -> None:
        self._open: dict[str, tuple[str, ScenarioLab]] = {}

    def of(self, scenario: Scenario, mode: str, network: str) -> ScenarioLab:
        key = f"{mode} {lab_of(scenario)}"
        if self._open.get(network, ("",))[0] != key:
            self.close(network)
            self._open[network] = (key, ScenarioLab(scenario, mode, network).__enter__())
        return self._open[network][1]

    def close(self, *networks: str) -> None:
        """Close the labs of these networks, or all if none is named."""
        for network in networks or list(self._open):
            if network in self._open:
                self._open.pop(network)[1].__exit__()


@pytest.fixture(scope="module")
def labs() -> Iterator[Labs]:
    made = Labs()
    yield made
    made.close()


def surprises(found: Run) -> list[str]:
    return [
        f"{found.network}: {asked.question.client} asks {asked.question.asks}: "
        f"{asked.explanation.connection.outcome} {asked.source}: {asked.explanation.reason.text}"
        for each in found.rounds
        for asked in each.asked
        if not (asked.ok and asked.explanation.reason.mechanism is not Mechanism.UNKNOWN)
    ] + [
        f"{found.network}: {each.expected} has {each.found}"
        for round_ in found.rounds
        for each in round_.attached
        if not each.ok
    ]


@pytest.mark.parametrize(("scenario", "mode", "networks"), CASES)
def test_it_goes_as_the_documents_say(
    labs: Labs, scenario: Scenario, mode: str, networks: tuple[str, ...]
) -> None:
    """Run in all networks at once: they wait for the same timeouts."""

    def in_network(network: str) -> Run:
        return run(scenario, labs.of(scenario, mode, network))

    with ThreadPoolExecutor() as pool:
        runs = list(pool.map(in_network, networks))
    require_none(surprise for each in runs for surprise in surprises(each))


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "kproxy", "scenario", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "NO_COLOR": "1"},
    )


def test_the_command_prints_80_columns() -> None:
    done = command("run", "lb-local-from-same-node")
    assert done.returncode == 0, done.stderr
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "an address of its own (martian source)" in " ".join(done.stdout.split())
    assert "Remedy: Pass-through - does not help here" in done.stdout
    assert done.stdout.splitlines()[-1] == "7 of 7 as expected"


def test_the_documentation_shows_what_is_printed() -> None:
    printed = command("run", "lb-local-from-same-node").stdout.strip()
    assert f"\n{printed}\n" in DOCUMENTATION.read_text()


def test_the_documentation_names_them_all() -> None:
    named = re.findall(r"^\| `([a-z-]+)` \|", DOCUMENTATION.read_text(), re.MULTILINE)
    assert sorted(named) == names(EXAMPLES)


def test_the_command_prints_json() -> None:
    done = command("run", "flannel-cluster", "--mode", "nftables", "--json")
    assert done.returncode == 0, done.stderr
    values = json.loads(done.stdout)
    assert (values["mode"], values["network"], values["ok"]) == ("nftables", "flannel-vxlan", True)
    assert [each["found"] for each in values["attached"]] == [["node-a", "node-b", "node-c"]]


def test_what_is_not_as_expected_is_marked(tmp_path: Path) -> None:
    for file in (EXAMPLES / "flannel-cluster").iterdir():
        text = file.read_text().replace("source: tunnel of node-b", "source: outside")
        (tmp_path / file.name).write_text(text)
    done = command("run", f"{tmp_path}", "--mode", "iptables")
    assert done.returncode == 1
    assert "NOT AS EXPECTED\n    expected: success, source outside" in done.stdout
    assert "6 of 7 as expected" in done.stdout
