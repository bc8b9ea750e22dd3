"""Each recorded case is run by the command line, on the node it was recorded on.

To see one by hand: scripts/test netns_tests/conformance -k 'nft and nodeport-local'
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from kproxy.address import host_port
from kproxy.cli.commands import cli
from kproxy.testing.node import new_node
from netns_tests.conformance import dump
from netns_tests.conformance.comparison import differences
from netns_tests.modes import FLAT, IPTABLES, MODES, Mode
from tests.warm_kproxy import run_kproxy

CASES = sorted(path.parent for path in Path(__file__).parent.glob("cases/*/kube-proxy.iptables"))
OF_IPVS = sorted({path.parent for path in CASES[0].parent.glob("*/kube-proxy.ipvs")} - {*CASES})
_ONE_ENDPOINT = re.compile(r"dnat ip6? to numgen random mod 1 map { 0 : (\S+) \. (\d+) }")
AS_A_PROCESS = IPTABLES[0]


def test_no_case_is_missing() -> None:
    assert (len(CASES), len(OF_IPVS)) == (57, 1)


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode != FLAT], ids=str)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_same_kernel_state_as_kube_proxy(case: Path, mode: Mode, tmp_path: Path) -> None:
    compare(case, mode, tmp_path)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_same_rules_as_kube_proxy_1_37(case: Path, tmp_path: Path) -> None:
    """1.37 writes a chain with one endpoint differently, in nftables mode; nothing else."""
    recorded = (case / "kube-proxy.nftables").read_text()
    expected = _ONE_ENDPOINT.sub(_plain_dnat, recorded)
    actual = _run(case, Mode("nftables"), tmp_path, "1.37")
    assert differences(expected, actual) == []
    assert (expected != recorded) == bool(differences(recorded, actual))


def test_some_cases_have_chains_with_one_endpoint() -> None:
    found = [_ONE_ENDPOINT.findall((case / "kube-proxy.nftables").read_text()) for case in CASES]
    assert sum(map(bool, found)) == 9


def _plain_dnat(rule: re.Match[str]) -> str:
    address, port = rule[1], rule[2]
    return f"dnat to {host_port(address, int(port))}"


@pytest.mark.ipvs
@pytest.mark.parametrize("case", OF_IPVS, ids=lambda case: case.name)
def test_same_kernel_state_in_ipvs_mode(case: Path, tmp_path: Path) -> None:
    compare(case, Mode("ipvs", "legacy"), tmp_path)


def compare(case: Path, mode: Mode, tmp_path: Path) -> None:
    actual = _run(case, mode, tmp_path, "1.36")
    assert differences((case / f"kube-proxy.{mode.name}").read_text(), actual) == []


def _run(case: Path, mode: Mode, tmp_path: Path, version: str) -> str:
    """Return what a proxy that behaves like this kube-proxy leaves on the case's node."""
    config = tmp_path / "config.yaml"
    config.write_text((case / "config.yaml").read_text() + f"mode: {mode.name}\n")
    with new_node():
        flags = ["--config", str(config), "--manifests", str(case / "objects.yaml")]
        chosen = ["--emulate", version, "--iptables-variant", mode.variant]
        arguments = ["run", "--once", *chosen, *flags]
        if mode == AS_A_PROCESS:
            done = run_kproxy(arguments, env=os.environ)
            assert done.returncode == 0, done.stderr
        else:
            cli.main(arguments, standalone_mode=False)
        return mode.dump() + dump.sysctls()
