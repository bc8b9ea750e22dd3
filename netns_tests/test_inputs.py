"""A mode's text for programs makes, loaded by them, what its backend makes by itself."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import pytest

from kproxy.api.types import KubernetesObject
from kproxy.backend import HostFacts, ProgramInput, load
from kproxy.config import ProxyConfig
from kproxy.kernel import nfacct
from kproxy.kernel.process import run
from kproxy.testing.node import new_node
from netns_tests.conformance.comparison import differences
from netns_tests.modes import PACKET_FILTERS, Mode
from netns_tests.node import synced
from netns_tests.test_rendering import (
    CASES,
    CONFIGS,
    IPVS,
    OF_IPVS,
    of_case,
    random_objects,
    rivals,
)

_COUNTER = re.compile(r"\} = (\S+);")


def load_all(inputs: Iterable[ProgramInput]) -> None:
    """Have the programs load their input; nfacct, which may not be installed, is stood in for."""
    for each in dict.fromkeys(inputs):
        if each.program[0] == "nfacct":
            assert all(nfacct.ensure_counter(name) for name in _COUNTER.findall(each.text))
        else:
            run(each.program, [each.text])


def check(mode: Mode, config: ProxyConfig, objects: Iterable[KubernetesObject]) -> None:
    """Compare the listing of a namespace that a backend wrote with that of one that was loaded."""
    chosen = load(mode.name)
    with synced(mode, config, objects) as (proxy, _, addresses):
        facts = HostFacts(addresses=addresses)
        written = mode.dump()
    assert chosen.inputs
    with new_node():
        load_all(each for plan in proxy.plans.values() for each in chosen.inputs(plan, facts))
        loaded = mode.dump()
    assert "KUBE-" in loaded or "table ip kube-proxy" in loaded
    assert differences(written, loaded) == []
    if mode.name == "iptables":
        assert written == loaded
    elif mode.name == "nftables":
        assert blocks(written) == blocks(loaded)


def blocks(listing: str) -> list[str]:
    """Return the chains, sets and maps of nft's listing, whose order depends on history."""
    return sorted(re.split(r"\n\n|\n}\n", listing))


def recorded(mode: Mode, case: Path) -> None:
    check(mode, *of_case(case, mode))


@pytest.mark.parametrize("mode", PACKET_FILTERS, ids=str)
@pytest.mark.parametrize("case", CASES, ids=lambda path: path.parent.name)
def test_recorded_cases(mode: Mode, case: Path) -> None:
    recorded(mode, case)


@pytest.mark.parametrize("mode", PACKET_FILTERS, ids=str)
@pytest.mark.parametrize("name", CONFIGS)
def test_settings(mode: Mode, name: str) -> None:
    check(mode, CONFIGS[name], [*random_objects(31), *rivals()])


@pytest.mark.ipvs
@pytest.mark.parametrize("case", CASES[::6], ids=lambda path: path.parent.name)
def test_recorded_cases_in_ipvs_mode(case: Path) -> None:
    recorded(IPVS, case)


@pytest.mark.ipvs
@pytest.mark.parametrize("name", OF_IPVS)
def test_settings_in_ipvs_mode(name: str) -> None:
    check(IPVS, CONFIGS[name], [*random_objects(31), *rivals()])
