"""Each mode renders what kube-proxy v1.36 was recorded to have left in the kernel; pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import pytest
from msgspec.structs import replace

from kproxy.address import Family, family_of
from kproxy.api import manifests
from kproxy.backend import Mode, Plan, Ruleset, complete_options, load, modes
from kproxy.config import node_settings
from kproxy.config.file import read_text
from kproxy.forwarding.planner import Planner
from kproxy.kernel.nftables.listing import objects_in
from kproxy.kernel.xtables import kube_chains, parse_save
from kproxy.store import Store
from kproxy.versions import Version

Tables = dict[str, dict[str, tuple[str, ...]]]

ROOT = Path(__file__).parents[2]
CASES = sorted((ROOT / "netns_tests/conformance/cases").glob("*/kube-proxy.iptables"))
ADDRESSES = frozenset(  # of the node that the cases were recorded on
    {"127.0.0.1", "::1", "192.168.10.10", "10.244.0.1", "fd00:192::10", "fe80::1"}
)
COMMANDS = {Family.IPV4: "iptables", Family.IPV6: "ip6tables"}
OURS = {Family.IPV4: r"KUBE-(?!6-)", Family.IPV6: "KUBE-6-"}  # ipsets


def planned(case: Path, mode: Mode) -> dict[Family, Plan]:
    every = {name: load(name).config for name in modes()}
    text = (case.parent / "config.yaml").read_text() + f"mode: {mode.name}\n"
    config = replace(read_text(text, every).config, emulate=Version.V1_36)
    store = Store()
    store.replace(manifests.load([case.parent / "objects.yaml"], stored=True).objects)
    found = {}
    for family, settings in node_settings(
        config,
        store.node("node-0"),
        store.service_cidrs(),
        mode=mode.config,
        options=complete_options(mode, config, mode.options()),
    ).items():
        planner = Planner(settings)
        planner.replan(store)
        found[family] = planner.plan
    return found


def sections(recording: Path) -> dict[str, str]:
    parts = re.split(r"^## (\S+)\n", recording.read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def iptables(saved: str) -> Tables:
    return {
        table: kube_chains(
            {name: [" ".join(r.split()) for r in rules] for name, rules in of.items()}
        )
        for table, of in parse_save(saved).items()
    }


def sets(family: Family, lines: Iterable[str]) -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    for verb, name, entry, *_ in (line.split() for line in lines):
        if re.match(OURS[family], name):
            found.setdefault(name, []).extend([entry] if verb == "add" else [])
    return {name: tuple(sorted(entries)) for name, entries in found.items()}


def servers(family: Family, lines: Iterable[str]) -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    of_address = {}
    for line in lines:
        verb, address = line[:2], " ".join(line.split()[1:3])
        if (family is Family.IPV6) == ("[" in address):
            if verb == "-A":
                of_address[address] = found.setdefault(line, [])
            else:
                of_address[address].append(line)
    return {server: tuple(real) for server, real in found.items()}


def unordered(ruleset: Ruleset) -> dict[str, dict[str, list[str]]]:
    """Return an ipvs mode's ruleset without what says nothing: the order of real servers, and that
    of the drops for single addresses, which kube-proxy may write twice.
    """
    return {
        table: {
            name: sorted({*lines})
            if table == "ipvs" or name == "KUBE-IPVS-OUT-FILTER"
            else list(lines)
            for name, lines in objects.items()
        }
        for table, objects in ruleset.items()
    }


def test_the_recordings_are_there() -> None:
    assert len(CASES) == 57


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.parent.name)
def test_iptables(case: Path) -> None:
    mode = load("iptables")
    recorded = sections(case)
    for family, plan in planned(case, mode).items():
        assert mode.render
        found = mode.comparable(iptables(recorded[COMMANDS[family]]))
        assert mode.comparable(mode.render(plan, ADDRESSES)) == found


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.parent.name)
def test_nftables(case: Path) -> None:
    mode = load("nftables")
    recorded = case.with_name("kube-proxy.nftables").read_text()
    tables = re.findall(r"^table (\w+) kube-proxy \{\n(.*?)^\}$", recorded, re.M | re.S)
    by_family = {Family.IPV4 if word == "ip" else Family.IPV6: text for word, text in tables}
    for family, plan in planned(case, mode).items():
        assert mode.render
        # Also in the same order, as this layout's maps have no slots.
        assert mode.render(plan, ADDRESSES) == {"kube-proxy": objects_in(by_family[family])}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.parent.name)
def test_ipvs(case: Path) -> None:
    mode = load("ipvs")
    recorded = sections(case.with_name("kube-proxy.ipvs"))
    for family, plan in planned(case, mode).items():
        found = iptables(recorded[COMMANDS[family]])
        found["ipset"] = sets(family, recorded["ipset"].splitlines())
        bound = {each.partition("/")[0] for each in recorded["kube-ipvs0"].split()}
        own = tuple(sorted(each for each in bound if family_of(each) is family))
        found["addresses"] = {"kube-ipvs0": own} if own else {}
        found["ipvs"] = servers(family, recorded["ipvs"].splitlines())
        assert mode.render
        assert unordered(mode.render(plan, ADDRESSES)) == unordered(found)
