"""The file form of a lab: the spec that is read from it, and each wrong shape with its place."""

import re
from pathlib import Path

import pytest

from kproxy.address import Family
from kproxy.errors import BadInput
from kproxy.lab.spec import (
    BalancerSpec,
    ClientSpec,
    EdgeSpec,
    LabSpec,
    NodeSpec,
    PodSpec,
    PortSpec,
)
from kproxy.lab.spec_file import load_spec, parse_spec

WHOLE = """
name: shop
families: [IPv4]
nodes:
- name: node-a
  zone: east
  config: {iptables: {masqueradeAll: true}}
  pods:
  - name: web-1
    namespace: shop
    labels: {app: web, example.com/tier: front}
    ports: [8080, {port: 5353, protocol: UDP, name: dns}]
  - {name: front, runs: nginx, ports: [80]}
  - {name: agent, hostNetwork: true}
- name: node-b
clients:
- {name: outside, addresses: [198.51.100.7]}
routes: {192.0.2.0/24: node-b}
podCIDRs: [10.20.0.0/16]
network: vpc
profile: cce
edge:
  balancers: [{name: lb}, {name: elb, kind: dedicated}]
  publicCIDRs: [203.0.113.0/24]
  balancerCIDRs: [192.168.30.0/24]
controlPlane: true
loadBalancerCIDRs: [192.168.40.0/24]
nodePortRange: 30000-30099
upstream: {www.example.com: [198.51.100.7, "2001:db8:198::7"]}
"""


def test_a_whole_file() -> None:
    assert parse_spec(WHOLE, "shop.yaml") == LabSpec(
        name="shop",
        families=(Family.IPV4,),
        nodes=(
            NodeSpec(
                name="node-a",
                zone="east",
                config={"iptables": {"masqueradeAll": True}},
                pods=(
                    PodSpec(
                        name="web-1",
                        namespace="shop",
                        labels={"app": "web", "example.com/tier": "front"},
                        ports=(
                            PortSpec(port=8080),
                            PortSpec(port=5353, protocol="UDP", name="dns"),
                        ),
                    ),
                    PodSpec(name="front", runs="nginx", ports=(PortSpec(port=80),)),
                    PodSpec(name="agent", host_network=True),
                ),
            ),
            NodeSpec(name="node-b"),
        ),
        clients=(ClientSpec(name="outside", addresses=("198.51.100.7",)),),
        routes={"192.0.2.0/24": "node-b"},
        pod_cidrs=("10.20.0.0/16",),
        network="vpc",
        profile="cce",
        edge=EdgeSpec(
            balancers=(BalancerSpec(name="lb"), BalancerSpec(name="elb", kind="dedicated")),
            public_cidrs=("203.0.113.0/24",),
            balancer_cidrs=("192.168.30.0/24",),
        ),
        control_plane=True,
        load_balancer_cidrs=("192.168.40.0/24",),
        node_port_range=(30000, 30099),
        upstream={"www.example.com": ("198.51.100.7", "2001:db8:198::7")},
    )


TOP_LEVEL = ["name", "nodes", "clients", "families", "routes"]
TOP_LEVEL += ["nodeCIDRs", "podCIDRs", "serviceCIDRs", "clientCIDRs"]
TOP_LEVEL += ["network", "profile", "edge"]
TOP_LEVEL += ["emulate", "controlPlane", "loadBalancerCIDRs", "nodePortRange", "upstream"]
POD = ["name", "labels", "ports", "namespace", "hostNetwork", "runs"]
SHAPES = [  # the text, its problems
    ("", ["the file: expected a mapping, got None"]),
    ("[]", ["the file: expected a mapping, got []"]),
    ("{}", ["nodes: missing"]),
    ("nodes: 3", ["nodes: expected a list, got 3"]),
    ("nodes: [x]", ["nodes[0]: expected a mapping, got 'x'"]),
    ("nodes: [{}]", ["nodes[0].name: missing"]),
    ("nodes: [{name: 7}]", ["nodes[0].name: expected text, got 7"]),
    (
        "nodes: [{name: a, pod: []}]\nclient: []",
        [
            f"client: unknown; known are {', '.join(TOP_LEVEL)}",
            "nodes[0].pod: unknown; known are name, zone, pods, config",
        ],
    ),
    (
        "nodes: [{name: a, pods: [{name: p, labels: {app: 1}, ports: ['80', {prot: UDP}, true]}]}]",
        [
            "nodes[0].pods[0].labels[app]: expected text, got 1",
            "nodes[0].pods[0].ports[0]: expected a mapping, got '80'",
            "nodes[0].pods[0].ports[1].prot: unknown; known are port, protocol, name",
            "nodes[0].pods[0].ports[1].port: missing",
            "nodes[0].pods[0].ports[2]: expected a number, got True",
        ],
    ),
    (
        "nodes: [{name: a}]\nnetwork: 1\nprofile: [cce]",
        [
            "network: expected text, got 1",
            "profile: expected text, got ['cce']",
        ],
    ),
    (
        "nodes: [{name: a, pods: [{name: p, hostNetwork: 'yes', hostnetwork: true}]}]",
        [
            f"nodes[0].pods[0].hostnetwork: unknown; known are {', '.join(POD)}",
            "nodes[0].pods[0].hostNetwork: expected true or false, got 'yes'",
        ],
    ),
    (
        "nodes: [{name: a}]\ncontrolPlane: 1\nnodePortRange: 7\nupstream: {www: 198.51.100.7}",
        [
            "controlPlane: expected true or false, got 1",
            "nodePortRange: expected a range such as 30000-32767, got 7",
            "upstream[www]: expected a list, got '198.51.100.7'",
        ],
    ),
    ("nodes: [{name: a}]\nedge:", ["edge: expected a mapping, got None"]),
    (
        "nodes: [{name: a}]\nedge: {balancers: [{kind: 7, type: x}, lb], publicCIDRs: 1, nat: {}}",
        [
            "edge.nat: unknown; known are balancers, publicCIDRs, balancerCIDRs",
            "edge.balancers[0].type: unknown; known are name, kind",
            "edge.balancers[0].name: missing",
            "edge.balancers[0].kind: expected text, got 7",
            "edge.balancers[1]: expected a mapping, got 'lb'",
            "edge.publicCIDRs: expected a list, got 1",
        ],
    ),
    ("nodes: [{name: a}]\nfamilies: [ipv4]", ["families[0]: 'ipv4' is none of IPv4, IPv6"]),
]


@pytest.mark.parametrize(("text", "expected"), SHAPES)
def test_wrong_shapes(text: str, expected: list[str]) -> None:
    with pytest.raises(BadInput) as caught:
        parse_spec(text, "lab.yaml")
    found = [re.sub(r"^lab\.yaml(:\d+)?: ", "", problem) for problem in caught.value.problems]
    assert found == expected


def test_problems_name_the_line() -> None:
    with pytest.raises(BadInput) as caught:
        parse_spec("nodes:\n- name: a\n- name: b\n  pods:\n  - {nam: c}\n", "lab.yaml")
    first, second = caught.value.problems
    assert first.startswith("lab.yaml:5: nodes[1].pods[0].nam: unknown; ")
    assert second == "lab.yaml:5: nodes[1].pods[0].name: missing"


def test_numbers_by_value() -> None:
    text = (
        "nodes: [{name: a, config: {conntrack: {min: 1e+06}}, pods: [{name: b, ports: [8.08e3]}]}]"
    )
    (node,) = parse_spec(text, "lab.yaml").nodes
    assert node.pods[0].ports[0].port == 8080


def test_text_that_is_not_yaml() -> None:
    with pytest.raises(BadInput, match=r"^lab.yaml:2: did not find expected node content"):
        parse_spec("nodes: [", "lab.yaml")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"missing\.yaml: No such file"):
        load_spec(tmp_path / "missing.yaml")


def test_a_file(tmp_path: Path) -> None:
    (tmp_path / "lab.yaml").write_text("nodes: [{name: a}]")
    assert load_spec(tmp_path / "lab.yaml") == LabSpec(nodes=(NodeSpec(name="a"),))
