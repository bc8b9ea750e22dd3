"""The rules of one Service, read from a kernel: those that were rendered, and their counters."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from kproxy.address import Family, bracketed
from kproxy.api.types import KubernetesObject, ServicePort
from kproxy.backend import Plan, RuleLine, Sought, load, uncounted
from kproxy.config import ProxyConfig
from kproxy.kernel.process import run
from kproxy.lab import service
from kproxy.rules.reading import found_in_force, read_listing
from kproxy.rules.service import service_rules, sought_in, with_rivals
from kproxy.testing import LabFactory, ProbedLab, delivered
from kproxy.testing.node import CONFIG
from netns_tests.modes import IPTABLES, PACKET_FILTERS, Mode
from netns_tests.node import synced
from netns_tests.run.running import until
from netns_tests.test_rendering import CASES, IPVS, of_case, random_objects, rivals

NAMED = [*IPTABLES, Mode("nftables")]  # rules in their kernel have names of Services
Places = list[tuple[str, str, int, str, str]]


def places(rules: Iterable[RuleLine]) -> Places:
    """Return rules without counters, in an order that history has no part in."""
    return sorted((each.table, each.chain, each.depth, each.rule, each.purpose) for each in rules)


def services(plan: Plan) -> set[tuple[str, str]]:
    return {name.service for name in plan.services}


def check(mode: Mode, config: ProxyConfig, objects: Iterable[KubernetesObject]) -> None:
    """Compare what is read for each Service with what is rendered, with and without its plans."""
    chosen = load(mode.name)
    assert chosen.render
    with synced(mode, config, objects) as (proxy, _, addresses):
        for family, plan in proxy.plans.items():
            read = read_listing(chosen, family, plan.settings.options)
            rendered = uncounted(chosen.render(plan, addresses))
            for namespace, name in services(plan):
                sought = sought_in(plan, namespace, name)
                found = service_rules(chosen, read, sought)
                assert found
                assert all(each.purpose for each in found)
                expected = places(service_rules(chosen, rendered, sought))
                assert [without_loads(each) for each in places(found)] == expected
                alone = uncounted(chosen.render(with_rivals(plan, sought), addresses))
                assert places(service_rules(chosen, alone, sought)) == expected
                if mode in NAMED:
                    by_name = Sought(family=family, namespace=namespace, name=name)
                    named = places(service_rules(chosen, read, by_name))
                    assert [each for each in expected if not is_hairpin(each)] == [
                        each for each in named if not is_hairpin(each)
                    ]


def without_loads(place: tuple[str, str, int, str, str]) -> tuple[str, str, int, str, str]:
    """Return a real server without its numbers of connections."""
    table, chain, depth, rule, purpose = place
    return table, chain, depth, rule.partition(" (connections: ")[0], purpose


def is_hairpin(place: tuple[str, str, int, str, str]) -> bool:
    return "hairpin" in place[1] or "hairpin" in place[3]


@pytest.mark.parametrize("mode", PACKET_FILTERS, ids=str)
@pytest.mark.parametrize("case", CASES, ids=lambda path: path.parent.name)
def test_recorded_cases(mode: Mode, case: Path) -> None:
    check(mode, *of_case(case, mode))


@pytest.mark.parametrize("mode", PACKET_FILTERS, ids=str)
def test_random_services(mode: Mode) -> None:
    check(mode, CONFIG, random_objects(35))


@pytest.mark.ipvs
@pytest.mark.parametrize("case", CASES[::9], ids=lambda path: path.parent.name)
def test_recorded_cases_in_ipvs_mode(case: Path) -> None:
    check(IPVS, *of_case(case, IPVS))


@pytest.mark.parametrize("mode", PACKET_FILTERS, ids=str)
def test_rules_of_others_are_not_shown(mode: Mode) -> None:
    chosen = load(mode.name)
    with synced(mode, CONFIG, rivals()) as (proxy, *_):
        plan = proxy.plans[Family.IPV4]
        sought = sought_in(plan, "default", "a")
        before = service_rules(chosen, read_listing(chosen, Family.IPV4, mode.options), sought)
        run([f"iptables-{mode.variant}", "-t", "nat", "-I", "PREROUTING", "-j", "RETURN"])
        run([f"iptables-{mode.variant}", "-t", "nat", "-N", "KUBE-ROUTER"])
        run([f"iptables-{mode.variant}", "-t", "nat", "-A", "KUBE-ROUTER", "-j", "RETURN"])
        run([f"iptables-{mode.variant}", "-t", "nat", "-I", "PREROUTING", "-j", "KUBE-ROUTER"])
        after = service_rules(chosen, read_listing(chosen, Family.IPV4, mode.options), sought)
        assert places(after) == places(before)
        assert not any("default/b" in each.rule for each in after)


def test_a_table_with_rules_made_with_nft() -> None:
    """The program of iptables does not print such a table, so its counters are not known."""
    mode = Mode("iptables")
    chosen = load(mode.name)
    with synced(mode, CONFIG, rivals()) as (proxy, *_):
        sought = sought_in(proxy.plans[Family.IPV4], "default", "a")
        before = service_rules(chosen, read_listing(chosen, Family.IPV4, mode.options), sought)
        run(["nft", "add rule ip nat PREROUTING numgen random mod 2 vmap { 0 : accept }"])
        after = service_rules(chosen, read_listing(chosen, Family.IPV4, mode.options), sought)
        assert places(after) == places(before)
        assert not any(each.packets is None for each in before)
        assert {each.table for each in after if each.packets is None} == {"nat"}
        assert {each.table for each in after if each.packets is not None} == {"filter"}


@pytest.mark.parametrize("mode", PACKET_FILTERS, ids=str)
def test_the_mode_in_force_is_found(mode: Mode) -> None:
    with synced(mode, CONFIG, rivals()):
        assert found_in_force(CONFIG).mode.name == mode.name


def build(factory: LabFactory, mode: Mode) -> ProbedLab:
    """Return node-a with pod-a, and Services `web` and `other` of it with node ports."""
    lab = factory(pods={"pod-a": "node-a"}, mode=mode.name, options=mode.options)
    for number, name in enumerate(("web", "other")):
        made = service(
            name,
            cluster_ips=(f"10.96.0.{10 + number}", f"fd00:10:96::{10 + number}"),
            ports=[ServicePort(port=80, target_port=8080, node_port=30080 + number)],
            type="NodePort",
            selector={"app": "pod-a"},
        )
        lab.apply([made, *lab.slices(made)])
    return lab


def read(lab: ProbedLab, mode: Mode, name: str, family: Family) -> tuple[RuleLine, ...]:
    chosen = load(mode.name)
    sought = sought_in(lab.plans(family)["node-a"], "default", name)
    with lab.nodes["node-a"].namespace.entered():
        return service_rules(chosen, read_listing(chosen, family, mode.options), sought)


def packets(rules: Iterable[RuleLine], *words: str) -> int:
    """Return what the only rule that has these words has counted, but for those of localhost."""
    (found,) = (
        each
        for each in rules
        if all(word in each.rule for word in words) and "127.0.0.0/8" not in each.rule
    )
    assert found.packets is not None
    return found.packets


CONNECTIONS = 3
COUNTED = {  # the rules of a frontend and of an endpoint, by words in them
    "iptables": (("--dport 30080", "-j KUBE-EXT-"), ("-j DNAT",)),
    "ipvs": (("-A -t {}:30080",), ("-a -t {}:30080",)),
}


@pytest.mark.parametrize("mode", [*IPTABLES, pytest.param(IPVS, marks=pytest.mark.ipvs)], ids=str)
@pytest.mark.parametrize("family", Family, ids=lambda family: family.value)
def test_a_packet_raises_the_counters_of_its_rules(
    kproxy_lab: LabFactory, mode: Mode, family: Family
) -> None:
    lab = build(kproxy_lab, mode)
    node = lab.nodes["node-a"].addresses[family]
    frontend, endpoint = (
        [word.format(bracketed(node)) for word in words] for words in COUNTED[mode.name]
    )
    others = read(lab, mode, "other", family)
    for _ in range(CONNECTIONS):
        assert lab.connect("outside", node, 30080) == delivered("pod-a", source="node-a")

    def counted() -> bool:
        rules = read(lab, mode, "web", family)
        return min(packets(rules, *frontend), packets(rules, *endpoint)) >= CONNECTIONS

    until("the rules have counted", counted)  # IPVS sums its counters up every two seconds
    of_others = [(each.rule, each.packets) for each in others if "30081" in each.rule]
    assert of_others
    again = read(lab, mode, "other", family)
    assert [(each.rule, each.packets) for each in again if "30081" in each.rule] == of_others
