"""The effect of a rule, from its verdict and its text."""

from __future__ import annotations

import pytest

from kproxy.backend import load
from kproxy.explain.effects import effect_of, purpose_of
from kproxy.kernel.trace import Kind, TraceStep

IPTABLES = {
    # rule, verdict -> effect, purpose
    '-A KUBE-SERVICES -d 10.96.0.10/32 -m comment --comment "default/web:http cluster IP" '
    "-j KUBE-SVC-CDGG": ("jump KUBE-SVC-CDGG", "jump", "default/web:http cluster IP"),
    "-A KUBE-EXT-CDGG -j KUBE-SVC-CDGG": (
        "jump KUBE-SVC-CDGG",
        "jump",
        "chooses among all endpoints of the Service",
    ),
    "-A PREROUTING -j KUBE-SERVICES": ("jump KUBE-SERVICES", "", ""),
    '-A KUBE-NODE-PORT -m comment --comment "port for masquerade purpose" -j KUBE-MARK-MASQ': (
        "jump KUBE-MARK-MASQ",
        "jump",
        "port for masquerade purpose",
    ),
    "-A KUBE-SEP-A -p tcp -m tcp -j DNAT --to-destination 10.244.1.11:8080": (
        "accept",
        "dnat",
        "translates the destination",
    ),
    "-A X -p tcp -j REDIRECT --to-ports 80": ("accept", "dnat", "translates the destination"),
    "-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000": (
        "continue",
        "mark",
        "changes its mark",
    ),
    "-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN": ("return", "", ""),
    "-A KUBE-POSTROUTING -j MASQUERADE --random-fully": (
        "accept",
        "masquerade",
        "sets the source to an address of this host",
    ),
    "-A OUT -j SNAT --to-source 192.0.2.1": ("accept", "snat", "sets the source"),
    "-A KUBE-SERVICES -m comment --comment default/x -j REJECT --reject-with "
    "icmp-port-unreachable": ("drop", "reject", "default/x"),
    "-A KUBE-FW-A -m comment --comment masquerade -j DROP": ("drop", "drop", "masquerade"),
    "-A KUBE-FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT": (
        "accept",
        "accept",
        "lets it pass",
    ),
    "-A KUBE-SEP-A -m recent --set --name KUBE-SEP-A -j KUBE-MARK-MASQ": (
        "jump KUBE-MARK-MASQ",
        "affinity",
        "remembers the client",
    ),
}
NFTABLES = {
    "ip daddr . meta l4proto . th dport vmap @service-ips": (
        "goto service-ULMVA6XW-ns/web/tcp/http",
        "jump",
        "chooses among all endpoints of the Service",
    ),
    "ct state new jump firewall-check": ("jump firewall-check", "", ""),
    "meta l4proto tcp dnat ip to numgen random mod 1 map { 0 : 10.244.1.11 . 8080 }": (
        "accept",
        "dnat",
        "translates the destination",
    ),
    'meta mark set meta mark | 0x00004000 comment "masquerade"': ("continue", "mark", "masquerade"),
    "meta mark & 0x00004000 != 0 meta mark set meta mark ^ 0x00004000 masquerade fully-random": (
        "accept",
        "masquerade",
        "sets the source to an address of this host",
    ),
    "reject": ("drop", "reject", "refuses it with an answer"),
    "update @affinity-X { ip saddr }": ("continue", "affinity", "remembers the client"),
    "ct state invalid drop": ("drop", "drop", "drops it"),
    'tcp dport 22 accept comment "dnat masquerade"': ("accept", "accept", "dnat masquerade"),
}
ROWS = [
    *(("iptables", rule, *told) for rule, told in IPTABLES.items()),
    *(("nftables", rule, *told) for rule, told in NFTABLES.items()),
]


def step(verdict: str, kind: Kind = "rule") -> TraceStep:
    return TraceStep(
        order=1,
        family="ip",
        table="nat",
        chain="X",
        kind=kind,
        verdict=verdict,
        rule=1,
        packet=b"",
    )


@pytest.mark.parametrize(("mode", "rule", "verdict", "effect", "purpose"), ROWS)
def test_effects(mode: str, rule: str, verdict: str, effect: str, purpose: str) -> None:
    chains = load(mode).chains
    found = effect_of(step(verdict), rule, chains, base=False)
    assert (found, purpose_of(step(verdict), rule, found, chains)) == (effect, purpose)


def test_to_accept_in_a_base_chain_is_to_go_on() -> None:
    assert effect_of(step("accept"), "-A INPUT -j ACCEPT", {}, base=True) == ""
    assert effect_of(step("drop"), "-A INPUT -j DROP", {}, base=True) == "drop"


def test_policies_and_ends_of_chains() -> None:
    assert effect_of(step("drop", "policy"), "-P INPUT DROP", {}, base=True) == "drop"
    assert effect_of(step("accept", "policy"), "-P INPUT ACCEPT", {}, base=True) == ""
    assert effect_of(step("continue", "return"), "", {}, base=False) == ""


def test_a_mode_that_names_no_chains_shows_what_rules_do() -> None:
    rule = "-A MINE -j DNAT --to-destination 192.0.2.1:1"
    assert effect_of(step("accept"), rule, {}, base=False) == "dnat"
    assert effect_of(step("jump MINE"), "-A PREROUTING -j MINE", {}, base=True) == ""
