"""The backend reads, repairs and removes its own rules, and nothing else."""

from __future__ import annotations

import pytest
from kproxy_iptables import IptablesOptions
from kproxy_iptables.backend import IptablesBackend
from kproxy_iptables.frame import INVALID_COUNTER, ROUTE_LOCALNET
from kproxy_iptables.hashed_names import service_hash

from kproxy.address import Family
from kproxy.errors import KernelRefused
from kproxy.forwarding.plan import Delta
from kproxy.kernel import sysctl
from kproxy.kernel.iptables_programs import Variant
from kproxy.kernel.iptables_save import TABLES
from kproxy.kernel.leading import target
from kproxy.kernel.xtables import Xtables, choose_variant
from netns_tests.modes import IPTABLES, Mode
from netns_tests.node import bench, filled, fresh_state

FOREIGN = """\
*filter
:MY-CHAIN - [0:0]
-A MY-CHAIN -s 192.0.2.1/32 -m comment --comment "mine, not a service's" -j DROP
-A INPUT -j MY-CHAIN
-A FORWARD -m comment --comment "KUBE-SERVICES is not what this leads to" -j ACCEPT
COMMIT
*nat
:MY-NAT - [0:0]
-A MY-NAT -d 192.0.2.2/32 -j RETURN
-A PREROUTING -j MY-NAT
COMMIT
*mangle
:KUBE-KUBELET-CANARY - [0:0]
COMMIT
"""


@pytest.mark.parametrize("mode", IPTABLES, ids=str)
def test_cleanup_removes_every_trace_and_nothing_else(mode: Mode) -> None:
    with bench(mode) as node:
        node.tables().restore([FOREIGN])
        before = mode.dump()
        sysctl.write(ROUTE_LOCALNET, 0)
        filled(node)
        assert sysctl.read(ROUTE_LOCALNET) == "1"
        assert mode.dump() != before
        for backend in node.backends.values():
            backend.cleanup()
        after = mode.dump()
        assert _without_empty_tables(after) == _without_empty_tables(before)
        assert sysctl.read(ROUTE_LOCALNET) == "0"
        counting = f"-A INPUT -m nfacct --nfacct-name {INVALID_COUNTER}\n"
        with pytest.raises(KernelRefused):  # the counter does not exist any more
            node.tables().restore(["*filter\n", counting, "COMMIT\n"])


@pytest.mark.parametrize("mode", IPTABLES, ids=str)
def test_cleanup_of_an_unused_namespace_changes_nothing(mode: Mode) -> None:
    with bench(mode) as node:
        before = {family: node.tables(family).generation() for family in Family}
        for backend in node.backends.values():
            backend.cleanup()
        assert {family: node.tables(family).generation() for family in Family} == before


@pytest.mark.parametrize("mode", IPTABLES, ids=str)
def test_the_kubelets_own_rules_stay(mode: Mode) -> None:
    with bench(mode) as node:
        filled(node)
        kubelet = "-A KUBE-FIREWALL -m comment --comment kubelet -m mark --mark 0x8000 -j DROP\n"
        node.tables().restore(["*filter\n", kubelet, "COMMIT\n"])
        node.backends[Family.IPV4].cleanup()
        assert any("kubelet" in r for r in node.tables().save("filter")["KUBE-FIREWALL"])


DAMAGE = [  # commands of another program
    ("nat", "-F"),
    ("filter", "-F"),
    ("mangle", "-X KUBE-PROXY-CANARY"),
    ("nat", "-F KUBE-SERVICES"),
    ("nat", "-D KUBE-SERVICES 1"),
    ("nat", "-F PREROUTING"),
    ("nat", "-F KUBE-MARK-MASQ"),
    ("filter", "-D FORWARD 1"),
    ("filter", "-F KUBE-FORWARD"),
]


@pytest.mark.parametrize("mode", IPTABLES, ids=str)
@pytest.mark.parametrize(("table", "harm"), DAMAGE)
def test_damage_is_noticed_and_repaired(mode: Mode, table: str, harm: str) -> None:
    with bench(mode) as node:
        cluster = filled(node)
        assert node.proxy.damaged() == ()
        node.tables().restore([f"*{table}\n{harm}\nCOMMIT\n"])
        assert Family.IPV4 in node.proxy.damaged()
        node.sync()
        assert node.proxy.damaged() == ()
        assert node.state() == fresh_state(mode, cluster.objects.values())


@pytest.mark.parametrize("mode", IPTABLES, ids=str)
@pytest.mark.parametrize("prefix", ["KUBE-SVC-", "KUBE-SEP-"])
def test_a_flushed_chain_of_a_service_is_noticed(mode: Mode, prefix: str) -> None:
    with bench(mode) as node:
        filled(node)
        chain = next(name for name in node.tables().save("nat") if name.startswith(prefix))
        node.tables().restore([f"*nat\n-F {chain}\nCOMMIT\n"])
        assert Family.IPV4 in node.proxy.damaged()


@pytest.mark.parametrize("mode", IPTABLES, ids=str)
def test_rules_of_other_programs_are_no_damage(mode: Mode) -> None:
    with bench(mode) as node:
        filled(node)
        node.tables().restore([FOREIGN])
        assert node.proxy.damaged() == ()


@pytest.mark.parametrize("mode", IPTABLES, ids=str)
@pytest.mark.parametrize("family", Family, ids=lambda family: family.value)
def test_what_is_read_is_what_the_tool_prints(mode: Mode, family: Family) -> None:
    """Legacy tables have two independent readers: python-iptables here, iptables-save there."""
    with bench(mode) as node:
        filled(node)
        tables = node.tables(family)
        read = node.backends[family].read()
        assert read.keys() == set(TABLES)
        for table in TABLES:
            chains, saved = read[table], tables.save(table)
            for chain, rules in chains.items():
                assert list(rules) == [" ".join(rule.split()) for rule in saved[chain]]
            assert {c for c in saved if c.startswith("KUBE-")} <= chains.keys()


@pytest.mark.parametrize("mode", IPTABLES, ids=str)
def test_a_refused_transaction_leaves_the_rules_and_is_made_up_for(mode: Mode) -> None:
    with bench(mode) as node:
        cluster = filled(node)
        before = node.state()
        # Another program has deleted a rule of ours that the next sync wants to delete.
        number, rule = next(
            (number, rule)
            for number, rule in enumerate(node.tables().save("nat")["KUBE-SERVICES"], 1)
            if target(rule).startswith("KUBE-SVC-")
        )
        chain = target(rule)
        node.tables().restore([f"*nat\n-D KUBE-SERVICES {number}\nCOMMIT\n"])
        backend = node.backends[Family.IPV4]
        plan = node.proxy.plans[Family.IPV4]
        kept = {n: p for n, p in plan.services.items() if f"SVC-{service_hash(n)}" not in chain}
        smaller = type(plan)(settings=plan.settings, services=kept)
        removed = {n: p for n, p in plan.services.items() if n not in kept}
        with pytest.raises(KernelRefused):
            backend.sync(smaller, Delta(before=removed))
        node.tables().restore([f"*nat\n-I KUBE-SERVICES {number} {rule}\nCOMMIT\n"])
        assert node.state() == before
        backend.sync(smaller, Delta(full=True))
        assert chain not in node.tables().save("nat")
        backend.sync(plan, Delta(full=True))
        assert node.state() == fresh_state(mode, cluster.objects.values())


@pytest.mark.parametrize("mode", IPTABLES, ids=str)
def test_the_variant_in_use_is_chosen(mode: Mode) -> None:
    with bench(mode) as node:
        assert choose_variant(Family.IPV4) == "nft"  # the default of this machine's iptables
        filled(node)
        assert choose_variant(Family.IPV4) == mode.variant
        other = IptablesBackend(Family.IPV4, IptablesOptions())
        other.sync(node.proxy.plans[Family.IPV4], Delta(full=True))
        idle: Variant = "nft" if mode.variant == "legacy" else "legacy"
        if Xtables(Family.IPV4, idle).has("nat"):
            assert "KUBE-SERVICES" not in Xtables(Family.IPV4, idle).save("nat")


def _without_empty_tables(text: str) -> list[str]:
    """Return the saved tables without empty built-in ones, which exist once they were used."""
    system = {":PREROUTING", ":INPUT", ":FORWARD", ":OUTPUT", ":POSTROUTING"}
    return [line for line in text.splitlines() if line not in system and line[:1] != "*"]
