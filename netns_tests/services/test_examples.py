"""The manifests of examples/services, shown in every mode as `kproxy demo --example` does."""

from __future__ import annotations

import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from click.testing import CliRunner

from kproxy.cli.demo import demo
from kproxy.kernel.process import run
from kproxy.lab import Lab, load_spec
from kproxy.lab.object_source import ObjectSource
from kproxy.probe import Finding, Prober
from kproxy.resident.through_api import ThroughApi
from kproxy.tour import catalog, objects, traffic
from kproxy.tour.part import Part
from kproxy.tour.run import run as run_tour
from netns_tests.findings import in_full, require_none, surprises
from netns_tests.modes import Mode
from netns_tests.through_api import heard

EXAMPLES = Path(__file__).parents[2] / "examples"
ALL = catalog.known(EXAMPLES / catalog.FOLDER)
AT_ONCE = 8  # most of the time they wait for what is dropped, or for pods that terminate
# Cluster IPs, node ports, counts of connections by pod, a pod of several.
_CHOSEN = re.compile(
    r"10\.96\.\d+\.\d+|fd00:10:96::\w+|\b3[0-2]\d{3}\b"
    r"|(\b[a-z][\w-]*:\d+(?![\w:]) ?)+(\(p=[\d.]+\))?|-\d+\b"
)
WARNED = """\
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  type: LoadBalancer
  loadBalancerClass: example.org/bgp
  externalIPs: [192.0.2.7]
  ports: [{port: 80}]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: deny}
"""
BROKEN = """\
# A target port that no pod serves.
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
        - {name: web, image: web, ports: [{containerPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selector: {app: web}
  ports: [{port: 80, targetPort: https}]
"""


def parts_of(
    example: catalog.Example, mode: Mode, source: ObjectSource | None = None
) -> list[Part]:
    spec = load_spec(EXAMPLES / catalog.LAB)
    with Lab(spec, mode.name, options=mode.options, source=source) as lab:
        return list(run_tour(lab, example))


@pytest.mark.parametrize("mode", [Mode("iptables"), Mode("nftables")], ids=str)
def test_everything_is_as_expected(mode: Mode) -> None:
    """They run side by side, as labs do not notice each other. With an API between lab and proxies
    everything is the same.
    """
    asked = [(each, source) for each in ALL for source in (None, ThroughApi())]
    with heard() as requests, ThreadPoolExecutor(AT_ONCE) as pool:
        tours = list(pool.map(lambda each: parts_of(each[0], mode, each[1]), asked))
    direct, through_api = tours[::2], tours[1::2]
    require_none(
        each
        for example, *both in zip(ALL, direct, through_api, strict=True)
        for parts in both
        for each in surprises(example.name, parts)
    )
    for example, one, other in zip(ALL, direct, through_api, strict=True):
        assert [*map(in_common, other)] == [*map(in_common, one)], example.name
        require_none(
            each for pair in zip(one, other, strict=True) for each in same_pod_otherwise(*pair)
        )
    assert requests["WATCH", "services"] == requests["WATCH", "endpointslices"] == 3 * len(ALL)
    assert requests["PATCH", "services"] >= len(ALL)


def in_common(part: Part) -> tuple[object, ...]:
    """Return what of a part depends neither on which of several pods has answered, nor on the order
    in which controllers or DNS have come to things. The way of a packet depends on the pod: it is
    compared where only one can answer, in scenarios.
    """
    findings = [
        (each.check, each.client, bool(each.source), *map(plain, _words(each)))
        for each in part.findings
    ]
    tables = [
        (
            each.header,
            sorted([sorted(map(plain, cell.splitlines())) for cell in row] for row in each.rows),
        )
        for each in part.tables
    ]
    notes = [] if part.title.startswith("How,") else [*map(plain, part.notes)]
    return part.title, tables, findings, notes, part.problems


def _words(finding: Finding) -> tuple[str, ...]:
    answered = "" if finding.source else finding.answered
    return finding.asked, answered, finding.expected, finding.why


def plain(text: str) -> str:
    return _CHOSEN.sub("", text)


def same_pod_otherwise(one: Part, other: Part) -> list[str]:
    """Return what is another source, or way, to the same pod. On a busy machine a host may see the
    answer to a packet among the packets.
    """
    return [
        f"{in_full(first)}\n{in_full(second)}"
        for first, second in zip(one.findings, other.findings, strict=True)
        if (first.asked, first.answered) == (second.asked, second.answered)
        if (first.source, {*first.hops}) != (second.source, {*second.hops})
    ]


@pytest.mark.ipvs
def test_everything_is_as_expected_in_ipvs_mode() -> None:
    """They run one after another in one lab, as that kernel is slow to build one."""
    mode = Mode("ipvs", "legacy")
    found = []
    with Lab(load_spec(EXAMPLES / catalog.LAB), mode.name, options=mode.options) as lab:
        for example in ALL:
            started = time.monotonic()
            parts = list(run_tour(lab, example))
            found += surprises(example.name, parts)
            # Linux sends a host one unreachable error a second, after five at once (ip_error): each
            # of these findings had two, for a packet and a connection, and the next example asks,
            # too.
            errors = 2 * sum("router" in each.answered for part in parts for each in part.findings)
            time.sleep(max(0.0, started + errors - time.monotonic()))
            lab.replace([])
            assert lab.wait_for(lambda: not objects.pods(lab))
    require_none(found)


def test_a_selector_that_matches_nothing_is_reported_and_refuses() -> None:
    (example,) = (each for each in ALL if each.name == "wrong-selector")
    made, _, refused, *_, fixed, _ = parts_of(example, Mode("nftables"))
    assert made.notes == ["Warning: Service web: spec.selector matches no Pod"]
    assert {each.answered.partition(" ")[0] for each in refused.findings} == {"refused"}
    assert {each.answered[:4] for each in fixed.findings} == {"web-"}


def test_a_missing_rule_is_found() -> None:
    mode = Mode("nftables")
    with Lab(load_spec(EXAMPLES / catalog.LAB), mode.name) as lab, Prober(lab) as prober:
        lab.apply(EXAMPLES / catalog.FOLDER / "node-port.yaml")
        with lab.nodes["node-b"].namespace.entered():
            run(["nft", "flush", "map", "ip", "kube-proxy", "service-nodeports"])
        (part,) = traffic.ask(lab, prober)
    by_node_port = {each.asked for each in part.findings if each.check == "node port"}
    found = [each for each in part.findings if not each.ok]
    broken = {each.asked for each in found}
    expected = {each for each in by_node_port if each.startswith("192.168.10.12:")}
    assert broken == expected, "\n".join(map(in_full, found))
    assert broken


def test_a_manifest_of_ones_own(tmp_path: Path) -> None:
    manifest = tmp_path / "mine.yaml"
    manifest.write_text(BROKEN)
    result = CliRunner().invoke(demo, ["--example", str(manifest), "--json"])
    assert result.exit_code == 0, result.stderr
    report = json.loads(result.stdout)
    assert report["example"] == "mine.yaml"
    (warning,) = report["parts"][0]["notes"]
    assert "no selected Pod has a port named 'https'" in warning


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_each_warning_is_shown_once(tmp_path: Path, options: list[str]) -> None:
    manifest = tmp_path / "mine.yaml"
    manifest.write_text(WARNED)
    result = CliRunner().invoke(demo, ["--example", str(manifest), *options])
    assert result.exit_code == 0, result.stderr
    shown = result.stdout + result.stderr
    assert [shown.count(each) for each in ("is deprecated", "no policy", "pending:")] == [1, 1, 1]


def test_what_is_not_as_expected_is_named_and_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def promised(*_: object) -> list[Part]:
        return [Part(title="A title", problems=["web-1 is ready"])]

    monkeypatch.setattr("kproxy.tour.tours.run", promised)
    result = CliRunner().invoke(demo, ["--example", "cluster-ip"])
    assert result.exit_code == 1
    assert "NOT AS EXPECTED: web-1 is ready" in result.stderr
    assert "NOT AS EXPECTED: web-1 is ready" in result.stdout


def test_a_table_is_for_80_columns() -> None:
    result = CliRunner().invoke(demo, ["--example", "protocols"])
    assert result.exit_code == 0, result.stderr
    assert max(map(len, result.stdout.splitlines())) <= 80
    assert "INIT came to dns-" in result.stdout
