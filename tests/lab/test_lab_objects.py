"""Services and EndpointSlices over the pods of a lab."""

from collections.abc import Iterator

import pytest

from kproxy.address import Family
from kproxy.api.types import EndpointHints, EndpointPort, NamedHint, Service, ServicePort
from kproxy.kernel.netns import Namespace
from kproxy.lab.hosts import LabNode, LabPod
from kproxy.lab.layout import Layout
from kproxy.lab.objects import (
    NOT_READY,
    READY,
    TERMINATING,
    node_object,
    pod_object,
    selected,
    service,
    slices_for,
)
from kproxy.lab.spec import LabSpec, NodeSpec, PodSpec, PortSpec
from kproxy.store import Store

SPEC = LabSpec(
    nodes=(
        NodeSpec(
            name="node-a",
            zone="east",
            pods=(
                PodSpec(
                    name="web-1", labels={"app": "web"}, ports=(PortSpec(port=80, name="http"),)
                ),
                PodSpec(
                    name="web-2",
                    labels={"app": "web", "tier": "x"},
                    ports=(PortSpec(port=80, name="http"),),
                ),
            ),
        ),
        NodeSpec(
            name="node-b",
            pods=(
                PodSpec(
                    name="web-3", labels={"app": "web"}, ports=(PortSpec(port=81, name="http"),)
                ),
                PodSpec(name="web-4", labels={"app": "web"}, namespace="shop"),
            ),
        ),
    )
)


@pytest.fixture
def here() -> Iterator[Namespace]:
    """Yield a namespace that pods can have; opening one's own, without entering it, needs no
    privilege.
    """
    with Namespace.current() as namespace:
        yield namespace


@pytest.fixture
def pods(here: Namespace) -> dict[str, LabPod]:
    layout = Layout.of(SPEC)
    return {
        pod.name: LabPod(
            name=pod.name,
            namespace=here,
            addresses=layout.addresses[pod.name],
            spec=pod,
            node=node.name,
            zone=node.zone,
        )
        for node in SPEC.nodes
        for pod in node.pods
    }


def web(selector: dict[str, str] | None = None, namespace: str = "default") -> Service:
    return service(
        "web",
        namespace=namespace,
        cluster_ips=("10.96.0.10", "fd00:10:96::a"),
        ports=(ServicePort(port=80, target_port="http"),),
        selector=selector if selector is not None else {"app": "web"},
        load_balancer_ips=("203.0.113.7",),
        type="LoadBalancer",
    )


def test_a_service() -> None:
    made = web()
    assert made.spec.type == "LoadBalancer"
    assert made.spec.cluster_ip == "10.96.0.10"
    assert made.spec.ip_families == ("IPv4", "IPv6")
    assert [ingress.ip for ingress in made.status.load_balancer.ingress] == ["203.0.113.7"]


SELECTIONS = [  # selector, namespace, pods
    ({"app": "web"}, "default", ["web-1", "web-2", "web-3"]),
    ({"app": "web"}, "shop", ["web-4"]),
    ({"app": "web", "tier": "x"}, "default", ["web-2"]),
    ({"app": "db"}, "default", []),
    ({}, "default", []),
]


@pytest.mark.parametrize(("selector", "namespace", "names"), SELECTIONS)
def test_selectors(
    pods: dict[str, LabPod], selector: dict[str, str], namespace: str, names: list[str]
) -> None:
    found = selected(web(selector, namespace), pods.values())
    assert [pod.name for pod in found] == names


def test_slices_are_split_where_a_named_port_differs(pods: dict[str, LabPod]) -> None:
    slices = slices_for(web(), [pods[name] for name in ("web-1", "web-2", "web-3")])
    found = {
        each.metadata.name: (
            [port.port for port in each.ports],
            [e.addresses[0] for e in each.endpoints],
        )
        for each in slices
    }
    assert found == {
        "web-ipv4": ([80], ["10.244.1.11", "10.244.1.12"]),
        "web-ipv4-1": ([81], ["10.244.2.11"]),
        "web-ipv6": ([80], ["fd00:10:244:1::11", "fd00:10:244:1::12"]),
        "web-ipv6-1": ([81], ["fd00:10:244:2::11"]),
    }


def test_a_store_finds_the_slices_of_the_service(pods: dict[str, LabPod]) -> None:
    store = Store()
    slices = slices_for(web(), [pods["web-1"]])
    for each in slices:
        store.upsert(each)
    assert store.slices(("default", "web")) == list(slices)


def test_conditions_hints_and_places(pods: dict[str, LabPod]) -> None:
    hints = EndpointHints(for_zones=(NamedHint(name="east"),))
    first, _ = slices_for(
        web(),
        [pods["web-1"], pods["web-2"]],
        conditions={"web-1": TERMINATING},
        hints={"web-2": hints},
    )
    assert [(e.conditions, e.hints, e.node_name, e.zone) for e in first.endpoints] == [
        (TERMINATING, None, "node-a", "east"),
        (READY, hints, "node-a", "east"),
    ]
    assert NOT_READY.ready is False


def test_numeric_and_absent_target_ports(pods: dict[str, LabPod]) -> None:
    made = service(
        "dns",
        cluster_ips=("10.96.0.11",),
        ports=(
            ServicePort(name="a", port=53, protocol="UDP"),
            ServicePort(name="b", port=54, target_port=8054),
            ServicePort(name="c", port=55, target_port="nobody-has-it"),
        ),
    )
    (only,) = slices_for(made, [pods["web-3"]])
    assert only.ports == (
        EndpointPort(name="a", protocol="UDP", port=53),
        EndpointPort(name="b", port=8054),
    )


def test_no_pods_are_empty_slices() -> None:
    slices = slices_for(web(), [])
    assert [(each.address_type, each.endpoints) for each in slices] == [("IPv4", ()), ("IPv6", ())]


def test_nodes_and_pods_describe_themselves(here: Namespace, pods: dict[str, LabPod]) -> None:
    layout = Layout.of(SPEC)
    node = node_object(
        LabNode(
            name="node-a",
            namespace=here,
            addresses=layout.addresses["node-a"],
            spec=SPEC.nodes[0],
            subnets=layout.subnets["node-a"],
            gateways=layout.gateways["node-a"],
        )
    )
    assert node.metadata.labels.pop("kubernetes.io/arch")
    assert node.metadata.labels == {
        "kubernetes.io/os": "linux",
        "kubernetes.io/hostname": "node-a",
        "topology.kubernetes.io/zone": "east",
    }
    assert [(each.type, each.status) for each in node.status.conditions] == [("Ready", "True")]
    assert node.status.allocatable.cpu
    assert node.spec.pod_cidrs == ("10.244.1.0/24", "fd00:10:244:1::/64")
    assert [(a.type, a.address) for a in node.status.addresses] == [
        ("InternalIP", "192.168.10.11"),
        ("InternalIP", "fd00:192::11"),
    ]
    pod = pod_object(pods["web-3"])
    assert pod.spec.node_name == "node-b"
    assert [each.ip for each in pod.status.pod_ips] == [
        pods["web-3"].addresses[family] for family in Family
    ]
    assert pod.spec.containers[0].ports[0].name == "http"
