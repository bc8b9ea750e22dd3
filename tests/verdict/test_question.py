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
from kproxy.verdict.places import Place, find_place, parse_place
from kproxy.verdict.question import NodeProxy

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
        ("[fd00:96::a]", "[fd00:96::a] has no port"),
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
    capitals = own | {"hostnameOverride": "Node-A"}
    assert "192.168.77.1" in ask("node", "10.96.0.10:80", "node-a", **capitals).reasons[0]
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


NAMED = """
apiVersion: v1
kind: Service
metadata: {name: dns, namespace: shop}
spec:
  clusterIP: 10.96.0.30
  clusterIPs: [10.96.0.30, "fd00:96::30"]
  ipFamilies: [IPv4, IPv6]
  externalIPs: [198.51.100.30]
  ports:
  - {name: dns, port: 53, protocol: UDP}
  - {name: dns-tcp, port: 53, protocol: TCP}
  - {name: metrics, port: 9153}
---
apiVersion: v1
kind: Service
metadata: {name: plain}
spec: {clusterIP: 10.96.0.31, ports: [{port: 36, protocol: SCTP}]}
---
apiVersion: v1
kind: Service
metadata: {name: pods}
spec: {clusterIP: None, ports: [{port: 80}]}
"""


@pytest.mark.parametrize(
    ("text", "sender", "place"),
    [
        ("svc/dns.shop:metrics", "pod", "10.96.0.30:9153/TCP"),
        ("svc/dns.shop:dns", "pod", "10.96.0.30:53/UDP"),
        ("service/dns.shop:53", "pod", "10.96.0.30:53/TCP"),
        ("svc/dns.shop:53/udp", "pod", "10.96.0.30:53/UDP"),
        ("svc/dns.shop.svc:53", "pod", "10.96.0.30:53/TCP"),
        ("svc/dns.shop.svc.cluster.local:metrics", "pod", "10.96.0.30:9153/TCP"),
        ("svc/plain.default.svc.cluster.local", "pod", "10.96.0.31:36/SCTP"),
        ("svc/dns.shop:54/UDP", "pod", "10.96.0.30:54/UDP"),
        ("svc/dns.shop:metrics", "fd00:1::9", "[fd00:96::30]:9153/TCP"),
        ("svc/plain", "fd00:1::9", "10.96.0.31:36/SCTP"),
        ("svc/plain:36", "pod", "10.96.0.31:36/SCTP"),
        ("198.51.100.30:metrics", "external", "198.51.100.30:9153/TCP"),
        ("[fd00:96::30]:dns/UDP", "pod", "[fd00:96::30]:53/UDP"),
        ("10.9.9.9:80", "pod", "10.9.9.9:80/TCP"),
    ],
)
def test_a_place_is_that_of_a_service(text: str, sender: str, place: str) -> None:
    assert str(find_place(text, objects(NAMED), sender)) == place


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("svc/dns:53", "no Service default/dns; there are: svc/dns.shop, svc/plain.default"),
        ("svc/dns.shop", "which port? it has 53/UDP (dns), 53/TCP (dns-tcp), 9153/TCP (metrics)"),
        ("svc/dns.shop:http", "no port is called 'http'"),
        ("svc/dns.shop:metrics/UDP", "no port is called 'metrics'"),
        ("svc/dns.shop:0", "no port is called '0'"),
        ("svc/plain/ICMP", "'ICMP' is not one of TCP, UDP, SCTP"),
        ("svc/pods:80", "Service default/pods has no cluster IP"),
        ("198.51.100.30:http", "no port is called 'http'"),
        ("10.9.9.9:http", "'http' is not a port"),
        ("198.51.100.30:65536", "'65536' is not a port"),
        (
            "shop/dns:53",
            "'dns:53' is not one of TCP, UDP, SCTP; expected IP:PORT/PROTOCOL, or svc/",
        ),
    ],
)
def test_what_is_no_place_is_told(text: str, problem: str) -> None:
    with pytest.raises(BadInput, match=re.escape(problem)):
        find_place(text, objects(NAMED))


def test_a_misspelled_node_is_told() -> None:
    with pytest.raises(BadInput, match="there is no Node node-x; there are: node-a, node-b"):
        ask("pod", "10.96.0.10:80", "node-x")
    assert ask("pod", "10.96.0.10:80", "node-x", ips=("192.168.10.13",)).action is FORWARD
    named_by_an_endpoint = ask("pod", "10.96.0.10:80", "node-b", ONE_NODE, SERVICES)
    assert named_by_an_endpoint.action is FORWARD


ITS_OWN = """
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {clusterIP: 10.96.0.40, externalIPs: [10.96.0.40], ports: [{port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, namespace: shop, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{port: 80}]
endpoints: [{addresses: [10.244.2.5], nodeName: node-b}]
"""


@pytest.mark.parametrize(
    ("mode", "masquerade"), [("iptables", False), ("nftables", True), ("ipvs", True)]
)
def test_a_cluster_ip_that_is_an_external_ip_of_the_same_service(
    mode: str, masquerade: bool
) -> None:
    """The first rule, the last element and every set decide, in that order of the modes."""
    verdict = ask("10.244.2.9", "10.96.0.40:80", "node-a", NODES, ITS_OWN, mode=mode)
    assert (verdict.action, verdict.masquerade) == (FORWARD, masquerade)
