"""The text for iptables-restore: golden text, and the shape of edits."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kproxy_iptables.frame import FrameOptions
from kproxy_iptables.hashed_names import endpoint_chain, service_hash
from kproxy_iptables.rules import Context, node_port_jumps, service_chain_names, service_chains
from kproxy_iptables.transaction import Existing, Writer, edit, rewrite
from msgspec.structs import replace

from kproxy.address import Family
from kproxy.forwarding.plan import (
    DetectLocal,
    Endpoint,
    LocalDetector,
    NodePortAddresses,
    NodeSettings,
    Plan,
    ServicePlan,
    ServicePortName,
)
from kproxy.forwarding.planner import Planner
from kproxy.store import Store
from kproxy.testing.random_cluster import RandomCluster

HERE = NodeSettings(
    family=Family.IPV4,
    node_name="node-0",
    node_ip="192.168.10.10",
    detector=LocalDetector(DetectLocal.CIDR, "10.244.0.0/16"),
    localhost_node_ports=True,
)
CONTEXT = Context(settings=HERE, localhost_counter=True)
FRAME = FrameOptions(drop_invalid=True)
NOTHING = Existing(
    chains={"mangle": frozenset(), "filter": frozenset(), "nat": frozenset()}, jumps=frozenset()
)

HASHES = [  # recorded from kube-proxy
    (ServicePortName("ns1", "svc1", "p80", "TCP"), "XPGD46QRK7WJZT7O"),
    (ServicePortName("default", "kubernetes", "https", "TCP"), "NPX46M4PTMTKRN6Y"),
    (ServicePortName("kube-system", "kube-dns", "dns", "UDP"), "TCOU7JCQXEZGVUNU"),
    (ServicePortName("ns1", "svc1", "", "TCP"), "AQI2S6QIMU7PVVRP"),
]


@pytest.mark.parametrize(("name", "expected"), HASHES, ids=lambda value: str(value))
def test_chain_names_are_those_of_kube_proxy(name: ServicePortName, expected: str) -> None:
    assert service_hash(name) == expected


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [
        (Endpoint("10.180.0.1", 80), "KUBE-SEP-SXIVWICOYRO3J4NJ"),
        (Endpoint("fd00:10::1", 80), "KUBE-SEP-RT5VHSJR44ZNF7G5"),
    ],
)
def test_endpoint_chain_names(endpoint: Endpoint, expected: str) -> None:
    assert endpoint_chain(HASHES[0][0], endpoint) == expected


LIST = NodePortAddresses(("192.168.0.0/16",))
JUMP = (
    '-m comment --comment "kubernetes service nodeports; NOTE: this must be the last rule in this'
    ' chain"'
)


@pytest.mark.parametrize(
    ("node", "rules"),
    [
        (HERE, ["-m addrtype --dst-type LOCAL -j KUBE-NODEPORTS"]),
        (
            replace(HERE, localhost_node_ports=False),
            ["-m addrtype --dst-type LOCAL ! -d 127.0.0.0/8 -j KUBE-NODEPORTS"],
        ),
        (
            replace(HERE, family=Family.IPV6, localhost_node_ports=False),
            ["-m addrtype --dst-type LOCAL ! -d ::1/128 -j KUBE-NODEPORTS"],
        ),
        (
            replace(HERE, node_port_addresses=LIST),
            ["-d 192.168.10.10 -j KUBE-NODEPORTS", "-d 192.168.10.11 -j KUBE-NODEPORTS"],
        ),
    ],
)
def test_way_to_the_node_ports(node: NodeSettings, rules: list[str]) -> None:
    jumps = node_port_jumps(node, ["192.168.10.10", "192.168.10.11"])
    assert jumps == [f"{JUMP} {rule}" for rule in rules]


class Table:
    """The tables that iptables-restore --noflush would make of its input; rules are just text."""

    def __init__(self) -> None:
        self.chains: dict[tuple[str, str], list[str]] = {}

    def feed(self, text: str) -> None:
        table = ""
        for line in text.splitlines():
            word, _, rest = line.partition(" ")
            name, _, rule = rest.partition(" ")
            if line.startswith("*"):
                table = line[1:]
            elif line.startswith(":"):
                self.chains[table, word[1:]] = []
            elif word == "-A":
                self._at(table, name).append(rule)
            elif word == "-I":
                self._at(table, name).insert(0, rule)
            elif word == "-D":
                self._at(table, name).remove(rule)
            elif word == "-X":
                assert self.chains.pop((table, name)) == [], f"{name} is not empty"
                users = [rules for rules in self.chains.values() for r in rules if _to(r, name)]
                assert not users, f"{name} is still in use"
            else:
                assert line == "COMMIT"

    def _at(self, table: str, name: str) -> list[str]:
        system = {"PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"}
        if name in system:
            return self.chains.setdefault((table, name), [])
        return self.chains[table, name]

    def dangling(self) -> list[str]:
        """Return the rules that lead to a missing chain."""
        return [
            rule
            for (table, _), rules in self.chains.items()
            for rule in rules
            for target in [rule.rpartition("-j ")[2].split(" ")[0]]
            if target.startswith("KUBE-") and (table, target) not in self.chains
        ]


def _to(rule: str, name: str) -> bool:
    return rule.endswith(f"-j {name}")


def feed_all(table: Table, writers: Iterable[Writer]) -> None:
    stale: list[str] = []
    for writer in writers:
        table.feed("".join(writer.pieces()))
        assert table.dangling() == []
        stale += writer.stale
    deletion = Writer()
    deletion.delete(stale)
    table.feed("".join(deletion.pieces()))


def meaning(table: Table) -> dict[tuple[str, str], list[str]]:
    """Return the chains, with those sorted in which services share and order does not matter."""
    shared = {"KUBE-SERVICES", "KUBE-NODEPORTS", "KUBE-EXTERNAL-SERVICES", "KUBE-PROXY-FIREWALL"}
    return {
        key: sorted(rules) if key[1] in shared else rules for key, rules in table.chains.items()
    }


def plan_after(cluster: RandomCluster, edits: int) -> tuple[Planner, Store]:
    store = Store()
    for _ in range(edits):
        cluster.edit()
    store.replace(cluster.objects.values())
    planner = Planner(HERE)
    planner.update(store, store.take_changes().services)
    return planner, store


def rewritten(plan: Plan, existing: Existing = NOTHING, batch_size: int = 1000) -> list[Writer]:
    jumps = node_port_jumps(HERE, [])
    return list(rewrite(plan, existing, CONTEXT, FRAME, jumps, batch_size))


@given(seed=st.integers(0, 2**32), batch_size=st.integers(1, 5))
@settings(max_examples=30)
def test_batches_add_up_to_one_transaction(seed: int, batch_size: int) -> None:
    """No batch leads to a chain of a later one."""
    plan = plan_after(RandomCluster(seed), 30)[0].plan
    whole, batched = Table(), Table()
    feed_all(whole, rewritten(plan))
    feed_all(batched, rewritten(plan, batch_size=batch_size))
    assert meaning(batched) == meaning(whole)


@given(seed=st.integers(0, 2**32), batch_size=st.sampled_from([1, 3, 1000]))
@settings(max_examples=30)
def test_taking_over_leaves_nothing_of_the_predecessor(seed: int, batch_size: int) -> None:
    cluster = RandomCluster(seed)
    table, fresh = Table(), Table()
    feed_all(table, rewritten(plan_after(cluster, 30)[0].plan))
    names = frozenset(name for where, name in table.chains if where == "nat")
    existing = replace(NOTHING, chains={**NOTHING.chains, "nat": names})
    plan = plan_after(cluster, 30)[0].plan
    for key in [key for key in table.chains if not key[1].startswith("KUBE-")]:
        del table.chains[key]  # jumps from built-in chains are left out
    feed_all(table, rewritten(plan, existing, batch_size))
    feed_all(fresh, rewritten(plan))
    assert meaning(table) == meaning(fresh)


@given(seed=st.integers(0, 2**32))
@settings(max_examples=40)
def test_edits_lead_to_the_text_of_a_fresh_start(seed: int) -> None:
    cluster = RandomCluster(seed)
    planner, store = plan_after(cluster, 25)
    table, fresh = Table(), Table()
    feed_all(table, rewritten(planner.plan))
    jumps = node_port_jumps(HERE, [])
    for _ in range(25):
        cluster.edit()
        store.replace(cluster.objects.values())
        delta = planner.update(store, store.take_changes().services)
        feed_all(table, [edit(planner.plan, delta.before, CONTEXT, (jumps, jumps))])
    feed_all(fresh, rewritten(planner.plan))
    assert meaning(table) == meaning(fresh)


def test_an_endpoint_change_touches_only_chains_of_its_service() -> None:
    name = ServicePortName("default", "web", "http", "TCP")
    other = ServicePortName("default", "other", "http", "TCP")
    planner, _ = plan_after(RandomCluster(7), 60)
    template = next(
        p for p in planner.plan.services.values() if p.cluster and not p.health_check_node_port
    )
    one, two, three = (Endpoint(f"10.244.0.{n}", 8080) for n in (1, 2, 3))

    def web(*endpoints: Endpoint) -> ServicePlan:
        return replace(
            template, name=name, cluster=endpoints, local=(), reachable=endpoints,
            external_local=False, internal_local=False, has_endpoints=True,
            frontends=template.frontends[:1],
        )  # fmt: skip

    plan = Plan(settings=HERE, services={name: web(one, three), other: replace(web(), name=other)})
    text = "".join(edit(plan, {name: web(one, two)}, CONTEXT, ([], [])).pieces())
    touched = {line[1:].split(" ")[0] for line in text.splitlines() if line.startswith(":")}
    assert touched == {
        f"KUBE-SVC-{service_hash(name)}",
        endpoint_chain(name, two),
        endpoint_chain(name, three),
    }
    assert "*filter" not in text
    assert "KUBE-SERVICES" not in text


@given(seed=st.integers(0, 2**32))
@settings(max_examples=20)
def test_nothing_is_deleted_together_with_what_is_to_be_in_force(seed: int) -> None:
    """The caller decides what is deleted, and with what."""
    cluster = RandomCluster(seed)
    planner, store = plan_after(cluster, 25)
    names = frozenset(name for name in service_chains_of(planner.plan))
    existing = replace(NOTHING, chains={**NOTHING.chains, "nat": names | {"KUBE-SEP-OLD"}})
    writers = rewritten(planner.plan, existing, batch_size=3)
    for _ in range(25):
        cluster.edit()
        store.replace(cluster.objects.values())
        delta = planner.update(store, store.take_changes().services)
        writers.append(edit(planner.plan, delta.before, CONTEXT, ([], [])))
    assert next(writer.stale for writer in writers if writer.stale) == ["KUBE-SEP-OLD"]
    for writer in writers:
        text = "".join(writer.pieces())
        assert "-X " not in text
        assert all(f":{name} - [0:0]\n" in text for name in writer.stale)
        assert not any(f"-A {name} " in text for name in writer.stale)


def service_chains_of(plan: Plan) -> set[str]:
    return {name for service in plan.services.values() for name in service_chain_names(service)}


@given(seed=st.integers(0, 2**32))
@settings(max_examples=20)
def test_names_without_rules_are_the_names_with_rules(seed: int) -> None:
    for service in plan_after(RandomCluster(seed), 30)[0].plan.services.values():
        written = {chain.name for chain in service_chains(service, CONTEXT)}
        assert service_chain_names(service) == written
