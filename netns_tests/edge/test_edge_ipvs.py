"""The edge on a kernel with legacy iptables, in front of nodes in ipvs mode."""

from __future__ import annotations

import pytest

from kproxy.forwarding.network import Packet
from netns_tests.edge.edge_lab import (
    ALIBABA,
    ELB,
    V4,
    Held,
    apply,
    listener,
    pod,
    pods,
    running,
    sources,
    spec,
    web,
)
from netns_tests.modes import Mode
from netns_tests.run.running import until

PODS = {"node-a": (pod("web-a", "web"),), "node-b": (pod("web-b", "web"), pod("shell"))}


@pytest.mark.ipvs
def test_ipvs() -> None:
    wanted = spec("tunnel", PODS, families=(V4,))
    with running(wanted, Mode("ipvs", "legacy")) as lab:
        apply(lab, web(families=(V4,)))
        address = lab.balancers["lb"].public[V4]
        for protocol in ("TCP", "UDP"):
            assert pods(lab, "outside", address, 4, protocol) == ["web-a", "web-b"] * 2
        packets = [
            Packet(client=client, address=address, port=80) for client in ("outside", "shell")
        ]
        assert sources(lab, packets) == [
            lab.clients["outside"].addresses[V4],
            lab.nodes["node-b"].public[V4],
        ]
        lab.stop_proxy("node-a")
        until("one node is healthy", lambda: listener(lab).healthy == ("node-b",))
        assert pods(lab, "outside", address, 2) == ["web-b"] * 2
        lab.start_proxy("node-a")
        apply(lab, web(families=(V4,), annotations={f"{ALIBABA}persistence-timeout": "60"}))
        until("both nodes are healthy", lambda: listener(lab).healthy == ("node-a", "node-b"))
        assert len(set(pods(lab, "outside", address, 4))) == 1
        least = {f"{ELB}lb-algorithm": "LEAST_CONNECTIONS"}
        apply(lab, web(families=(V4,), annotations=least))
        with Held(lab) as held:

            def loads() -> list[int]:
                return [each.connections for each in listener(lab).backends]

            held.open("outside", address)
            until("the load is known", lambda: loads() == [1, 0])
            held.open("outside", address)
            until("the load is known", lambda: loads() == [1, 1])
            held.sockets[0].close()
            until("the load is known", lambda: loads() == [0, 1])
            held.open("outside", address)
            until("the load is known", lambda: loads() == [1, 1])
