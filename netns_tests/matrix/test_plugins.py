"""The table of network plugins, row by row, by real packets; and Flannel in ipvs mode."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from ipaddress import ip_network
from typing import Any, NamedTuple

import pytest

from kproxy.address import Family
from kproxy.forwarding.network import Packet
from kproxy.matrix.plugins import (
    PluginFinding,
    PluginStatement,
    Row,
    documented,
    measure_example,
    measure_plugins,
)
from kproxy.matrix.plugins.lab import PLAIN, port_of, running
from kproxy.probe import connect_many

V4 = Family.IPV4


class Proxies(NamedTuple):
    """`before_125`: policy Local without a local endpoint is refused, in ipvs mode."""

    mode: str
    flannel: str = "flannel-vxlan"
    before_125: bool = False

    def __str__(self) -> str:
        return f"{self.mode}-{self.flannel}{'-before-1.25' if self.before_125 else ''}"


Findings = Callable[[Proxies], Mapping[str, PluginFinding]]

# The access that each mode gives its nodes and pods in spite of policy Local, by its rules.
SHORT_CIRCUITS = {
    "iptables": ("route LOCAL traffic for", "pod traffic for"),
    "nftables": ("short-circuit local traffic", "short-circuit pod traffic"),
}
PROXIES = (
    Proxies("iptables"),
    Proxies("nftables"),
    Proxies("iptables", flannel="flannel-host-gw"),
    Proxies("ipvs", before_125=True),
)
STATEMENTS = [each for each in documented() if each.row is not Row.EXAMPLE]


def networks(proxies: Proxies) -> dict[str, str]:
    """Return both plugins; for ipvs mode, which is slow, only the one the document is about."""
    terway = {} if proxies.mode == "ipvs" else {"terway-eniip": "eni-shared"}
    return {"flannel": proxies.flannel, **terway}


@pytest.fixture(scope="module")
def findings() -> Findings:
    """Return a function that measures each cluster once."""

    @cache
    def measured(proxies: Proxies) -> Mapping[str, PluginFinding]:
        found = measure_plugins(
            proxies.mode,
            local_fallback=not proxies.before_125,
            networks=networks(proxies),
        )
        return {str(each.statement): each for each in found}

    return measured


def rows() -> list[Any]:
    return [
        pytest.param(
            proxies,
            statement,
            marks=[pytest.mark.ipvs] if proxies.mode == "ipvs" else [],
            id=f"{proxies}-{statement}".replace(" ", "-"),
        )
        for proxies in PROXIES
        for statement in STATEMENTS
        if statement.plugin in networks(proxies)
    ]


@pytest.mark.parametrize(("proxies", "statement"), rows())
def test_row(findings: Findings, proxies: Proxies, statement: PluginStatement) -> None:
    """Only kube-proxy before 1.25 in ipvs mode applies policy Local to nodes and pods."""
    finding = findings(proxies)[str(statement)]
    assert not finding.disappoints, finding
    exempt = not proxies.before_125 and (statement.policy, statement.row) == ("Local", Row.INSIDE)
    assert finding.agrees == (not exempt), finding
    if exempt:
        assert all(each in finding.unreproducible for each in SHORT_CIRCUITS[proxies.mode])


@pytest.mark.ipvs
def test_named_example() -> None:
    finding = measure_example()[-1]
    assert finding.agrees
    assert finding.evidence == (
        "before 1.25: reached from node-a node-b; from node-c node-d node-e: refused",
        "since 1.25: reached from every node: node-a node-b node-c node-d node-e",
    )


CLIENT, TUNNEL, SILENT = "outside-1", "tunnel device", "timed out"
# the source that the pod sees by node port of a node with a pod, and of one without
TRAP = [
    pytest.param("ipvs", "flannel-vxlan", CLIENT, TUNNEL, marks=pytest.mark.ipvs),
    ("iptables", "flannel-vxlan", CLIENT, SILENT),
    ("nftables", "flannel-vxlan", CLIENT, SILENT),
]


@pytest.mark.parametrize(("mode", "network", "with_pod", "without"), TRAP)
def test_flannel_makes_a_cluster_of_local(
    mode: str, network: str, with_pod: str, without: str
) -> None:
    """ipvs mode forwards requests at a node without pods with the client's address. Only Flannel's
    rule for traffic into the pods' range makes them succeed, and changes the source.
    """
    with running(network, mode, services=(PLAIN,)) as lab:
        port = 30000 + port_of(PLAIN, "Local")
        node = lab.nodes["node-c"]
        names = {
            lab.clients[CLIENT].addresses[V4]: CLIENT,
            str(ip_network(node.subnets[V4]).network_address): TUNNEL,
        }
        asked = [
            Packet(client=CLIENT, address=lab.nodes[each].public[V4], port=port)
            for each in ("node-a", "node-c")
            for _ in range(4)
        ]
        seen = [
            names[each.source] if each.success else str(each) for each in connect_many(lab, asked)
        ]
        assert seen == [with_pod] * 4 + [without] * 4
