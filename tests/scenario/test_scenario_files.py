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
VENDORS = {  # rows of the tables, and two traps
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
# User-mode Linux, on which ipvs mode is measured, has no nf_tables.
NOT_MEASURED = {"two-proxies-after-going-back": {"ipvs"}}
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


NAMES = names(EXAMPLES)


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
    assert {*NAMES} >= VENDORS


@pytest.mark.parametrize("name", NAMES)
def test_examples_are_valid(name: str) -> None:
    scenario = load(EXAMPLES / name)
    assert scenario.form.remedies or name.endswith("-cluster") or name not in VENDORS
    assert scenario.form.says
    assert set(scenario.form.modes) >= KUBE_PROXY - NOT_MEASURED.get(name, set())
    assert max(map(len, (EXAMPLES / name / FORM).read_text().splitlines())) <= 120


@pytest.mark.parametrize("name", NAMES)
def test_every_file_of_an_example_is_used(name: str) -> None:
    scenario = load(EXAMPLES / name)
    left = scenario.form.left_behind
    used = {LAB, SERVICE, FORM, *(part.manifest for part in scenario.form.parts)}
    used |= {left.manifest} if left else set()
    assert {file.name for file in (EXAMPLES / name).iterdir()} == used - {""}


def test_a_good_folder(tmp_path: Path) -> None:
    scenario = load(written(tmp_path))
    assert isinstance(scenario, Scenario)
    assert scenario.networks == ("routed",)
    assert [each.metadata.name for each in scenario.objects] == ["web"]


@pytest.mark.parametrize("kind", ["steps", "remedies"])
def test_steps_and_remedies_are_applied_on_top(tmp_path: Path, kind: str) -> None:
    part = f"""
        {kind}:
          - title: Another port
            says: Take another port.
            manifest: other.yaml
            questions: [{{client: node-a, asks: {{service: web, port: 81}}, expect: success}}]
            explanation: Another one.
    """
    (tmp_path / "other.yaml").write_text(GOOD[SERVICE].replace("port: 80,", "port: 81,"))
    scenario = load(written(tmp_path, scenario=GOOD[FORM] + part))
    ((changed,),) = scenario.parts
    assert changed.metadata.name == "web"
    assert (changed,) != scenario.objects


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("title: A node asks", "titel: A", "title: missing"),
        ("title: A node asks", "titel: A", "titel: unknown; known are title, modes, "),
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
        ("service: web", "pod: web", "questions[0].asks.pod: 'web' is none of server"),
        ("service: web", "address: x", "questions[0].asks.address: 'x' is no IPv4 address"),
        ("service: web", 'address: "::1"', "questions[0].asks.address: '::1' is no IPv4 address"),
        ("success}", "success, protocol: tcp}", "questions[0].protocol: expected "),
        ("success}", "success, flow: f}", "questions[0].flow: only UDP can go on from one step to"),
        (
            "success}",
            "success, bytes: 99}",
            "questions[0].bytes: only a flow has it, from 64 to 1472",
        ),
        ("success}", "success, pods: [x]}", "questions[0].pods[0]: 'x' is none of server, node-a"),
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
        *(
            ("explanation:", f"leftBehind: {{{left}}}\n        explanation:", f"leftBehind.{said}")
            for left, said in (
                ("node: x, mode: ipvs, manifest: service.yaml", "node: 'x' is none of node-a"),
                (
                    "node: node-a, mode: userspace, manifest: service.yaml",
                    "mode: 'userspace' is none",
                ),
                ("node: node-a, mode: ipvs, manifest: ''", "manifest: a file is needed"),
                ("node: node-a, mode: ipvs, rules: all", "rules: unknown; known are node, mode, "),
            )
        ),
        (
            "says: It works.",
            "remedies: [{title: T, explanation: E, questions: [], cleanup: yes}]\n        says: S",
            "remedies[0].cleanup: nothing was left behind",
        ),
        (
            "says: It works.",
            "steps: [{title: T, explanation: E, questions: [], afterSeconds: 61}]\n        says: S",
            "steps[0].afterSeconds: 61 is not in 0..60",
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
    (problem,) = problems(written(tmp_path, service=service))
    assert problem == (
        f"{FORM}:6: questions[0].asks.service: 'web' has no cluster IP of IPv4: "
        "its clusterIP must be given"
    )


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
    with pytest.raises(BadInput) as raised:
        load(folder)
    assert raised.value.remedy.startswith("a scenario is a folder with lab.yaml, service.yaml and")


def test_what_is_no_folder_is_told_once(tmp_path: Path) -> None:
    for place, said in (("none", "there is no such folder"), (FORM, "this is a file")):
        (tmp_path / FORM).touch()
        with pytest.raises(BadInput) as raised:
            load(tmp_path / place)
        assert raised.value.problems == [f"{tmp_path / place}: {said}"]
        assert "docs/scenarios.md" in raised.value.remedy


@pytest.mark.parametrize(
    ("network", "mode", "expected"),
    [
        ("vpc", "iptables", expectation("success", "node-a", ["web"])),
        ("vpc", "ipvs", expectation("success", "node-b", ["shop"])),
        ("tunnel", "iptables", expectation("success", "tunnel of node-a", ["web"])),
        ("tunnel", "ipvs", expectation("timeout", "")),
    ],
)
def test_what_is_expected_where(network: str, mode: str, expected: Expectation) -> None:
    question = Question(
        client="node-a",
        asks=Target(port=80, node="node-b"),
        expect="success",
        source="node-a",
        pods=("web",),
        otherwise=(
            Otherwise("ipvs", source="node-b", pods=("shop",)),
            Otherwise("tunnel", source="tunnel of node-a"),
            Otherwise("tunnel-ipvs", expect="timeout"),
        ),
    )
    assert question.expected(network, mode) == expected
