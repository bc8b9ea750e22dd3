"""`kproxy trace --node` with names of objects, files, and more than one at once."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from kproxy.address import host_port
from kproxy.testing import LabFactory
from netns_tests.modes import IPTABLES
from netns_tests.trace.test_traces import CLUSTER_IPS, V4, V6, built
from netns_tests.trace.watched import NODE, PATIENCE_S, Node, ask, effects, hops, result
from tests.explain.trace_schema import schema_problems

OBJECTS = """
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec:
  type: NodePort
  clusterIP: 10.96.0.11
  clusterIPs: [10.96.0.11, "fd00:10:96::11"]
  ipFamilyPolicy: PreferDualStack
  ipFamilies: [IPv4, IPv6]
  ports: [{name: http, port: 80, targetPort: 8080, nodePort: 30080}]
---
apiVersion: v1
kind: Node
metadata: {name: node-a}
status: {addresses: [{type: InternalIP, address: NODE}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, namespace: shop, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{name: http, port: 8080}]
endpoints: [{addresses: [POD], targetRef: {kind: Pod, namespace: shop, name: web-1}}]
"""


@pytest.fixture(scope="module", params=IPTABLES, ids=str)
def node(kproxy_module_lab: LabFactory, request: pytest.FixtureRequest) -> Iterator[Node]:
    found = Node(built(kproxy_module_lab, request.param))
    yield found
    found.close()


@pytest.fixture
def objects(node: Node, tmp_path: Path) -> str:
    text = OBJECTS.replace("NODE", node.lab.nodes[NODE].addresses[V4])
    file = tmp_path / "objects.yaml"
    file.write_text(text.replace("POD", node.lab.pods["web"].addresses[V4]))
    return str(file)


def test_names_of_objects(node: Node, objects: str, tmp_path: Path) -> None:
    given = ("--manifests", objects, "--html", str(tmp_path / "way.html"))
    with node.tracing("svc/web.shop:http", "--family", "6", "--json", *given) as process:
        ask(node.host("visitor"), CLUSTER_IPS[V6], 80)
        values = result(process)
    assert schema_problems(values) == []
    called = {each["name"]: each["address"] for each in values["names"]}
    assert called == {"svc/web.shop": CLUSTER_IPS[V6]}
    address = node.lab.nodes[NODE].addresses[V4]
    given = ("--manifests", objects, "--svg", str(tmp_path / "way.svg"))
    with node.tracing("node/node-a:30080", *given, watched=(NODE,)) as process:
        ask(node.host("outside"), address, 30080)
        text, said = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, said
    pod = host_port(node.lab.pods["web"].addresses[V4], 8080)
    assert f"asks {address}:30080 (svc/web.shop on node-a), TCP" in text
    assert f" -> {pod} (pod/web-1.shop)" in text
    assert f"answered by {pod} (pod/web-1.shop): " in " ".join(text.split())
    assert "pod/web-1.shop:8080" in (tmp_path / "way.svg").read_text()
    assert "svc/web.shop" in (tmp_path / "way.html").read_text()


def test_two_at_once_do_not_disturb_each_other(node: Node) -> None:
    before = node.left()
    asked = f"{CLUSTER_IPS[V4]}:80"
    with node.tracing(asked, "--json") as first, node.tracing(asked, "--json") as second:
        ask(node.host("visitor"), CLUSTER_IPS[V4], 80)
        found = [node.short(result(process)) for process in (first, second)]
    assert node.left() == before
    chosen = [hops(each, "request")[1] for each in found]
    assert chosen[0]["before"] == chosen[1]["before"]
    assert "dnat" in effects(chosen[0])
    if node.lab.iptables_variant(V4) == "nft":  # one program alone can read legacy traces
        assert effects(chosen[1]) == effects(chosen[0])


def test_what_was_seen_until_an_interrupt_is_told(node: Node, tmp_path: Path) -> None:
    file = tmp_path / "ways.html"
    arguments = (f"{CLUSTER_IPS[V4]}:80", "--count", "9", "--json")
    with node.tracing(*arguments, "--html", str(file), "--pcap", f"{file}.pcapng") as process:
        for _ in range(2):
            ask(node.host("visitor"), CLUSTER_IPS[V4], 80)
        assert any("2 of 9 packets" in line for line in process.stderr)
        process.send_signal(signal.SIGINT)
        found = node.short(result(process, status=130))
    assert [each["at"] for each in found] == ["web", "web"]
    assert "2 times " in file.read_text()
