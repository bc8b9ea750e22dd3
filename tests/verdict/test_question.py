"""The question: which place, which node's proxy, and what that one leaves alone."""

from __future__ import annotations

import re
from typing import Any

import pytest

from kproxy.api import manifests
from kproxy.api.types import KubernetesObject
from kproxy.backend.configuration import checked_configuration
from kproxy.errors import BadInput
from kproxy.verdict.decision import Action, Verdict
from kproxy.verdict.question import NodeProxy, Place, parse_place

PLACES = [  # text -> address, port, protocol
    ("10.96.0.10:80/TCP", "10.96.0.10", 80, "TCP"),
    ("10.96.0.10:53/udp", "10.96.0.10", 53, "UDP"),
    ("010.096.0.010:80", "10.96.0.10", 80, "TCP"),
    ("[fd00:96::a]:80/SCTP", "fd00:96::a", 80, "SCTP"),
    ("fd00:96::a:80/TCP", "fd00:96::a", 80, "TCP"),
]


@pytest.mark.parametrize(("text", "address", "port", "protocol"), PLACES)
def test_a_place_is_read(text: str, address: str, port: int, protocol: str) -> None:
    assert parse_place(text) == Place(address=address, port=port, protocol=protocol)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("10.96.0.10", "10.96.0.10 has no port"),
        ("10.96.0.10/UDP", "10.96.0.10 has no port"),
        ("10.96.0.10:http", "'http' is not a port"),
        ("web:80/TCP", "'web' is not an IP address"),
        ("10.96.0.10:0/TCP", "'0' is not a port"),
        ("10.96.0.10:65536/TCP", "'65536' is not a port"),
        ("10.96.0.10:80/ICMP", "'ICMP' is not one of TCP, UDP, SCTP"),
        ("10.96.0.10:80/", "'' is not one of"),
    ],
)
def test_another_text_is_no_place(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=re.escape(problem)):
        parse_place(text)


NODES = """
apiVersion: v1
kind: Node
metadata: {name: node-a}
spec: {podCIDRs: [10.244.1.0/24]}
status: {addresses: [{type: InternalIP, address: 192.168.10.11}]}
---
apiVersion: v1
kind: Node
metadata: {name: node-b}
spec: {podCIDRs: [10.244.2.0/24]}
status: {addresses: [{type: InternalIP, address: 192.168.10.12}]}
"""
SERVICES = """
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec:
  type: NodePort
  clusterIP: 10.96.0.10
  externalTrafficPolicy: Local
  ports: [{port: 80, nodePort: 30080}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, namespace: shop, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{port: 8080}]
endpoints: [{addresses: [10.244.2.5], nodeName: node-b}]
---
apiVersion: v1
kind: Service
metadata: {name: other, namespace: shop, labels: {service.kubernetes.io/service-proxy-name: mesh}}
spec: {clusterIP: 10.96.0.11, ports: [{port: 80}]}
---
apiVersion: networking.k8s.io/v1
kind: ServiceCIDR
metadata: {name: kubernetes}
spec: {cidrs: [10.96.0.0/16]}
"""
ONE_NODE = NODES.partition("---")[0]


def objects(*texts: str) -> tuple[KubernetesObject, ...]:
    decoded = manifests.decode_texts({f"{i}.yaml": text for i, text in enumerate(texts)})
    assert not decoded.problems
    return decoded.objects


def ask(
    sender: str,
    place: str,
    node: str = "node-a",
    *texts: str,
    ips: tuple[str, ...] = (),
    **config: Any,
) -> Verdict:
    configuration = checked_configuration(None, {"clusterCIDR": "10.244.0.0/16"} | config)
    there = objects(*(texts or (NODES, SERVICES)))
    return NodeProxy(there, configuration, node, ips).answer(sender, parse_place(place)).verdict


FORWARD, REJECT, DROP, PASS = Action.FORWARD, Action.REJECT, Action.DROP, Action.PASS
SEEN = [  # mode, sender, place, node -> verdict, masquerade, in the reasons
    ("iptables", "external", "10.96.0.10:80", "node-a", FORWARD, True, "no local pod"),
    ("iptables", "10.244.2.9", "10.96.0.10:80", "node-a", FORWARD, False, "keeps its address"),
    ("iptables", "10.244.2.5", "10.96.0.10:80", "node-b", FORWARD, True, "hairpin"),
    ("nftables", "10.244.2.5", "10.96.0.10:80", "node-b", FORWARD, True, "hairpin"),
    ("nftables", "10.244.2.5", "10.96.0.10:80", "node-a", FORWARD, False, "keeps its address"),
    ("iptables", "external", "192.168.10.11:30080", "node-a", DROP, False, "none on this node"),
    ("iptables", "pod", "192.168.10.11:30080", "node-a", FORWARD, False, "lets pods use all"),
    ("iptables", "node", "192.168.10.11:30080", "node-a", FORWARD, True, "masqueraded"),
    ("iptables", "external", "192.168.10.12:30080", "node-b", FORWARD, False, "source is kept"),
    ("iptables", "external", "192.168.10.12:30080", "node-a", PASS, False, "none of node-a"),
    ("iptables", "external", "127.0.0.1:9", "node-a", DROP, False, "KUBE-FIREWALL"),
    ("iptables", "pod", "10.96.0.10:81", "node-a", PASS, False, "with 80/TCP and not 81/TCP"),
    ("nftables", "pod", "10.96.0.10:81", "node-a", REJECT, False, "has no port 81/TCP"),
    ("iptables", "pod", "10.96.0.99:80", "node-a", PASS, False, "no Service of this proxy"),
    ("nftables", "pod", "10.96.0.99:80", "node-a", DROP, False, "ServiceCIDR 10.96.0.0/16"),
    ("iptables", "pod", "10.96.0.11:80", "node-a", PASS, False, "leaves to the proxy 'mesh'"),
    ("ipvs", "external", "192.168.10.11:30080", "node-a", FORWARD, False, "those of other nodes"),
    ("userspace", "pod", "10.96.0.10:80", "node-a", FORWARD, True, "each sees the node"),
]


@pytest.mark.parametrize(("mode", "sender", "place", "node", "action", "masquerade", "words"), SEEN)
def test_a_verdict_has_its_reasons(
    mode: str, sender: str, place: str, node: str, action: Action, masquerade: bool, words: str
) -> None:
    verdict = ask(sender, place, node, mode=mode)
    assert (verdict.action, verdict.masquerade) == (action, masquerade)
    assert bool(verdict.endpoints) == (action is FORWARD)
    assert words in "\n".join(verdict.reasons)


def test_the_node_is_the_one_of_the_configuration_or_the_only_one() -> None:
    named = ask("node", "10.96.0.10:80", "", hostnameOverride="NODE-B")
    assert "192.168.10.12" in named.reasons[0]
    assert "192.168.10.11" in ask("node", "10.96.0.10:80", "", ONE_NODE).reasons[0]
    with pytest.raises(BadInput, match="one of node-a, node-b"):
        ask("node", "10.96.0.10:80", "")


def test_a_bind_address_is_that_of_the_node_that_the_configuration_names() -> None:
    own: dict[str, Any] = {"hostnameOverride": "node-a", "bindAddress": "192.168.77.1"}
    assert "192.168.77.1" in ask("node", "10.96.0.10:80", "node-a", **own).reasons[0]
    assert "192.168.10.12" in ask("node", "10.96.0.10:80", "node-b", **own).reasons[0]


def test_a_node_without_an_object_has_the_addresses_that_are_given() -> None:
    def asked(ips: tuple[str, ...]) -> Verdict:
        return ask("8.8.8.8", "192.168.10.19:30080", "node-c", SERVICES, ips=ips)

    assert asked(("192.168.10.19",)).action is DROP
    unknown = asked(())
    assert unknown.action is PASS
    assert "no IPv4 address of node-c is known" in unknown.reasons[-1]


AT_A_NODE = """
apiVersion: v1
kind: Service
metadata: {name: edge, namespace: shop}
spec:
  type: LoadBalancer
  clusterIP: 10.96.0.20
  loadBalancerSourceRanges: [10.244.0.0/16]
  ports: [{port: 80}]
status: {loadBalancer: {ingress: [{ip: 192.168.10.12}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: edge-1, namespace: shop, labels: {kubernetes.io/service-name: edge}}
addressType: IPv4
ports: [{port: 80}]
endpoints:
- {addresses: [10.244.2.5], nodeName: node-b}
- {addresses: [192.168.10.12], nodeName: node-b}
"""
POD_ONLY, BOTH = ("10.244.2.5:80",), ("10.244.2.5:80", "192.168.10.12:80")


@pytest.mark.parametrize("place", ["10.96.0.20:80", "192.168.10.12:80"])
@pytest.mark.parametrize(
    ("mode", "endpoints"), [("iptables", POD_ONLY), ("nftables", BOTH), ("ipvs", BOTH)]
)
def test_an_endpoint_at_a_restricted_address_of_a_load_balancer(
    mode: str, endpoints: tuple[str, ...], place: str
) -> None:
    """KUBE-PROXY-FIREWALL looks at packets after translation, and not at their source."""
    verdict = ask("10.244.2.9", place, "node-a", NODES, AT_A_NODE, mode=mode)
    assert (verdict.action, verdict.endpoints) == (FORWARD, endpoints)
