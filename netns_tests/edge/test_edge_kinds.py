"""Dedicated load balancers, where pods have addresses of the VPC; the DNAT gateway."""

from __future__ import annotations

import pytest

from kproxy.api.types import Protocol
from kproxy.forwarding.network import Packet
from kproxy.lab.names import DNAT
from netns_tests.edge.edge_lab import (
    ELB,
    V4,
    V6,
    apply,
    listener,
    pod,
    pods,
    running,
    sources,
    spec,
    web,
)

PODS = {
    "node-a": (pod("web-a", "web"), pod("side")),
    "node-b": (pod("web-b", "web"),),
    "node-c": (),
}
GATEWAY = {f"{ELB}class": "dnat"}
SILENT = "timed out"
PROTOCOLS: tuple[Protocol, ...] = ("TCP", "UDP")


@pytest.mark.parametrize("policy", ["Local", "Cluster"])
@pytest.mark.parametrize("network", ["eni", "eni-shared"])
def test_a_dedicated_one_attaches_pods(network: str, policy: str) -> None:
    with running(spec(network, PODS)) as lab:
        apply(lab, web(policy, annotations={f"{ELB}class": "performance"}))
        assert [str(each.backend) for each in listener(lab).backends] == [
            f"{lab.pods[name].addresses[V4]}:8080" for name in ("web-a", "web-b")
        ]
        for family in (V4, V6):
            address = lab.balancers["elb"].public[family]
            for protocol in PROTOCOLS:
                assert pods(lab, "outside", address, 4, protocol) == ["web-a", "web-b"] * 2
            seen = sources(lab, [Packet(client="outside", address=address, port=80)])
            assert seen == [lab.clients["outside"].addresses[family]]


@pytest.mark.parametrize("policy", ["Local", "Cluster"])
def test_the_dnat_gateway_is_for_the_outside(policy: str) -> None:
    annotations = GATEWAY | {f"{ELB}pass-through": "true"}
    with running(spec("vpc", PODS)) as lab:
        apply(lab, web(policy, annotations))
        nodes = ("node-a", "node-b") if policy == "Local" else ("node-a", "node-b", "node-c")
        assert listener(lab).healthy == nodes
        addresses = {each: listener(lab, family=each).listener.address for each in (V4, V6)}
        packets = [
            Packet(client=client, address=address, port=80, protocol=protocol)
            for client in ("node-a", "node-c", "side", "web-b")
            for address in addresses.values()
            for protocol in PROTOCOLS
        ]
        assert sources(lab, packets) == [SILENT] * len(packets)
        for family, address in addresses.items():
            for protocol in PROTOCOLS:
                packet = Packet(client="outside", address=address, port=80, protocol=protocol)
                (seen,) = sources(lab, [packet])
                assert seen != SILENT
                if policy == "Local":
                    assert seen == lab.clients["outside"].addresses[family]
                    assert pods(lab, "outside", address, 3, protocol) == ["web-b", "web-a", "web-b"]
        assert listener(lab).listener.key.place == DNAT
