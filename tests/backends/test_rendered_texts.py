"""Rendered texts that no recording has: nftables's flat layout, userspace mode, rivals; pure."""

from __future__ import annotations

import re

import pytest
from kproxy_nftables import NftablesOptions
from msgspec.structs import replace

from kproxy.backend import BackendOptions, Plan, Ruleset, load
from kproxy.versions import Version
from tests.forwarding import plans

ADDRESSES = frozenset({"192.168.10.11", "127.0.0.1", "10.1.1.1", "fd00::1", "fe80::1"})
SHOP = plans.Web(on=("pod-a", "pod-b"), external="Local", source_ranges=("198.51.100.0/24",))
WIKI = plans.Web(name="wiki", cluster_ip="10.96.0.11", vips=(), node_port=30081)  # same external IP
FLAT = NftablesOptions(nftables_layout="flat")
FLAT_TABLE = {
    "chain reject-chain": ("reject",),
    "chain filter-forward": ("ct state new ip daddr @checked-ips jump checked-ips-check",),
    "chain source-ranges-check": (
        "ip daddr . meta l4proto . th dport . ip saddr != @source-ranges drop",
    ),
    "chain local-lb-tcp-1": (
        "jump short-circuit",
        "dnat ip to ip daddr . tcp dport . numgen random mod 1 map @local-endpoints-tcp",
    ),
    "chain nodeport-masq-lb-tcp-1": (
        "meta mark set meta mark | 0x00004000",
        "goto nodeport-lb-tcp-1",
    ),
    "chain nodeport-lb-tcp-1": (
        "dnat ip to tcp dport . numgen random mod 1 map @nodeport-endpoints-tcp",
    ),
    "set hairpin-connections": ("10.244.1.5 . 10.244.1.5 . tcp . 8080",),
    "set nodeport-ips": ("192.168.10.11",),
    "set source-ranges": ("198.51.100.9 . tcp . 80 . 198.51.100.0/24",),
    "map firewall-ips": ("198.51.100.9 . tcp . 80 : jump source-ranges-check",),
    "map service-ips": (
        "198.51.100.7 . tcp . 80 : goto local-lb-tcp-1",
        "198.51.100.9 . tcp . 80 : goto local-lb-tcp-1",
        "10.96.0.10 . tcp . 80 : goto lb-tcp-2",
        "10.96.0.11 . tcp . 80 : goto lb-tcp-1",
    ),
    "map service-nodeports": (
        "tcp . 30080 : goto nodeport-local-lb-tcp-1",
        "tcp . 30081 : goto nodeport-masq-lb-tcp-1",
    ),
    "map nodeport-endpoints-tcp": (
        "30080 . 0 : 10.244.1.5 . 8080",
        "30081 . 0 : 10.244.2.5 . 8080",
        "30080 . 1 : 10.244.2.5 . 8080",
    ),
    "map endpoints-udp": (),
}


def rendered(mode: str, plan: Plan) -> Ruleset:
    render = load(mode).render
    assert render
    return render(plan, ADDRESSES)


def flat(*web: plans.Web) -> Plan:
    selected = ("192.168.10.0/24", "127.0.0.0/8")
    return plans.plan(web, plans.settings("node-a", node_port_addresses=selected, options=FLAT))


def test_the_flat_layout_of_nftables_mode() -> None:
    table = rendered("nftables", flat(SHOP, WIKI))["kube-proxy"]
    assert {name: table[name] for name in FLAT_TABLE} == FLAT_TABLE
    shared = [name for name in table if "lb-tcp-" in name]
    assert shared == sorted(shared)


@pytest.mark.parametrize(
    ("version", "rule"),
    [
        (Version.V1_36, "dnat ip to numgen random mod 1 map { 0 : 10.244.2.5 . 8080 }"),
        (Version.V1_37, "dnat to 10.244.2.5:8080"),
    ],
)
def test_the_version_of_the_plan_counts(version: Version, rule: str) -> None:
    plan = plans.plan([WIKI], replace(plans.settings("node-a"), emulate=version))
    table = rendered("nftables", plan)["kube-proxy"]
    (own,) = (table[name] for name in table if re.match("chain service-.*/wiki/", name))
    assert own == (f"meta l4proto tcp {rule}",)


@pytest.mark.parametrize(
    ("mode", "options"),
    [
        ("iptables", plans.NO_OPTIONS),
        ("ipvs", plans.NO_OPTIONS),
        ("nftables", plans.NO_OPTIONS),
        ("nftables", FLAT),
        ("userspace", plans.NO_OPTIONS),
    ],
)
def test_the_order_of_services_says_nothing(mode: str, options: BackendOptions) -> None:
    """The first by name has what both claim. What is printed is in the same order as well."""
    late = replace(SHOP, name="late", cluster_ip="10.96.0.12", node_port=30082)
    plan = plans.plan((SHOP, WIKI, late), plans.settings("node-a", options=options))
    backwards = replace(plan, services=dict([*plan.services.items()][::-1]))
    assert repr(rendered(mode, plan)) == repr(rendered(mode, backwards))


def test_userspace_mode() -> None:
    """No socket for SCTP; node ports only on the node's own addresses of the family."""
    signal = plans.Web(name="signal", protocol="SCTP", cluster_ip="10.96.0.12", node_port=30082)
    dropped = plans.Web(
        name="x", cluster_ip="10.96.0.13", external="Local", vips=(), external_ips=(), node_port=7
    )
    kept = replace(SHOP, affinity_timeout_s=10)
    plan = plans.plan((kept, WIKI, signal, dropped), plans.settings("node-a"))
    assert rendered("userspace", plan) == {
        "addresses": {
            "lo": (
                "10.96.0.10",
                "10.96.0.11",
                "10.96.0.12",
                "10.96.0.13",
                "198.51.100.7",
                "198.51.100.9",
            )
        },
        "listeners": {
            "10.1.1.1:30080/TCP": ("affinity 10 s", "10.244.1.5:8080"),
            "10.1.1.1:30081/TCP": ("10.244.2.5:8080",),
            "10.1.1.1:7/TCP": ("silence",),
            "10.96.0.10:80/TCP": ("affinity 10 s", "10.244.1.5:8080", "10.244.2.5:8080"),
            "10.96.0.11:80/TCP": ("10.244.2.5:8080",),
            "10.96.0.13:80/TCP": ("10.244.2.5:8080",),
            "192.168.10.11:30080/TCP": ("affinity 10 s", "10.244.1.5:8080"),
            "192.168.10.11:30081/TCP": ("10.244.2.5:8080",),
            "192.168.10.11:7/TCP": ("silence",),
            "198.51.100.7:80/TCP": ("affinity 10 s", "10.244.1.5:8080"),
            "198.51.100.9:80/TCP": ("from 198.51.100.0/24", "affinity 10 s", "10.244.1.5:8080"),
        },
    }
