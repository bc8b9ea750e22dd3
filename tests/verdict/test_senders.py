"""Who asks: each way to name a sender, as one node sees it."""

from __future__ import annotations

import re

import pytest
from msgspec.structs import replace

from kproxy.api import manifests
from kproxy.api.typed_kinds import KINDS
from kproxy.api.types import Metadata, Service, ServiceSpec
from kproxy.errors import BadInput
from kproxy.forwarding.network import Host, HostKind
from kproxy.forwarding.rules import Arrival
from kproxy.verdict.senders import Senders

OBJECTS = manifests.decode_texts(
    {
        "cluster.yaml": """
apiVersion: v1
kind: Node
metadata: {name: node-a}
spec: {podCIDR: 10.244.1.0/24, podCIDRs: [10.244.1.0/24, "fd00:1::/64"]}
status: {addresses: [{type: InternalIP, address: 192.168.10.11}]}
---
apiVersion: v1
kind: Node
metadata: {name: node-b}
spec: {podCIDR: 10.244.2.0/24}
status:
  addresses: [{type: InternalIP, address: 192.168.10.12}, {type: Hostname, address: node-b}]
---
apiVersion: v1
kind: Pod
metadata: {name: web-1, namespace: shop}
spec: {nodeName: node-a, containers: [{name: web}]}
status: {podIP: 10.9.0.1, podIPs: [{ip: 10.9.0.1}, {ip: "fd00:9::1"}]}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {clusterIP: 10.96.0.10, ports: [{port: 80}], loadBalancerSourceRanges: [203.0.113.0/24]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, namespace: shop, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{port: 8080}]
endpoints:
- {addresses: [10.8.0.1], nodeName: node-a}
- {addresses: [10.8.0.2], nodeName: node-b, targetRef: {kind: Pod, name: web-2, namespace: shop}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-2, namespace: shop, labels: {kubernetes.io/service-name: web}}
addressType: FQDN
ports: [{port: 8080}]
endpoints:
- {addresses: [web.example.com], targetRef: {kind: Pod, name: web-2, namespace: shop}}
- {addresses: [other.example.com], targetRef: {kind: Pod, name: web-3, namespace: shop}}
"""
    },
    KINDS,
)
PODS = manifests.decode_texts(
    {
        "pods.yaml": """
apiVersion: v1
kind: Pod
metadata: {name: agent, namespace: shop}
spec: {nodeName: node-a, hostNetwork: true, containers: [{name: web}]}
status: {podIP: 192.168.10.77}
---
apiVersion: v1
kind: Pod
metadata: {name: job, namespace: shop}
spec: {nodeName: node-b, containers: [{name: web}]}
status: {phase: Succeeded, podIP: 10.9.0.1}
---
apiVersion: v1
kind: Pod
metadata: {name: web-1, namespace: other}
spec: {nodeName: node-a, containers: [{name: web}]}
status: {podIP: 10.9.0.2}
---
apiVersion: v1
kind: Pod
metadata: {name: web-2, namespace: shop}
spec: {nodeName: node-b, containers: [{name: web, image: web}]}
"""
    },
    KINDS,
)
NODE_A = Host(name="node-a", kind=HostKind.NODE, addresses=("192.168.10.11", "10.244.1.1"))
FOUR, SIX = "10.96.0.10", "fd00:96::a"

PROCESS, POD, ELSEWHERE = Arrival.PROCESS, Arrival.POD_LINK, Arrival.UPLINK
FOUND = [  # text, address that is asked -> address of the sender, arrival, in its description
    ("192.168.10.11", FOUR, "192.168.10.11", PROCESS, "node-a itself"),
    ("10.244.1.1", FOUR, "10.244.1.1", PROCESS, "node-a itself"),  # not in the Node object
    ("127.0.0.1", FOUR, "127.0.0.1", PROCESS, "node-a itself"),
    ("node", FOUR, "192.168.10.11", PROCESS, "node-a itself"),
    ("node-a", FOUR, "192.168.10.11", PROCESS, "node-a itself"),
    ("node", "10.244.1.1", "10.244.1.1", PROCESS, "node-a itself"),
    ("node", "127.0.0.1", "127.0.0.1", PROCESS, "node-a itself"),
    ("node-b", FOUR, "192.168.10.12", ELSEWHERE, "the node node-b"),
    ("10.9.0.1", FOUR, "10.9.0.1", POD, "the pod shop/web-1 on node-a"),
    ("010.009.0.1", FOUR, "10.9.0.1", POD, "the pod shop/web-1 on node-a"),
    ("shop/web-1", FOUR, "10.9.0.1", POD, "the pod shop/web-1 on node-a"),
    ("web-1", FOUR, "10.9.0.1", POD, "the pod shop/web-1 on node-a"),
    ("shop/web-1", SIX, "fd00:9::1", POD, "the pod shop/web-1 on node-a"),
    ("10.8.0.1", FOUR, "10.8.0.1", POD, "an endpoint on node-a"),
    ("shop/web-2", FOUR, "10.8.0.2", ELSEWHERE, "the pod web-2 on node-b"),
    ("10.244.1.77", FOUR, "10.244.1.77", POD, "a pod on node-a"),
    ("fd00:1::77", SIX, "fd00:1::77", POD, "a pod on node-a"),
    ("10.244.2.77", FOUR, "10.244.2.77", ELSEWHERE, "a pod on node-b"),
    ("10.250.0.1", FOUR, "10.250.0.1", POD, "taken for a pod of node-a"),  # in clusterCIDR only
    ("8.8.8.8", FOUR, "8.8.8.8", ELSEWHERE, "outside"),
    ("external", FOUR, "198.51.100.250", ELSEWHERE, "outside"),  # 203.0.113.0/24 is allowed
    ("external", SIX, "2001:db8::fa", ELSEWHERE, "outside"),
    ("pod", FOUR, "10.244.1.250", POD, "any pod of node-a"),
    ("pod", SIX, "fd00:1::fa", POD, "any pod of node-a"),
]


MORE = [  # with more Pods: text -> address, arrival, in its description
    ("shop/agent", "192.168.10.77", PROCESS, "node-a itself"),  # the Node object has not that one
    ("10.9.0.1", "10.9.0.1", POD, "the pod shop/web-1 on node-a"),  # its former owner has ended
    ("other/web-1", "10.9.0.2", POD, "the pod other/web-1 on node-a"),
    ("web-2", "10.8.0.2", ELSEWHERE, "the pod web-2 on node-b"),  # the Pod has no address yet
]


def senders() -> Senders:
    assert not OBJECTS.problems
    return Senders(OBJECTS.objects, NODE_A, ["10.240.0.0/12"])


BOUND = [  # text, address -> arrival and words of who has an address that the proxy has bound
    ("node-b", FOUR, ELSEWHERE, "the node node-b, but .* node-a drops .*martian source"),
    ("shop/web-1", FOUR, POD, "the pod shop/web-1 on node-a, but .*martian source"),
    ("shop/web-1", SIX, POD, "the pod shop/web-1 on node-a$"),  # IPv6 has no such check
    ("192.168.10.12", FOUR, PROCESS, "node-a itself"),  # what asks an address bound has it
]


@pytest.mark.parametrize(("text", "asked", "arrival", "words"), BOUND)
def test_who_has_a_name_is_no_process_of_the_node_that_bound_its_address(
    text: str, asked: str, arrival: Arrival, words: str
) -> None:
    """An external IP may be the address of another node, or of a pod."""
    node = replace(NODE_A, bound=("192.168.10.12", "10.9.0.1", "fd00:9::1"))
    found = Senders(OBJECTS.objects, node).find(text, asked)
    assert found.arrival is arrival
    assert re.search(words, found.why)


def with_more() -> Senders:
    assert not PODS.problems
    return Senders((*PODS.objects, *OBJECTS.objects), NODE_A)


@pytest.mark.parametrize(("text", "asked", "address", "arrival", "words"), FOUND)
def test_a_sender_is_found(
    text: str, asked: str, address: str, arrival: Arrival, words: str
) -> None:
    found = senders().find(text, asked)
    assert (found.address, found.arrival) == (address, arrival)
    assert words in found.why


@pytest.mark.parametrize(("text", "address", "arrival", "words"), MORE)
def test_a_pod_is_found_among_others(text: str, address: str, arrival: Arrival, words: str) -> None:
    found = with_more().find(text, FOUR)
    assert (found.address, found.arrival) == (address, arrival)
    assert words in found.why


def test_a_name_in_two_namespaces_is_refused() -> None:
    with pytest.raises(BadInput, match=r"several Pods web-1: other/web-1, shop/web-1"):
        with_more().find("web-1", FOUR)


@pytest.mark.parametrize(("asked", "address"), [(FOUR, "10.244.0.250"), (SIX, "fd00:10:244::fa")])
def test_a_pod_has_an_address_also_if_nothing_tells_of_any(asked: str, address: str) -> None:
    found = Senders((), NODE_A).find("pod", asked)
    assert (found.address, found.arrival) == (address, POD)
    assert "neither its podCIDRs nor clusterCIDR are known" in found.why


RANGES = [  # address that is asked, source ranges of a Service -> a client outside
    (FOUR, ["0.0.0.0/0"], "203.0.113.250"),  # leaves nobody out
    (FOUR, ["0.0.0.0/1", "128.0.0.0/1"], "203.0.113.250"),
    (FOUR, ["203.0.113.0/24", "198.51.100.0/24", "192.0.2.0/24"], "198.18.0.250"),
    (SIX, ["2001:db8::/32"], "3fff::fa"),
    (SIX, ["0.0.0.0/0"], "2001:db8::fa"),
]


@pytest.mark.parametrize(("asked", "ranges", "address"), RANGES)
def test_there_is_a_client_outside_whatever_the_source_ranges(
    asked: str, ranges: list[str], address: str
) -> None:
    spec = ServiceSpec(cluster_ip=FOUR, load_balancer_source_ranges=tuple(ranges))
    service = Service(metadata=Metadata(name="web"), spec=spec)
    found = Senders([service], NODE_A).find("external", asked)
    assert (found.address, found.arrival) == (address, ELSEWHERE)


SAME = [  # as for a trace -> as here
    ("web-1.shop", "shop/web-1"),
    ("pod/web-1", "web-1"),
    ("pod/web-1.shop", "shop/web-1"),
    ("pod/shop/web-1", "shop/web-1"),
    ("node/node-a", "node-a"),
    ("node/node-b", "node-b"),
]


@pytest.mark.parametrize(("text", "same"), SAME)
def test_a_name_may_be_written_as_for_a_trace(text: str, same: str) -> None:
    assert senders().find(text, FOUR) == senders().find(same, FOUR)


def test_an_address_may_be_in_brackets() -> None:
    assert senders().find("[fd00:9::1]", SIX) == senders().find("fd00:9::1", SIX)


REFUSED = [  # text, address that is asked -> part of the problem
    ("shop/web-9", FOUR, "no Node or Pod 'shop/web-9'"),
    ("shop/web-3", FOUR, "no Node or Pod 'shop/web-3'"),  # its endpoint has a name only
    ("10.9.0.1", SIX, "of different families"),
    ("shop/web-2", SIX, "no Node or Pod 'shop/web-2'"),
    ("pod/web-9.shop", FOUR, "no Node or Pod 'pod/web-9.shop'"),
    ("node/web-1", FOUR, "no Node or Pod 'node/web-1'"),
    ("node", SIX, "no known address of the family"),
]


@pytest.mark.parametrize(("text", "asked", "problem"), REFUSED)
def test_what_nobody_has_is_refused(text: str, asked: str, problem: str) -> None:
    with pytest.raises(BadInput, match=problem):
        senders().find(text, asked)
