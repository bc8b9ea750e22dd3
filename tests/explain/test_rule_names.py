"""Names of rules in a sentence."""

from __future__ import annotations

import pytest

from kproxy.explain.rule_names import name_of
from kproxy.kernel.trace import TraceStep

NAMES = [  # table, chain, the rule as its tool prints it, its name
    (
        "filter",
        "KUBE-EXTERNAL-SERVICES",
        '-A KUBE-EXTERNAL-SERVICES -m comment --comment "web has no local endpoints" -j DROP',
        'filter KUBE-EXTERNAL-SERVICES "web has no local endpoints"',
    ),
    (  # no quotes around a comment without blanks
        "nat",
        "KUBE-SEP-X",
        "-A KUBE-SEP-X -p tcp -m comment --comment default/web:http -m tcp -j DNAT",
        'nat KUBE-SEP-X "default/web:http"',
    ),
    (
        "nat",
        "POSTROUTING",
        "-A POSTROUTING -s 10.244.1.0/24 -j MASQUERADE",
        "nat POSTROUTING: -s 10.244.1.0/24 -j MASQUERADE",
    ),
    (
        "nat",
        "POSTROUTING",
        f"-A POSTROUTING {'x' * 60}",
        f"nat POSTROUTING: {'x' * 60}",
    ),
    ("nat", "POSTROUTING", f"-A POSTROUTING {'x' * 61}", "nat POSTROUTING"),
    ("raw", "PREROUTING", "", "raw PREROUTING"),
    (
        "kube-proxy",
        "firewall-check",
        "ip daddr 10.96.0.10 drop comment \"dropped by 'loadBalancerSourceRanges'\"",
        "kube-proxy firewall-check \"dropped by 'loadBalancerSourceRanges'\"",
    ),
    (
        "kube-proxy",
        "nodeport-endpoints-check",
        "ip daddr @nodeport-ips meta l4proto . th dport vmap @no-endpoint-nodeports",
        "kube-proxy nodeport-endpoints-check, by map no-endpoint-nodeports",
    ),
    (
        "kube-proxy",
        "masquerading",
        "masquerade fully-random",
        "kube-proxy masquerading: masquerade fully-random",
    ),
    (  # a comment takes precedence over the map
        "kube-proxy",
        "services",
        'ip daddr . meta l4proto . th dport vmap @service-ips comment "cluster IPs"',
        'kube-proxy services "cluster IPs"',
    ),
]


@pytest.mark.parametrize(("table", "chain", "text", "name"), NAMES)
def test_names(table: str, chain: str, text: str, name: str) -> None:
    step = TraceStep(
        order=1,
        family="ip",
        table=table,
        chain=chain,
        kind="rule",
        verdict="drop",
        rule=1,
        packet=b"",
    )
    assert name_of(step, text) == name


def test_a_policy() -> None:
    step = TraceStep(
        order=1,
        family="ip",
        table="filter",
        chain="FORWARD",
        kind="policy",
        verdict="drop",
        rule=0,
        packet=b"",
    )
    assert name_of(step, "") == "filter FORWARD, its policy"
