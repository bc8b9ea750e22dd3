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
from kproxy.probe import Finding
from kproxy.testing import LabFactory
from kproxy.tour import demo as questions
from kproxy.tour.part import Part
from netns_tests.findings import in_full
from netns_tests.modes import MODES, PACKET_FILTERS, USERSPACE, Mode

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
DIFFERENCES = {"iptables": 0, "nftables": 1, "ipvs": 4, "userspace": 7}  # from iptables mode

THROUGH_API = [Mode("iptables", "legacy"), Mode("nftables"), USERSPACE]


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "kproxy", "demo", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "NO_COLOR": "1"},
    )


@pytest.mark.parametrize("mode", [*MODES, USERSPACE], ids=str)
def test_the_table_is_for_80_columns(mode: Mode) -> None:
    source = "api" if mode in THROUGH_API else "direct"
    flags = ["--iptables-variant", mode.variant, "--nftables-layout", mode.layout]
    flags += ["--source", source]
    process = start("--mode", mode.name, *flags)
    table, progress = process.communicate()
    assert process.returncode == 0, progress
    assert max(map(len, table.splitlines())) <= 80
    assert "\x1b" not in table + progress
    assert len(re.findall(r"yes *$", table, re.MULTILINE)) == 23
    assert "23 of 23 as expected" in progress
    assert "the lab is gone" in progress
    assert table.count(": in iptables mode ") == DIFFERENCES[mode.name]


def test_a_configuration_that_serves_node_ports_on_localhost(tmp_path: Path) -> None:
    config = tmp_path / "kube-proxy.yaml"
    config.write_text(
        "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n"
        "mode: nftables\n"
        "featureGates: {KubeProxyNFTablesLocalhostNodePorts: true}\n"
        "nodePortAddresses: [primary, localhost]\n"
    )
    process = start("--config", str(config))
    table, progress = process.communicate()
    assert process.returncode == 0, progress
    assert re.search(r"node-a +127\.0\.0\.1:30080 +shop-[ab] +.* yes *$", table, re.MULTILINE)
    process = start("--mode", "nftables", "--emulate", "1.36", "--config", str(config))
    _, refused = process.communicate()
    assert process.returncode == 2
    assert "unknown in kube-proxy 1.36; it came with 1.37" in " ".join(refused.split())


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


@pytest.mark.parametrize("mode", PACKET_FILTERS, ids=str)
def test_the_examples_also_work_with_kproxy_run(mode: Mode) -> None:
    flags = ["--iptables-variant", mode.variant, "--nftables-layout", mode.layout]
    with Namespace.create("node-a") as namespace, namespace.entered():
        argv = ["kproxy", "run", "--once", "--proxy-mode", mode.name, *flags]
        run([sys.executable, "-m", *argv, "--manifests", str(EXAMPLES)])
        assert "10.96.0.30" in mode.dump()


BY_NODE_PORT = {("outside", "192.168.10.11:30080"), ("outside", "192.168.10.11:30090")}
DAMAGE: dict[str, tuple[str, set[tuple[str, str]]]] = {  # of node ports: how, what it breaks
    "iptables": (
        "iptables-{variant} -t nat -F KUBE-NODEPORTS",
        BY_NODE_PORT | {("node-a", "127.0.0.1:30080")},
    ),
    "nftables": ("nft flush map ip kube-proxy service-nodeports", BY_NODE_PORT),
}


@pytest.mark.parametrize("mode", PACKET_FILTERS, ids=str)
def test_broken_rules_are_found(kproxy_lab: LabFactory, mode: Mode) -> None:
    lab = kproxy_lab(
        EXAMPLES / "lab" / "demo.yaml", manifests=[EXAMPLES], mode=mode.name, options=mode.options
    )
    command, broken = DAMAGE[mode.name]
    with lab.nodes["node-a"].namespace.entered():
        run(command.format(variant=mode.variant).split())
    found = [finding for part in questions.walk(lab) for finding in part.findings if not finding.ok]
    assert broken == {(each.client, each.asked) for each in found}, "\n".join(map(in_full, found))


def test_what_is_not_as_predicted_is_named_and_fails(monkeypatch: pytest.MonkeyPatch) -> None:
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

    def walk(_: questions.ExampleLab) -> Iterator[Part]:
        yield Part(title="A title", findings=[finding])

    monkeypatch.setattr(questions, "walk", walk)
    result = CliRunner().invoke(demo)
    assert result.exit_code == 1
    assert "NOT AS EXPECTED: hairpin: shop-a asks 10.96.0.30:80" in result.stderr
    assert "packet dropped, last seen on node-a" in result.stderr
