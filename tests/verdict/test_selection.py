"""The reasons tell why there are not more endpoints: readiness and hints."""

from __future__ import annotations

import re
from typing import Any

import pytest

from kproxy.api import manifests
from kproxy.api.typed_kinds import KINDS
from kproxy.backend.configuration import checked_configuration
from kproxy.verdict.places import parse_place
from kproxy.verdict.question import NodeProxy

CLUSTER_IP, NODE_PORT = "10.96.0.10:80", "192.168.10.11:30080"
CLUSTER = """
apiVersion: v1
kind: Node
metadata: {{name: node-a, labels: {{topology.kubernetes.io/zone: za}}}}
status: {{addresses: [{{type: InternalIP, address: 192.168.10.11}}]}}
---
apiVersion: v1
kind: Service
metadata: {{name: web, namespace: shop}}
spec:
  type: NodePort
  clusterIP: 10.96.0.10
  clusterIPs: [10.96.0.10]
  externalTrafficPolicy: Local
  ports: [{{port: 80, nodePort: 30080}}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: web, namespace: shop, labels: {{kubernetes.io/service-name: web}}}}
addressType: IPv4
ports: [{{name: "", port: 8080}}]
endpoints:
- {{addresses: [10.244.1.5], nodeName: node-a, {}}}
- {{addresses: [10.244.2.5], nodeName: node-b, {}}}
"""
READY = "conditions: {ready: true}"
HERE = "hints: {forNodes: [{name: node-a}]}"
ELSEWHERE = "hints: {forNodes: [{name: node-b}]}"
ZONE_A = "hints: {forZones: [{name: za}]}"
ZONE_B = "hints: {forZones: [{name: zb}]}"
ENDS = "conditions: {ready: false, serving: true, terminating: true}"
UNREADY = "conditions: {ready: false}"
TOLD = [  # both endpoints, place -> the last reason
    (HERE, ELSEWHERE, CLUSTER_IP, "of 2 ready endpoints, only .* node node-a .forNodes."),
    (ZONE_A, ZONE_B, CLUSTER_IP, "of 2 ready endpoints, only .* zone za .forZones."),
    (ENDS, ENDS, CLUSTER_IP, "none of its endpoints is ready: .* still serve as they end"),
    (ENDS, READY, NODE_PORT, "none of its endpoints on node-a is ready: .* still serve"),
    (UNREADY, UNREADY, CLUSTER_IP, "shop/web has endpoints, 2 of them, but none is ready"),
    (UNREADY, UNREADY, NODE_PORT, "shop/web has endpoints, 2 of them, but none is ready"),
]
NOT_TOLD = [
    (READY, READY, CLUSTER_IP),
    (READY, UNREADY, CLUSTER_IP),
    (ZONE_A, ZONE_A, CLUSTER_IP),
    (ELSEWHERE, ELSEWHERE, CLUSTER_IP),
    (HERE, ELSEWHERE, NODE_PORT),  # that is the policy
]


def reasons(first: str, second: str, place: str, mode: str, *, port: str = "") -> tuple[str, ...]:
    text = CLUSTER.format(first, second).replace('name: ""', f'name: "{port}"')
    decoded = manifests.decode_texts({"cluster.yaml": text}, KINDS)
    assert not decoded.problems
    given: dict[str, Any] = {"mode": mode}
    proxy = NodeProxy(decoded.objects, checked_configuration(None, given), "node-a")
    return proxy.answer("external", parse_place(place)).verdict.reasons


@pytest.mark.parametrize("mode", ["iptables", "nftables", "ipvs", "userspace"])
@pytest.mark.parametrize(("first", "second", "place", "said"), TOLD)
def test_what_leaves_endpoints_out(
    first: str, second: str, place: str, said: str, mode: str
) -> None:
    found = reasons(first, second, place, mode)
    assert len(found) == 3
    assert re.search(said, found[-1])


@pytest.mark.parametrize("mode", ["iptables", "nftables", "ipvs", "userspace"])
@pytest.mark.parametrize(("first", "second", "place"), NOT_TOLD)
def test_nothing_is_told_of_what_has_no_effect(
    first: str, second: str, place: str, mode: str
) -> None:
    assert len(reasons(first, second, place, mode)) == 2


@pytest.mark.parametrize("mode", ["iptables", "nftables", "ipvs", "userspace"])
def test_a_port_that_has_another_name(mode: str) -> None:
    found = reasons(READY, READY, CLUSTER_IP, mode, port="http")
    assert found[-1] == "its EndpointSlices have the ports http/TCP, and not (no name)/TCP"


def test_slices_without_endpoints() -> None:
    text = CLUSTER.partition("endpoints:")[0].format()
    decoded = manifests.decode_texts({"cluster.yaml": text + "endpoints: []"}, KINDS)
    proxy = NodeProxy(decoded.objects, checked_configuration(None), "node-a")
    verdict = proxy.answer("external", parse_place(CLUSTER_IP)).verdict
    assert "has no endpoints anywhere" in verdict.reasons[-1]
