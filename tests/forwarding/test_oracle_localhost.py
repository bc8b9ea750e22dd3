"""The oracle's predictions for node ports on loopback addresses, in nftables mode."""

from __future__ import annotations

import pytest
from msgspec import structs

from kproxy.address import Family
from kproxy.backend import rules_of
from kproxy.forwarding.oracle import predict
from kproxy.forwarding.plan import LoopbackNodePorts, Plan
from tests.forwarding.plans import NETWORK, NODES, WEB_6, Web, plan, settings
from tests.forwarding.wording import ask, packet

IGNORED, REJECTED, SERVED = LoopbackNodePorts
WEB = Web(on=("pod-a", "pod-b"))
FOR_LOCAL = structs.replace(WEB, external="Local")
ELSEWHERE = Web(on=("pod-b",), external="Local")
CLOSED = Web(on=("pod-b",), source_ranges=("192.0.2.0/24",), internal="Local")
BROKEN = Web(on=("pod-a", "10.9.9.9:80"))


def plans_for(fate: LoopbackNodePorts, web: Web, family: Family = Family.IPV4) -> dict[str, Plan]:
    return {
        node: plan([web], structs.replace(settings(node, family=family), loopback_node_ports=fate))
        for node in NODES
    }


ASKED = [  # the fate of packets, Service, protocol, client, asks -> outcome
    (SERVED, WEB, "TCP", "node-a", "127.0.0.1:30080", "pod-a sees gw-a, pod-b sees node-a"),
    (SERVED, WEB, "TCP", "node-c", "127.0.0.1:30080", "pod-a sees node-c, pod-b sees node-c"),
    (SERVED, FOR_LOCAL, "TCP", "node-a", "127.0.0.1:30080", "pod-a sees gw-a"),
    (SERVED, ELSEWHERE, "TCP", "node-a", "127.0.0.1:30080", "refused by node-a"),
    (SERVED, ELSEWHERE, "TCP", "node-b", "127.0.0.1:30080", "pod-b sees gw-b"),
    (SERVED, CLOSED, "TCP", "node-a", "127.0.0.1:30080", "pod-b sees node-a"),
    (SERVED, Web(on=()), "TCP", "node-a", "127.0.0.1:30080", "refused by node-a"),
    # A client is accepted first, then hears that nobody is there.
    (SERVED, BROKEN, "TCP", "node-a", "127.0.0.1:30080", "pod-a sees gw-a, 10.9.9.9:80 refused"),
    (SERVED, WEB, "TCP", "node-a", "127.0.0.2:30080", "refused by node-a"),
    (SERVED, WEB, "TCP", "node-a", "127.0.0.1:9100", "node-a sees 127.0.0.1"),
    (SERVED, WEB, "UDP", "node-a", "127.0.0.1:30080", "refused by node-a"),
    (SERVED, WEB, "SCTP", "node-a", "127.0.0.1:30080", "refused by node-a"),
    (REJECTED, WEB, "TCP", "node-a", "127.0.0.1:30080", "refused by node-a"),
    (REJECTED, WEB, "TCP", "node-a", "127.9.9.9:30080", "refused by node-a"),
    (REJECTED, WEB, "UDP", "node-a", "127.0.0.1:30080", "refused by node-a"),
    # A process of the node has the very port: only rules can keep it from clients.
    (REJECTED, Web(node_port=9100), "TCP", "node-a", "127.0.0.1:9100", "refused by node-a"),
    (IGNORED, Web(node_port=9100), "TCP", "node-a", "127.0.0.1:9100", "node-a sees 127.0.0.1"),
    (IGNORED, WEB, "TCP", "node-a", "127.0.0.1:30080", "refused by node-a"),
    # Others are not concerned.
    (REJECTED, WEB, "TCP", "pod-a", "127.0.0.1:30080", "refused by pod-a"),
    (REJECTED, WEB, "TCP", "pod-a", "127.0.0.1:8080", "pod-a sees 127.0.0.1"),
    (REJECTED, WEB, "TCP", "outside", "node-a:30080", "pod-a sees gw-a, pod-b sees node-a"),
    (SERVED, WEB, "TCP", "node-a", "node-a:30080", "pod-a sees gw-a, pod-b sees node-a"),
]


@pytest.mark.parametrize(("fate", "web", "protocol", "client", "asks", "outcome"), ASKED)
def test_predictions(
    fate: LoopbackNodePorts, web: Web, protocol: str, client: str, asks: str, outcome: str
) -> None:
    plans = plans_for(fate, structs.replace(web, protocol=protocol))
    assert ask(plans, client, asks, protocol=protocol, mode="nftables") == outcome


@pytest.mark.parametrize(
    ("fate", "outcome"), [(SERVED, "pod-b sees node-a/6"), (REJECTED, "refused by node-a")]
)
def test_in_ipv6(fate: LoopbackNodePorts, outcome: str) -> None:
    plans = plans_for(fate, structs.replace(WEB_6, on=("pod-b",)), Family.IPV6)
    assert ask(plans, "node-a", "::1:30080", mode="nftables") == outcome


WHY = [  # the fate of packets, protocol -> why
    (
        SERVED,
        "TCP",
        (
            "node-a: node port 30080/TCP of shop/web:http on 127.0.0.1 is taken by the proxy's"
            " process, which connects to one of 2 endpoints: externalTrafficPolicy Cluster uses all"
            " endpoints, and each sees the node"
        ),
    ),
    (
        REJECTED,
        "UDP",
        (
            "node-a rejects it: node port 30080/UDP of shop/web:http is not served on 127.0.0.1"
            " (REJECT)"
        ),
    ),
]


@pytest.mark.parametrize(("fate", "protocol", "why"), WHY)
def test_why(fate: LoopbackNodePorts, protocol: str, why: str) -> None:
    plans = plans_for(fate, structs.replace(WEB, protocol=protocol))
    asked = packet("node-a", "127.0.0.1:30080", protocol=protocol)
    found = predict(NETWORK, plans, asked, rules_of("nftables"))
    assert found.why == why
    assert found.relay == ("node-a" if fate is SERVED else "")
