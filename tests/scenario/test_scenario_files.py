"""The folders in examples/scenarios, and the problems reported for wrong folders."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from kproxy.errors import BadInput
from kproxy.outcome import Expectation
from kproxy.scenario.files import FORM, LAB, SERVICE, Scenario, load, names
from kproxy.scenario.form import Otherwise, Question, Target, expectation

EXAMPLES = Path(__file__).parents[2] / "examples" / "scenarios"
KUBE_PROXY = {"iptables", "ipvs", "nftables"}  # what vendors write of
DOCUMENTED = {  # rows of the tables, and two traps
    "dnat-gateway-from-inside",
    "eni-needs-host-network",
    "flannel-cluster",
    "flannel-local",
    "flannel-masquerade-turns-local-into-cluster",
    "ingress-from-container-on-same-node",
    "ingress-from-same-node",
    "lb-local-from-container-on-same-node",
    "lb-local-from-same-node",
    "lb-local-needs-pass-through",
    "nodeport-local-from-another-node",
    "nodeport-local-from-container-on-another-node",
    "nodeport-local-from-container-on-same-node",
    "nodeport-local-from-same-node",
    "terway-eniip-cluster",
    "terway-eniip-local",
}
GOOD = {
    LAB: """
        nodes: [{name: node-a, pods: [{name: server, labels: {app: web}, ports: [8080]}]}]
        families: [IPv4]
    """,
    SERVICE: """
        apiVersion: v1
        kind: Service
        metadata: {name: web}
        spec:
          clusterIP: 10.96.0.10
          selector: {app: web}
          ports: [{port: 80, targetPort: 8080}]
    """,
    FORM: """
        title: A node asks
        says: It works.
        modes: [iptables]
        questions:
          - {client: node-a, asks: {service: web, port: 80}, expect: success}
        explanation: It does.
    """,
}


def written(folder: Path, **files: str) -> Path:
    """Write a folder of valid files, except those given, by the first letters of their names."""
    for name, text in GOOD.items():
        given = files.get(name.partition(".")[0], text)
        (folder / name).write_text(given)
    return folder


def form(old: str, new: str) -> str:
    assert old in GOOD[FORM]
    return GOOD[FORM].replace(old, new)


def problems(folder: Path) -> list[str]:
    """Return the problems without the folder in front of each."""
    with pytest.raises(BadInput) as raised:
        load(folder)
    return [problem.replace(f"{folder}/", "") for problem in raised.value.problems]


def test_every_documented_row_has_a_folder() -> None:
    assert set(names(EXAMPLES)) == DOCUMENTED


@pytest.mark.parametrize("name", sorted(DOCUMENTED))
def test_examples_are_valid(name: str) -> None:
    scenario = load(EXAMPLES / name)
    assert scenario.form.remedies or name.endswith("-cluster")
    assert set(scenario.form.modes) >= KUBE_PROXY
    assert max(map(len, (EXAMPLES / name / FORM).read_text().splitlines())) <= 120


@pytest.mark.parametrize("name", sorted(DOCUMENTED))
def test_every_file_of_an_example_is_used(name: str) -> None:
    scenario = load(EXAMPLES / name)
    used = {LAB, SERVICE, FORM, *(remedy.manifest for remedy in scenario.form.remedies)}
    assert {file.name for file in (EXAMPLES / name).iterdir()} == used - {""}


def test_a_good_folder(tmp_path: Path) -> None:
    scenario = load(written(tmp_path))
    assert isinstance(scenario, Scenario)
    assert scenario.networks == ("routed",)
    assert [each.metadata.name for each in scenario.objects] == ["web"]


def test_remedies_are_applied_on_top(tmp_path: Path) -> None:
    remedy = """
        remedies:
          - title: Another port
            says: Take another port.
            manifest: other.yaml
            questions: [{client: node-a, asks: {service: web, port: 81}, expect: success}]
            explanation: Another one.
    """
    (tmp_path / "other.yaml").write_text(GOOD[SERVICE].replace("port: 80,", "port: 81,"))
    scenario = load(written(tmp_path, scenario=GOOD[FORM] + remedy))
    ((changed,),) = scenario.remedies
    assert changed.metadata.name == "web"
    assert (changed,) != scenario.objects


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("title: A node asks", "titel: A", "title: missing"),
        ("title: A node asks", "titel: A", "titel: unknown; known are title, says, modes, "),
        ("[iptables]", "[ebpf]", "modes[0]: 'ebpf' is none of iptables, ipvs, nftables, userspace"),
        ("[iptables]", "[]", "modes: at least one is needed"),
        ("[iptables]", "iptables", "modes: expected a list, got 'iptables'"),
        ("[iptables]", "[iptables]\n        networks: [wifi]", "networks[0]: 'wifi' is none of "),
        ("client: node-a", "client: node-x", "questions[0].client: 'node-x' is none of node-a, "),
        ("success}", "works}", "questions[0].expect: expected success, refused or timeout, got "),
        ("service: web", "service: shop", "questions[0].asks.service: 'shop' is none of web"),
        ("service: web", "eip: node-a", "questions[0].asks.eip: 'node-a': there is none"),
        ("service: web, port: 80", "port: 80", "questions[0].asks: exactly one of node, eip, "),
        ("port: 80}", "port: 80, node: node-a}", "questions[0].asks: exactly one of node, eip, "),
        ("port: 80}", "port: 0}", "questions[0].asks.port: 0 is not in 1..65535"),
        ("port: 80}", "port: http}", "questions[0].asks.port: expected an integer, got 'http'"),
        ("port: 80}", "port: 80, path: /}", "questions[0].asks.path: unknown; known are port, "),
        ("success}", "success, source: eip}", "questions[0].source: 'eip' is none of node-a, "),
        (
            "success}",
            "success, otherwise: [{in: ipvs, expect: refused}]}",
            "questions[0].otherwise[0].in: 'ipvs' is none of iptables, routed, routed-iptables",
        ),
        (
            "explanation:",
            "attached: [{balancer: lb, port: 80, backends: [node-x]}]\n        explanation:",
            "attached[0].balancer: 'lb': there is none",
        ),
        ("explanation: It does.", "explanation: [", "did not find expected node content"),
        ("explanation: It does.", "says: Again.\n        explanation: It.", "says: given twice"),
    ],
)
def test_a_wrong_form(tmp_path: Path, old: str, new: str, said: str) -> None:
    found = problems(written(tmp_path, scenario=form(old, new)))
    assert any(re.match(rf"{FORM}(:\d+)?: {re.escape(said)}", problem) for problem in found), found


@pytest.mark.parametrize("address", ["None", "fd00:10:96::10", ""])
def test_a_service_that_is_asked_needs_an_address(tmp_path: Path, address: str) -> None:
    """It must be of the lab's first family, in which questions are asked."""
    service = GOOD[SERVICE].replace("10.96.0.10", f'"{address}"')
    assert problems(written(tmp_path, service=service)) == [
        f"{FORM}: questions[0].asks.service: 'web' has no cluster IP of IPv4"
    ]


def test_all_problems_of_all_files_are_told(tmp_path: Path) -> None:
    wrong_service = GOOD[SERVICE].replace("10.96.0.10", "10.96.0.300")
    (tmp_path / "other.yaml").write_text(wrong_service)
    remedy = "remedies: [{title: T, explanation: E, questions: [], manifest: other.yaml}]"
    folder = written(
        tmp_path,
        lab="nodes: [{name: node-a, colour: red}]\nnetwork: wifi\n",
        service=wrong_service,
        scenario=form("title: A node asks", f"titel: A\n        {remedy}"),
    )
    files = {problem.partition(":")[0] for problem in problems(folder)}
    assert files == {LAB, SERVICE, FORM, "other.yaml"}


@pytest.mark.parametrize("name", GOOD)
def test_a_missing_file_is_told(tmp_path: Path, name: str) -> None:
    folder = written(tmp_path)
    (folder / name).unlink()
    assert any(problem.startswith(f"{name}: ") for problem in problems(folder))


@pytest.mark.parametrize(
    ("network", "mode", "expected"),
    [
        ("vpc", "iptables", expectation("success", "node-a")),
        ("vpc", "ipvs", expectation("success", "node-b")),
        ("tunnel", "iptables", expectation("success", "tunnel of node-a")),
        ("tunnel", "ipvs", expectation("timeout", "")),
    ],
)
def test_what_is_expected_where(network: str, mode: str, expected: Expectation) -> None:
    question = Question(
        client="node-a",
        asks=Target(port=80, node="node-b"),
        expect="success",
        source="node-a",
        otherwise=(
            Otherwise("ipvs", source="node-b"),
            Otherwise("tunnel", source="tunnel of node-a"),
            Otherwise("tunnel-ipvs", expect="timeout"),
        ),
    )
    assert question.expected(network, mode) == expected
