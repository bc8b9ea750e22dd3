"""Each recorded case is run by the command line, on the node it was recorded on.

To see one by hand: scripts/test netns_tests/conformance -k 'nft and nodeport-local'
"""

from __future__ import annotations

import sysconfig
from pathlib import Path

import pytest

from kproxy.cli import cli
from kproxy.kernel.process import run
from kproxy.testing.node import new_node
from netns_tests.conformance import dump
from netns_tests.conformance.comparison import differences
from netns_tests.modes import FLAT, IPTABLES, MODES, Mode

CASES = sorted(path.parent for path in Path(__file__).parent.glob("cases/*/kube-proxy.iptables"))
OF_IPVS = sorted({path.parent for path in CASES[0].parent.glob("*/kube-proxy.ipvs")} - {*CASES})
KPROXY = str(Path(sysconfig.get_path("scripts"), "kproxy"))
AS_A_PROCESS = IPTABLES[0]  # elsewhere most of the time would go into starting Python


def test_no_case_is_missing() -> None:
    assert (len(CASES), len(OF_IPVS)) == (57, 1)


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode != FLAT], ids=str)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_same_kernel_state_as_kube_proxy(case: Path, mode: Mode, tmp_path: Path) -> None:
    compare(case, mode, tmp_path)


@pytest.mark.ipvs
@pytest.mark.parametrize("case", OF_IPVS, ids=lambda case: case.name)
def test_same_kernel_state_in_ipvs_mode(case: Path, tmp_path: Path) -> None:
    compare(case, Mode("ipvs", "legacy"), tmp_path)


def compare(case: Path, mode: Mode, tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text((case / "config.yaml").read_text() + f"mode: {mode.name}\n")
    with new_node():
        flags = ["--config", str(config), "--manifests", str(case / "objects.yaml")]
        arguments = ["run", "--once", "--iptables-variant", mode.variant, *flags]
        if mode == AS_A_PROCESS:
            run([KPROXY, *arguments])
        else:
            cli.main(arguments, standalone_mode=False)
        actual = mode.dump() + dump.sysctls()
    assert differences((case / f"kube-proxy.{mode.name}").read_text(), actual) == []
