"""Rules and maps that others have written into the table hold up no change."""

from __future__ import annotations

import json
import logging
import subprocess

import pytest
from kproxy_nftables.names import TABLE

from kproxy.address import Family
from kproxy.api.types import KubernetesObject
from kproxy.forwarding.plan import Delta, Plan
from kproxy.kernel.process import run
from kproxy.proxy import SyncFailed
from kproxy.proxy.setup import cleanup
from kproxy.testing.node import CONFIG
from netns_tests.modes import IPTABLES, NFTABLES, Mode
from netns_tests.node import Bench, bench, filled, fresh_state
from netns_tests.run.running import until
from tests.proxy.objects import endpoints, service

BEFORE: list[KubernetesObject] = [service("web", "10.96.0.1"), endpoints("web", "10.244.0.5")]
AFTER: list[KubernetesObject] = [
    service("other", "10.96.0.2"),
    endpoints("other", "10.244.0.6", "10.244.0.7"),
]
HOLDS = [
    "add chain {t} mine; add rule {t} mine jump {chain}",
    "add chain {t} mine; add rule {t} mine tcp dport 22 goto {chain}",
    "add chain {t} mine; add rule {t} mine ip saddr vmap {{ 192.0.2.1 : jump {chain} }}",
    "add map {t} mine {{ type ipv4_addr : verdict; elements = {{ 192.0.2.1 : goto {chain} }}; }}",
    "add rule {t} nat-prerouting ip saddr 192.0.2.1 jump {chain}",
    "add chain {t} mine {{ type nat hook prerouting priority 7; }}; add rule {t} mine jump {chain}",
]


def hold_on(hold: str) -> None:
    """Have something lead to a chain that the objects AFTER do not need."""
    listed = json.loads(run(["nft", "--json", "list", "table", "ip", TABLE]))["nftables"]
    names = [str(each["chain"]["name"]) for each in listed if "chain" in each]
    chain = next(
        name for name in names if name == "lb-tcp-1" or name.endswith("default/web/tcp/http")
    )
    run(["nft", hold.format(t=f"ip {TABLE}", chain=chain)])


@pytest.mark.parametrize("mode", NFTABLES, ids=str)
@pytest.mark.parametrize("hold", HOLDS)
def test_a_change_is_written_whatever_leads_to_a_chain_that_goes(
    mode: Mode, hold: str, caplog: pytest.LogCaptureFixture
) -> None:
    with bench(mode) as node, caplog.at_level(logging.WARNING, "kproxy"):
        node.sync(BEFORE)
        hold_on(hold)
        node.sync(AFTER)
        assert node.state() == fresh_state(mode, AFTER)
        assert node.proxy.damaged() == ()
        (said,) = [record.getMessage() for record in caplog.records]
        assert "IPv4: another process has changed table kube-proxy" in said
        if "add rule" in hold:
            where = hold.partition("add rule {t} ")[2].split()[0]
            assert f"there are rules in {where};" in said


@pytest.mark.parametrize("mode", NFTABLES, ids=str)
@pytest.mark.parametrize("hold", HOLDS)
def test_so_is_a_start_over_leftovers(mode: Mode, hold: str) -> None:
    with bench(mode) as node:
        node.sync(BEFORE)
        hold_on(hold)
        Bench(mode).sync(AFTER)
        assert node.state() == fresh_state(mode, AFTER)


@pytest.mark.parametrize("mode", NFTABLES, ids=str)
def test_cleanup_removes_the_table_with_the_rules_of_others(mode: Mode) -> None:
    with bench(mode) as node:
        before = run(["nft", "list", "ruleset"])
        node.sync(BEFORE)
        for hold in HOLDS[1:4:2]:
            hold_on(hold)
        node.backends[Family.IPV4].cleanup()
        node.backends[Family.IPV6].cleanup()
        assert run(["nft", "list", "ruleset"]) == before


@pytest.mark.parametrize("mode", NFTABLES, ids=str)
def test_what_others_have_removed_is_missed_by_no_change(mode: Mode) -> None:
    with bench(mode) as node:
        cluster = filled(node)
        plan, backend = node.proxy.plans[Family.IPV4], node.backends[Family.IPV4]
        name, former = next((n, p) for n, p in plan.services.items() if p.has_endpoints)
        others = {other: p for other, p in plan.services.items() if other != name}
        smaller = Plan(settings=plan.settings, services=others)
        run(["nft", "flush map ip kube-proxy service-ips"])
        report = backend.sync(smaller, Delta(before={name: former}))
        assert report.full
        assert backend.intact()
        backend.sync(plan, Delta(before={name: None}))
        assert node.state() == fresh_state(mode, cluster.objects.values())


@pytest.mark.parametrize("mode", NFTABLES, ids=str)
def test_a_table_that_belongs_to_a_process_is_named_with_it(mode: Mode) -> None:
    with (
        bench(mode) as node,
        subprocess.Popen(["nft", "--interactive"], stdin=subprocess.PIPE) as nft,
    ):
        assert nft.stdin
        nft.stdin.write(b"add table ip kube-proxy { flags owner; }\n")
        nft.stdin.flush()
        until("the table is there", lambda: "kube-proxy" in run(["nft", "list", "tables"]))
        with pytest.raises(SyncFailed, match="flag `owner`") as refusal:
            node.sync(BEFORE)
        assert f"pid {nft.pid}" in refusal.value.remedy
        assert "flag `owner`" in str(cleanup(CONFIG, IPTABLES[0].options))
