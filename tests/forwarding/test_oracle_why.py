"""The oracle's explanations, and the questions it cannot answer."""

from __future__ import annotations

import pytest

from kproxy.backend import rules_of
from kproxy.errors import BadInput
from kproxy.forwarding.network import Network, Packet
from kproxy.forwarding.oracle import predict
from tests.forwarding.plans import (
    NETWORK,
    Web,
    plans_for,
)
from tests.forwarding.wording import packet

RULES = rules_of("iptables")

WHY = [  # web, client, asks -> words that must be in the explanation
    (
        Web(external="Local", on=("pod-a",)),
        "outside",
        "node-b:30080",
        (
            "node-b drops it: node port 30080/TCP of shop/web:http has endpoints, but none on this "
            "node, and externalTrafficPolicy Local uses only endpoints on this node (DROP)"
        ),
    ),
    (
        Web(external="Local", on=("pod-c",)),
        "pod-a",
        "node-b:30080",
        (
            "node-b: node port 30080/TCP of shop/web:http is translated to its only endpoint: "
            "externalTrafficPolicy Local lets pods use all endpoints and keep their address; "
            "pod-c answers, but the reply bypasses node-b, so the client does not know it"
        ),
    ),
    (
        Web(on=("pod-a", "pod-b")),
        "pod-a",
        "cluster-ip:80",
        (
            "node-a: cluster IP 10.96.0.10:80/TCP of shop/web:http is translated to one of 2 "
            "endpoints: internalTrafficPolicy Cluster uses all endpoints and a local pod keeps its "
            "address; 10.244.1.5:8080 asks itself (hairpin) and sees 10.244.1.1"
        ),
    ),
    (
        Web(source_ranges=("198.18.0.0/15",)),
        "outside",
        "vip:80",
        (
            "node-a drops it: loadBalancerSourceRanges of load balancer IP 198.51.100.9:80/TCP of "
            "shop/web:http do not allow 203.0.113.9"
        ),
    ),
    (
        Web(on=()),
        "node-a",
        "external-ip:80",
        (
            "node-a does not refuse its own processes, though external IP 198.51.100.7:80/TCP of "
            "shop/web:http has no endpoints anywhere (REJECT); node-a drops a packet that comes in "
            "from 192.168.0.11, an address of its own (martian source)"
        ),
    ),
]


@pytest.mark.parametrize(("web", "client", "asks", "why"), WHY)
def test_why(web: Web, client: str, asks: str, why: str) -> None:
    assert predict(NETWORK, plans_for(web), packet(client, asks), RULES).why == why


def test_bad_questions_are_bad_input() -> None:
    with pytest.raises(BadInput, match="no host called 'pod-x'"):
        predict(NETWORK, {}, Packet(client="pod-x", address="10.96.0.10", port=80), RULES)
    lonely = Network(hosts={"outside": NETWORK.hosts["outside"]}, routes={})
    with pytest.raises(BadInput, match="exactly one router"):
        predict(
            lonely,
            {},
            Packet(client="outside", address="10.96.0.10", port=80),
            RULES,
        )
