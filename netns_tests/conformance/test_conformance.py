"""Each recorded case through the command line, on the node it was recorded on.

To see one by hand: scripts/test netns_tests/conformance -k 'nft and nodeport-local'
"""

from __future__ import annotations

import sysconfig
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from msgspec import Struct

from kproxy.kernel.process import run
from netns_tests.conformance import dump
from netns_tests.conformance.comparison import differences
from netns_tests.conformance.node import recorded_node

CASES = sorted(path.parent for path in Path(__file__).parent.glob("cases/*/objects.yaml"))
KPROXY = str(Path(sysconfig.get_path("scripts"), "kproxy"))


class Mode(Struct, frozen=True):
    """A proxy mode, how to read its state back, and what it is called with."""

    name: str
    dump: Callable[[], str]
    flags: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "-".join([self.name, *self.flags[1:]])


MODES = [
    Mode("iptables", partial(dump.iptables, "nft"), ("--iptables-variant", "nft")),
    Mode("iptables", partial(dump.iptables, "legacy"), ("--iptables-variant", "legacy")),
]


def test_no_case_is_missing() -> None:
    assert len(CASES) == 57


@pytest.mark.parametrize("mode", MODES, ids=str)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_same_kernel_state_as_kube_proxy(case: Path, mode: Mode, tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text((case / "config.yaml").read_text() + f"mode: {mode.name}\n")
    with recorded_node():
        flags = [*mode.flags, "--config", str(config), "--manifests", str(case / "objects.yaml")]
        run([KPROXY, "run", "--once", *flags])
        actual = mode.dump() + dump.sysctls()
    assert differences((case / f"kube-proxy.{mode.name}").read_text(), actual) == []
