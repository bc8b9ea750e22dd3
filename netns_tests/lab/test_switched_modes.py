"""A lab whose proxies change to another mode while it runs."""

from __future__ import annotations

from itertools import permutations

import pytest

from kproxy.backend import load
from kproxy.errors import BadInput
from kproxy.forwarding.network import Packet
from kproxy.lab import Lab
from kproxy.probe import Prober, Question, examine
from kproxy.scenario.former import written
from netns_tests.lab.test_lab_proxies import CLUSTER_IPS, SPEC, web
from netns_tests.modes import FLAT, IPTABLES, NFTABLES, USERSPACE, Mode

LEGACY, IPVS = IPTABLES[1], Mode("ipvs", "legacy")
PAIRS = [
    *permutations([*IPTABLES, NFTABLES[0]], 2),
    (IPTABLES[0], FLAT),
    (FLAT, IPTABLES[0]),
    (IPTABLES[0], USERSPACE),
    (USERSPACE, NFTABLES[0]),
    pytest.param(LEGACY, IPVS, marks=pytest.mark.ipvs),
    pytest.param(IPVS, LEGACY, marks=pytest.mark.ipvs),
]


def rules(lab: Lab, *modes: Mode) -> dict[str, list[list[str]]]:
    """Return what the proxies of these modes have left on each node, as sorted lines: the order of
    jumps and sets is that in which they were made.
    """
    return {
        name: [sorted(node.namespace.run(mode.dump).splitlines()) for mode in modes]
        for name, node in lab.nodes.items()
    }


@pytest.mark.parametrize(("before", "after"), PAIRS, ids=str)
def test_a_lab_has_the_rules_of_its_new_mode_and_no_others(before: Mode, after: Mode) -> None:
    with (
        Lab(SPEC, before.name, options=before.options) as lab,
        Lab(SPEC, after.name, options=after.options) as fresh,
        Prober(lab) as prober,
    ):
        for each in (lab, fresh):
            each.apply([web(), *each.slices(web())])
        assert rules(lab, before, after) != rules(fresh, before, after)
        lab.switch_mode(after.name, after.options)
        assert lab.mode == after.name
        assert rules(lab, before, after) == rules(fresh, before, after)
        lab.apply([web("shop", ("10.96.0.11", "fd00:10:96::b"))])  # it goes on from there
        fresh.apply([web("shop", ("10.96.0.11", "fd00:10:96::b"))])
        assert rules(lab, before, after) == rules(fresh, before, after)
        asked = [
            Question(check="", packet=Packet(client=client, address=address, port=80))
            for client in ("shell", "node-a", "outside")
            for address in CLUSTER_IPS
        ]
        assert [each.problems for each in examine(lab, prober, asked)] == [()] * len(asked)


def test_a_mode_that_cannot_be_changes_nothing() -> None:
    with Lab(SPEC, "iptables") as lab:
        lab.apply([web(), *lab.slices(web())])
        before = rules(lab, IPTABLES[0], LEGACY)
        with pytest.raises(BadInput, match="no backend called"):
            lab.switch_mode("magic")
        with pytest.raises(BadInput, match="options of nftables mode"):
            lab.switch_mode("nftables", LEGACY.options)
        assert (lab.mode, rules(lab, IPTABLES[0], LEGACY)) == ("iptables", before)
    with Lab(SPEC, None) as lab, pytest.raises(BadInput, match="no proxies"):
        lab.switch_mode("nftables")


def test_a_stopped_proxy_starts_in_the_new_mode() -> None:
    with Lab(SPEC, "iptables") as lab, Lab(SPEC, "nftables") as fresh:
        for each in (lab, fresh):
            each.apply([web(), *each.slices(web())])
        lab.stop_proxy("node-a")
        lab.switch_mode("nftables")
        assert rules(lab, *IPTABLES, NFTABLES[0]) == rules(fresh, *IPTABLES, NFTABLES[0])


@pytest.mark.parametrize(
    ("left", "own"), [*permutations([*IPTABLES, NFTABLES[0]], 2), (IPTABLES[0], USERSPACE)], ids=str
)
def test_a_proxy_removes_what_another_mode_has_left(left: Mode, own: Mode) -> None:
    with Lab(SPEC, own.name, options=own.options) as lab:
        lab.apply([web(), *lab.slices(web())])
        before = rules(lab, left, own)
        plans = {family: lab.plans(family)["node-a"] for family in lab.spec.families}
        with written(lab, "node-a", load(left.name), plans, left.options):
            pass
        assert rules(lab, left, own) != before
        lab.remove_leftovers("node-a")
        assert rules(lab, left, own) == before
        with pytest.raises(BadInput, match="'node-x' is not a node"):
            lab.remove_leftovers("node-x")
    with Lab(SPEC, None) as lab, pytest.raises(BadInput, match="no proxies"):
        lab.remove_leftovers("node-a")
