"""The backend reads, repairs and removes its own table, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from kproxy_nftables.names import TABLE

from kproxy.address import Family
from kproxy.kernel.process import run
from netns_tests.modes import FLAT, NFTABLES, Mode
from netns_tests.node import Bench, bench, filled, fresh_state

RECORDINGS = Path(__file__).parents[1] / "conformance" / "cases"
# With names that are ours in another table, and a table of our name in another family.
EDITS_TO_AFFINITY = 100  # kept until a Service remembers its clients
FOREIGN = """\
table ip mine {
    map service-ips { type ipv4_addr : verdict; elements = { 192.0.2.1 : drop } }
    chain services { ip daddr vmap @service-ips; }
    chain nat-prerouting { type nat hook prerouting priority -100; jump services; }
}
table inet kube-proxy {
    chain filter-input { type filter hook input priority 0; tcp dport 22 accept; }
}
"""


@pytest.mark.parametrize("mode", NFTABLES, ids=str)
def test_cleanup_removes_every_trace_and_nothing_else(mode: Mode) -> None:
    with bench(mode) as node:
        run(["nft", "-f", "-"], FOREIGN)
        before = run(["nft", "list", "ruleset"])
        filled(node)
        assert run(["nft", "list", "ruleset"]) != before
        for _ in range(2):  # the second time there is nothing
            for backend in node.backends.values():
                backend.cleanup()
            assert run(["nft", "list", "ruleset"]) == before


DAMAGE = [  # commands of another program
    "delete table ip kube-proxy",
    "flush table ip kube-proxy",
    "flush chain ip kube-proxy service-endpoints-check",
    "flush chain ip kube-proxy nat-prerouting; delete chain ip kube-proxy nat-prerouting",
    "flush set ip kube-proxy cluster-ips",
    "flush map ip kube-proxy service-ips",
    "add element ip kube-proxy cluster-ips { 192.0.2.1 }",
    "add rule ip kube-proxy nat-prerouting accept",
    "insert rule ip kube-proxy filter-forward drop",
]


@pytest.mark.parametrize("mode", NFTABLES, ids=str)
@pytest.mark.parametrize("harm", DAMAGE)
def test_damage_is_noticed_and_repaired(mode: Mode, harm: str) -> None:
    with bench(mode) as node:
        cluster = filled(node)
        assert node.proxy.damaged() == ()
        run(["nft", harm])
        assert node.proxy.damaged() == (Family.IPV4,)
        node.sync()
        assert node.proxy.damaged() == ()
        assert node.state() == fresh_state(mode, cluster.objects.values())


@pytest.mark.parametrize("mode", NFTABLES, ids=str)
def test_rules_of_other_programs_are_no_damage(mode: Mode) -> None:
    with bench(mode) as node:
        cluster = filled(node)
        run(["nft", "-f", "-"], FOREIGN)
        assert node.proxy.damaged() == ()
        cluster.edit()
        node.sync(cluster.objects.values())
        run(["nft", "delete table ip mine"])
        assert node.proxy.damaged() == ()


@pytest.mark.parametrize("mode", NFTABLES, ids=str)
def test_a_repair_writes_what_is_missing(mode: Mode) -> None:
    """Correct chains are not written again."""
    with bench(mode) as node:
        filled(node)
        run(["nft", "flush chain ip kube-proxy reject-chain"])
        assert node.proxy.damaged() == (Family.IPV4,)
        reports = node.proxy.sync()
        assert [report.rules_written for report in reports] == [{TABLE: 1}]


PREDECESSORS = {
    "kube-proxy": (RECORDINGS / "affinity-clientip/kube-proxy.nftables").read_text(),
    "kube-proxy with source ranges": (
        RECORDINGS / "loadbalancer-source-ranges/kube-proxy.nftables"
    ).read_text(),
    "another version": (  # chains hooked elsewhere, maps of other types
        "table ip kube-proxy {\n"
        " map service-ips { type ipv4_addr : verdict; elements = { 10.96.0.1 : goto old } }\n"
        " chain old { drop; }\n"
        " chain nat-prerouting { type nat hook prerouting priority -90; }\n"
        " chain services { type filter hook input priority 5; }\n"
        "}\n"
    ),
    "maps and chains for all protocols": (  # as kproxy's layout had them at first
        'table ip kube-proxy {\n comment "rules for kube-proxy"\n'
        " map endpoints {\n"
        "  typeof ip daddr . meta l4proto . th dport . numgen random mod 2 : ip daddr . th dport\n"
        "  elements = { 10.96.0.1 . tcp . 80 . 0 : 10.244.0.5 . 8080 }\n"
        " }\n"
        " map service-ips {\n"
        "  type ipv4_addr . inet_proto . inet_service : verdict\n"
        '  comment "ClusterIP, ExternalIP and LoadBalancer IP traffic"\n'
        "  elements = { 10.96.0.1 . tcp . 80 : goto lb-1 }\n"
        " }\n"
        " chain lb-1 {\n"
        "  dnat ip to ip daddr . meta l4proto . th dport . numgen random mod 1 map @endpoints\n"
        " }\n"
        " chain nat-prerouting {\n"
        "  type nat hook prerouting priority dstnat;\n"
        "  ip daddr . meta l4proto . th dport vmap @service-ips\n"
        " }\n"
        "}\n"
    ),
    "only rules of others": (
        'table ip kube-proxy {\n comment "rules for kube-proxy"\n chain mine { accept; }\n}\n'
    ),
}


@pytest.mark.parametrize("mode", NFTABLES, ids=str)
@pytest.mark.parametrize("predecessor", PREDECESSORS.values(), ids=PREDECESSORS)
def test_whatever_the_table_holds_is_taken_over(mode: Mode, predecessor: str) -> None:
    with bench(mode) as node:
        run(["nft", "-f", "-"], predecessor.partition("## sysctl")[0])
        cluster = filled(node)
        assert node.state() == fresh_state(mode, cluster.objects.values())


@pytest.mark.parametrize("former", NFTABLES, ids=lambda mode: f"from {mode.layout}")
@pytest.mark.parametrize("mode", NFTABLES, ids=lambda mode: f"to {mode.layout}")
def test_a_layout_takes_over_from_the_other(mode: Mode, former: Mode) -> None:
    """Layouts change back and forth, and follow themselves."""
    with bench(former) as node:
        cluster = filled(node)
        successor = Bench(mode)
        successor.sync(cluster.objects.values())
        assert successor.state() == fresh_state(mode, cluster.objects.values())
        Bench(former).sync(cluster.objects.values())
        assert node.state() == fresh_state(former, cluster.objects.values())


@pytest.mark.parametrize("mode", NFTABLES, ids=str)
def test_clients_stay_remembered(mode: Mode) -> None:
    """They stay when everything is written, by the same proxy or another, in either layout."""
    with bench(mode) as node:
        cluster = filled(node, edits=EDITS_TO_AFFINITY)
        listing = node.backends[Family.IPV4].read()[TABLE]
        affinity = next(name for name in listing if name.startswith("set affinity-"))
        run(["nft", f"add element ip kube-proxy {affinity.removeprefix('set ')} {{ 10.9.9.9 }}"])
        node.proxy.sync(full=True)
        for layout in (*NFTABLES, FLAT):
            Bench(layout).sync(cluster.objects.values())
        assert node.backends[Family.IPV4].read()[TABLE][affinity] == ("10.9.9.9",)


@pytest.mark.parametrize("mode", NFTABLES, ids=str)
def test_what_is_read_is_what_nft_prints(mode: Mode) -> None:
    with bench(mode) as node:
        filled(node)
        listing = node.backends[Family.IPV6].read()[TABLE]
        printed = run(["nft", "--stateless", "list", "table", "ip6", TABLE])
    for name, lines in listing.items():
        assert f"\t{name} {{\n" in printed
        assert all(" ".join(line.split()) in " ".join(printed.split()) for line in lines)
    assert listing["chain reject-chain"] == ("reject",)
    assert listing["set cluster-ips"]
