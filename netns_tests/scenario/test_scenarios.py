"""Every scenario in each of its modes, and the command that runs them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from msgspec import structs

from kproxy.address import Family
from kproxy.api.types import KubernetesObject
from kproxy.backend import load as load_mode
from kproxy.backend import modes
from kproxy.explain.reason import Mechanism
from kproxy.forwarding.network import Packet
from kproxy.outcome import UNREACHABLE
from kproxy.resident.through_api import ThroughApi
from kproxy.scenario.files import Scenario, load, names
from kproxy.scenario.report import as_values
from kproxy.scenario.run import Asked as ScenarioAsked
from kproxy.scenario.run import Run, ScenarioLab, rounds, run
from kproxy.store import ObjectKey, object_key
from netns_tests.agreement import Asked, Explained
from netns_tests.findings import require_none
from netns_tests.through_api import not_by_requests
from tests.report.pages import Page
from tests.scenario.examples import EXAMPLES, SCENARIOS
from tests.warm_kproxy import fork_with, run_kproxy

fork_with("kproxy.cli.scenario", "kproxy.scenario.run", "kproxy.scenario.report")

DOCUMENTATION = Path(__file__).parents[2] / "docs" / "scenarios.md"
ONE_NETWORK = ("ipvs", "userspace")
"""Modes that run in a scenario's usual network only: ipvs mode takes long, and userspace mode ends
each connection on the node, so that networks differ only in the node's address that servers see.
"""


def lab_of(scenario: Scenario) -> str:
    """Return a key that is equal for scenarios that fit the same lab in a mode and a network."""
    return f"{scenario.spec} {scenario.form.ipvs_local_fallback}"


FIRST_OF_A_LAB = {lab_of(each): each.name for each in reversed(SCENARIOS)}


def worth_it(scenario: Scenario, mode: str) -> bool:
    """Tell whether to run it: in ipvs mode, where each takes long, only one for each lab in the
    networks that netns_tests/matrix measures completely.
    """
    asked_anyway = {"vpc", "tunnel"}.issuperset(scenario.networks)
    return mode != "ipvs" or not asked_anyway or scenario.name == FIRST_OF_A_LAB[lab_of(scenario)]


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


class Way(NamedTuple):
    """A network, and the source of the proxies' objects: an API, or the lab itself."""

    network: str
    api: bool


class Labs:
    """Keeps a lab for each network and source as long as the next scenario fits it."""

    def __init__(self) -> None:
        self._open: dict[Way, tuple[str, ScenarioLab]] = {}
        self._apis: dict[Way, ThroughApi] = {}

    def of(self, scenario: Scenario, mode: str, way: Way) -> ScenarioLab:
        # A scenario of rules that are left behind asks for many addresses without a route.
        own = scenario.name if scenario.form.left_behind else ""
        key = f"{mode} {lab_of(scenario)} {own}"
        if self._open.get(way, ("",))[0] != key:
            self.close(way)
            if way.api:
                self._apis[way] = ThroughApi()
            made = ScenarioLab(scenario, mode, way.network, source=self._apis.get(way))
            self._open[way] = (key, made.__enter__())
        return self._open[way][1]

    def not_by_requests(self, way: Way, objects: Iterable[KubernetesObject]) -> list[ObjectKey]:
        return not_by_requests(self._apis[way].plane, map(object_key, objects))

    def close(self, *ways: Way) -> None:
        """Close the labs of these networks, or all if none is named."""
        for way in ways or list(self._open):
            if way in self._open:
                self._open.pop(way)[1].__exit__()


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


def walked(scenario: Scenario, running: ScenarioLab) -> tuple[Run, list[str]]:
    """Run a scenario. Return also where `kproxy trace` and `kproxy explain`, asked after each round
    in the same lab, differ from what its connections met.
    """
    lab, found, wrong = running.lab, [], []
    for each in rounds(scenario, running):
        found.append(each)
        # The packets of a flow are no new connections. Of errors about addresses without a route
        # Linux sends few, and later questions need those.
        asked = [
            as_asked(one)
            for one in each.asked
            if not one.question.flow
            if one.explanation.connection.errno not in UNREACHABLE
        ]
        if asked:
            wrong += Explained(lab, running.options).disagreements(asked, running.explainer)
    run = Run(scenario=scenario, mode=running.mode, network=running.network, rounds=tuple(found))
    return run, wrong


def as_asked(asked: ScenarioAsked) -> Asked:
    question, asks = asked.question, asked.question.asks
    packet = Packet(
        client=question.client,
        address=asked.address,
        port=asks.port,
        protocol=question.protocol,
    )
    return Asked(packet, asked.explanation, http=asks.host or None)


def told(*runs: Run) -> list[Mapping[str, Any]]:
    """Return all that is told of runs of one scenario: answers, sources, hops, reasons. On a busy
    machine a host may see the answer to a packet among the packets, and is a hop twice. Chance
    chooses one of several pods, and with it the way.
    """
    found: list[Mapping[str, Any]] = [dict(as_values(each)) for each in runs]
    asked = [
        [
            question
            for part in (each, *each["steps"], *each["remedies"])
            for question in part["questions"]
        ]
        for each in found
    ]
    pods = {pod for each in asked[0] for pod in each["expected"]["pods"]}
    for same in zip(*asked, strict=True):
        chosen = {frozenset(pods & {*each["hops"]}) for each in same}
        misled = all(each["mechanism"] == Mechanism.BYPASS for each in same) and all(chosen)
        for question in same:
            question["hops"] = sorted({*question["hops"]})
            # The answer that misses its client is expected of no pod.
            if len(question["expected"]["pods"]) > 1 or (misled and len(chosen) > 1):
                for key in ("pod", "source", "source_is", "hops", "at", "reason", "way"):
                    del question[key]
            elif question["flow"]:  # the source port of a misled answer is chance in IPVS
                del question["reason"]
    return found


@pytest.mark.parametrize(("scenario", "mode", "networks"), CASES)
def test_it_goes_as_the_documents_say(
    labs: Labs, scenario: Scenario, mode: str, networks: tuple[str, ...]
) -> None:
    """Run in all networks at once: they wait for the same timeouts. With an API between lab and
    proxies, to which objects go by requests and from which they come by watches, everything is the
    same: answers, sources, hops, reasons. Without it, traces and explain agree with all questions.
    """
    ways = [Way(network, api) for api in (False, True) for network in networks]

    def of_way(way: Way) -> tuple[Run, list[str]]:
        running = labs.of(scenario, mode, way)
        # Explain knows nothing of rules that a former proxy has left.
        walk = not (way.api or scenario.form.left_behind)
        return walked(scenario, running) if walk else (run(scenario, running), [])

    with ThreadPoolExecutor(len(ways)) as pool:
        found = dict(zip(ways, pool.map(of_way, ways), strict=True))
    runs = {way: each for way, (each, _) in found.items()}
    require_none(f"{way.network}: {each}" for way, (_, wrong) in found.items() for each in wrong)
    require_none(surprise for each in runs.values() for surprise in surprises(each))
    last = scenario.parts[-1] if scenario.parts else scenario.objects
    for way in filter(lambda way: way.api, ways):
        through_api, direct = told(runs[way], runs[Way(way.network, False)])
        assert through_api == direct
        assert not labs.not_by_requests(way, last)


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return run_kproxy(["scenario", *arguments], env={**os.environ, "NO_COLOR": "1"})


@pytest.fixture(scope="module")
def started() -> subprocess.CompletedProcess[str]:
    """Return what the command prints when Python is started for it."""
    return subprocess.run(
        [sys.executable, "-m", "kproxy", "scenario", "run", "lb-local-from-same-node"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "NO_COLOR": "1"},
    )


def test_the_command_prints_80_columns(started: subprocess.CompletedProcess[str]) -> None:
    done = started
    assert done.returncode == 0, done.stderr
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "an address of its own (martian source)" in " ".join(done.stdout.split())
    assert "Remedy: Pass-through - does not help here" in done.stdout
    assert done.stdout.splitlines()[-1] == "7 of 7 as expected"


def test_the_documentation_shows_what_is_printed(
    started: subprocess.CompletedProcess[str],
) -> None:
    assert f"\n{started.stdout.strip()}\n" in DOCUMENTATION.read_text()


def test_the_documentation_names_them_all() -> None:
    named = re.findall(r"^\| `([a-z0-9-]+)` \|", DOCUMENTATION.read_text(), re.MULTILINE)
    assert sorted(named) == names(EXAMPLES)


def test_the_scenario_in_the_documentation_runs(tmp_path: Path) -> None:
    files = re.findall(r"```yaml\n# mine/(\S+)\n(.*?)```", DOCUMENTATION.read_text(), re.DOTALL)
    assert [name for name, _ in files] == ["lab.yaml", "service.yaml", "scenario.yaml"]
    for name, text in files:
        (tmp_path / name).write_text(text)
    done = command("run", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "2 of 2 as expected"
    assert "The document" not in done.stdout


def test_the_command_prints_json() -> None:
    done = command("run", "flannel-cluster", "--mode", "nftables", "--json")
    assert done.returncode == 0, done.stderr
    values = json.loads(done.stdout)
    assert (values["mode"], values["network"], values["ok"]) == ("nftables", "flannel-vxlan", True)
    assert [each["found"] for each in values["attached"]] == [["node-a", "node-b", "node-c"]]


class Written(NamedTuple):
    """All that a run has printed and written."""

    values: Any
    page: str
    folder: Path


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Written]:
    """Return a function that runs a scenario in a mode, once."""

    @cache
    def ran(name: str, mode: str) -> Written:
        place = tmp_path_factory.mktemp("written")
        page, folder = place / "page.html", place / "pictures"
        to = (f"--html={page}", f"--svg={folder}")
        done = command("run", name, f"--mode={mode}", "--json", *to)
        assert done.returncode == 0, done.stderr
        return Written(json.loads(done.stdout), page.read_text(), folder)

    return ran


@pytest.mark.parametrize("mode", ["iptables", "nftables", "userspace"])
def test_a_page_has_what_json_has_and_a_picture_of_each_question(
    written: Callable[[str, str], Written], mode: str
) -> None:
    values, page, folder = written("lb-local-from-same-node", mode)
    found = Page(page)
    rounds = [values, *values["remedies"]]
    asked = [each for round_ in rounds for each in round_["questions"]]
    assert found.pictures == len(asked) == 6
    shown = [
        row
        for name, rows in found.tables.items()
        for row in rows[1:]
        if name.startswith("Questions")
    ]
    for row, each in zip(shown, asked, strict=True):
        assert row[0] == f"{each['client']} asks {each['asked']} ({each['target']})"
        assert row[1].startswith(f"{each['outcome']}: {each['pod']} saw {each['source']}") or (
            row[1] == f"{each['outcome']}, ended on {each['at']}"
        )
        assert row[2] == "as expected"
        assert row[3].splitlines()[: len(each["way"])] == each["way"] or not each["way"]
    for each in asked:
        title = f"{each['client']} asks {each['asked']} ({each['target']})"
        assert found.has(f"One probe: {title}")
        assert found.has(f"{title}, TCP")  # in the picture
    files = sorted(folder.iterdir())
    assert [each.name for each in files] == [
        "1-1-node-a-asks-balancer-lb-80.svg",
        "1-2-node-a-asks-eip-lb-80.svg",
        "1-3-node-b-asks-balancer-lb-80.svg",
        "2-1-use-the-cluster-ip--node-a-asks-service-web-80.svg",
        "3-1-switch-to-the-policy-cluster--node-a-asks-balancer-lb-80.svg",
        "4-1-pass-through--node-a-asks-balancer-lb-80.svg",
    ]
    assert all(each.read_text().strip() in page for each in files)
    assert found.headings[1] == ("h2", "Without a remedy")
    for text in (values["explanation"], *(each["explanation"] for each in values["remedies"])):
        assert found.has(text)


def test_a_picture_of_a_flow_has_its_own_packet(tmp_path: Path) -> None:
    """A new packet would be refused: only the flow's own shows that it still leads to the pod."""
    done = command("run", "udp-flow-to-a-service-scaled-to-zero", f"--svg={tmp_path}")
    assert done.returncode == 0, done.stderr
    _, flow, new, _ = [each.read_text() for each in sorted(tmp_path.iterdir())]
    assert ">translated to 10.244.1.11:5353<" in flow
    assert ">reject by filter KUBE-SERVICES<" in new


@pytest.mark.parametrize(
    ("name", "mode", "own"),
    [
        ("ingress-from-same-node", "iptables", {"1-2", "1-3", "2-1", "3-1"}),
        ("lb-local-from-same-node", "userspace", {"1-2", "1-3", "2-1", "3-1"}),
        ("lb-local-from-same-node", "iptables", set()),
    ],
)
def test_a_picture_has_the_own_connection_of_what_accepts(
    written: Callable[[str, str], Written], name: str, mode: str, own: set[str]
) -> None:
    """Only questions that are answered, and that something on the way accepts, have one."""
    found = {each.name[:3]: each.read_text() for each in written(name, mode).folder.iterdir()}
    assert {place for place, drawn in found.items() if ">a connection of its own<" in drawn} == own


def test_the_command_prints_the_same_through_an_api() -> None:
    asked = ("run", "lb-local-from-same-node", "--source", "api")
    done = command(*asked)
    assert done.returncode == 0, done.stderr
    assert f"\n{done.stdout.strip()}\n" in DOCUMENTATION.read_text()
    refused = command(*asked, "--proxy-command", "true")
    assert refused.returncode == 2
    assert "--source api: no proxy of kproxy runs that could have one" in refused.stderr


def test_the_command_prints_steps_and_flows() -> None:
    done = command("run", "udp-flow-outlives-its-endpoint")
    assert done.returncode == 0, done.stderr
    assert "Then: Another pod replaces the endpoint\n" in done.stdout
    asked = "client-b asks UDP 10.96.0.20:53 (cluster IP of web), flow queries\n"
    assert done.stdout.count(asked) == 3


def test_rules_for_endpoints_have_no_comments_past_1000_of_them() -> None:
    done = command("run", "large-service-with-one-endpoint", "--mode", "iptables", "--json")
    assert done.returncode == 0, done.stderr
    values = json.loads(done.stdout)
    named = [
        ['"default/' in each["way"][0] for each in round_["questions"]]
        for round_ in (values, *values["steps"])
    ]
    assert named == [[True], [False, False, False], [True]]


@pytest.mark.parametrize("name", ["two-proxies", "two-proxies-after-going-back"])
def test_what_was_left_behind_is_gone_after_a_run(name: str) -> None:
    whole = load(EXAMPLES / name)
    scenario = replace(whole, form=structs.replace(whole.form, remedies=()), parts=())
    left = scenario.form.left_behind
    assert left
    with ScenarioLab(scenario, "userspace", scenario.networks[0]) as running:
        found = run(scenario, running)
        assert found.as_expected == len(scenario.form.questions)
        with running.lab.nodes[left.node].namespace.entered():
            former = load_mode(left.mode)
            backend = former.backend(Family.IPV4, former.options())
            assert not any(backend.read().values())
            backend.close()


def test_the_command_tells_what_was_left_behind() -> None:
    done = command("run", "two-proxies")
    assert done.returncode == 0, done.stderr
    assert "left behind on node-b: rules of iptables mode for former.yaml\n" in done.stdout
    assert "former one has left - helps\n" in done.stdout
    assert "\ncleaned up: what was left behind\n" in done.stdout
    refused = command("run", "two-proxies", "--proxy-command", "true")
    assert refused.returncode == 2
    assert "two-proxies: " in refused.stderr


def test_what_is_not_as_expected_is_marked(tmp_path: Path) -> None:
    for file in (EXAMPLES / "flannel-cluster").iterdir():
        text = file.read_text().replace("source: tunnel of node-b", "source: outside")
        (tmp_path / file.name).write_text(text)
    page = tmp_path / "page.html"
    done = command("run", f"{tmp_path}", "--mode", "iptables", "--html", str(page))
    assert done.returncode == 1
    marked = "NOT AS EXPECTED\nexpected: success, source outside"
    assert [row[2] for row in Page(page.read_text()).tables["Questions"]].count(marked) == 1
    assert "NOT AS EXPECTED\n    expected: success, source outside" in done.stdout
    assert "6 of 7 as expected" in done.stdout
