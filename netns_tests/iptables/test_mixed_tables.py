"""Rules that others have written with nft into the tables of iptables, where iptables-save prints
nothing of the table any more.
"""

from __future__ import annotations

import logging

import pytest
from kproxy_iptables.frame import JUMPS

from kproxy.address import Family
from kproxy.api.types import KubernetesObject
from kproxy.errors import KernelRefused
from kproxy.kernel.iptables_save import TABLES
from kproxy.kernel.process import run
from netns_tests.modes import IPTABLES
from netns_tests.node import Bench, bench
from tests.proxy.objects import endpoints, service

(NFT,) = (mode for mode in IPTABLES if mode.variant == "nft")
BEFORE: list[KubernetesObject] = [
    service("web", "10.96.0.1"),
    endpoints("web", "10.244.0.5", "10.244.1.5"),
]
AFTER: list[KubernetesObject] = [
    service("other", "10.96.0.2"),
    endpoints("other", "10.244.0.6"),
]
BUILT_IN = sorted({(jump.table, jump.chain) for jump in JUMPS})
STRANGE = "numgen random mod 2 0 counter accept"


def write_everywhere() -> None:
    """Put a rule that only nft can list before our jumps, in each chain that has one."""
    for family in ("ip", "ip6"):
        for table, chain in BUILT_IN:
            run(["nft", f"insert rule {family} {table} {chain} {STRANGE}"])


def listed() -> list[str]:
    """Return all rules and chains of IPv4 that nft prints, without counters."""
    text = "".join(run(["nft", "--stateless", "list", "table", "ip", table]) for table in TABLES)
    return sorted(
        line.strip() for line in text.splitlines() if STRANGE.split(" counter")[0] not in line
    )


def test_a_start_writes_everything_once() -> None:
    with bench(NFT) as node:
        node.sync(BEFORE)
        alone = listed()
        write_everywhere()
        for _ in range(2):
            started = Bench(NFT)
            assert all(backend.support().ok for backend in started.backends.values())
            started.sync(BEFORE)
            assert listed() == alone
            assert started.proxy.damaged() == ()
        run(["nft", "add table ip unrelated"])
        assert started.proxy.damaged() == ()


def test_a_jump_that_others_remove_is_missed() -> None:
    with bench(NFT) as node:
        node.sync(BEFORE)
        alone = listed()
        write_everywhere()
        assert node.proxy.damaged() == ()
        run(["nft", "flush chain ip nat OUTPUT"])
        assert node.proxy.damaged() == (Family.IPV4,)
        node.sync()
        assert listed() == alone


def test_changes_are_written_and_what_is_held_is_named(caplog: pytest.LogCaptureFixture) -> None:
    with bench(NFT) as node, caplog.at_level(logging.WARNING, "kproxy"):
        node.sync(BEFORE)
        write_everywhere()
        chain = next(
            name
            for name, rules in node.tables().save("nat").items()
            if any("--to-destination 10.244.0.5:" in rule for rule in rules)
        )
        verdicts = f"ip saddr vmap {{ 192.0.2.1 : jump {chain} }}"
        run(["nft", f"add chain ip nat mine; add rule ip nat mine {verdicts}"])
        node.sync(AFTER)
        saved = node.tables().save("nat")
        assert any("-d 10.96.0.2/32" in rule for rule in saved["KUBE-SERVICES"])
        assert saved[chain] == []
        (said,) = [record.getMessage() for record in caplog.records]
        assert f"{chain} cannot be removed yet" in said
        assert "nft list table ip nat" in said
        with pytest.raises(KernelRefused, match=f"{chain} was emptied but not deleted"):
            node.backends[Family.IPV4].cleanup()
        assert [name for name in node.tables().save("nat") if name.startswith("KUBE-")] == [chain]


def test_cleanup_removes_ours_and_nothing_else() -> None:
    with bench(NFT) as node:
        node.sync(BEFORE)
        write_everywhere()
        run(["nft", f"add rule ip nat KUBE-SERVICES {STRANGE}"])
        for backend in node.backends.values():
            backend.cleanup()
        for family in ("ip", "ip6"):
            for table in TABLES:
                assert "KUBE-" not in run(["nft", "list", "table", family, table])
            for table, chain in BUILT_IN:
                text = run(["nft", "--stateless", "list", "chain", family, table, chain])
                assert STRANGE in text


def test_a_firewall_chain_with_a_rule_of_others_stays() -> None:
    with bench(NFT) as node:
        node.sync(BEFORE)
        run(["nft", f"add rule ip filter KUBE-FIREWALL {STRANGE}"])
        node.backends[Family.IPV4].cleanup()
        assert STRANGE in run(["nft", "-s", "list", "chain", "ip", "filter", "KUBE-FIREWALL"])


def test_some_chains_are_read_like_all() -> None:
    with bench(NFT) as node:
        node.sync(BEFORE)
        names = ["PREROUTING", "KUBE-SERVICES", "KUBE-NONE"]
        before = node.tables().save("nat")
        plain = {name: before[name] for name in names[:2]}
        assert node.tables().chains("nat", names) == plain
        write_everywhere()
        mixed = node.tables().chains("nat", names, JUMPS)
        assert mixed == plain | {"PREROUTING": ["", *plain["PREROUTING"]]}
        every = node.tables().save("nat", JUMPS)
        assert {name: every[name] for name in names[:2]} == mixed
        assert before.keys() - every.keys() <= {"INPUT"}  # printed even if it does not exist
