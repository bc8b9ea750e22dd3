"""EndpointSlices made of Pods: the endpoints with their conditions, ports and names."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from msgspec.structs import replace

from kproxy.address import Family
from kproxy.api.types import (
    EndpointConditions,
    EndpointPort,
    EndpointSlice,
    Metadata,
    ObjectReference,
    Pod,
    Service,
    ServicePort,
)
from kproxy.controlplane.endpoint_slices import Changes, reconcile
from tests.controlplane.clusters import (
    HTTP,
    NAMED,
    Cluster,
    counts,
    node,
    numbered,
    pod,
    service,
)

LABELS = {
    "kubernetes.io/service-name": "web",
    "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
}
HEADLESS = "service.kubernetes.io/headless"

T, F = True, False
CONDITIONS = [  # ready, terminating, publishNotReadyAddresses -> ready, serving, terminating
    ((T, F, F), (T, T, F)),
    ((F, F, F), (F, F, F)),
    ((T, T, F), (F, T, T)),
    ((F, T, F), (F, F, T)),
    ((T, F, T), (T, T, F)),
    ((F, F, T), (T, F, F)),
    ((T, T, T), (T, T, T)),
    ((F, T, T), (T, F, T)),
]

LEFT_OUT = [
    (pod("web-1", "10.244.0.2", phase="Succeeded"), ""),
    (pod("web-1", "10.244.0.2", phase="Failed", ready=False, terminating=True), ""),
    (pod("web-1", "10.244.0.2", namespace="shop"), ""),
    (pod("web-1", "10.244.0.2", app="shop"), ""),
    (pod("web-1"), "Pod web-1 has no IP address yet"),
    (pod("web-1", "fd00::2"), ""),  # of no family that the Service has
    (
        pod("web-1", "10.244.0.2", node="node-z"),
        "Pod web-1 is left out: Node 'node-z' does not exist",
    ),
]

A, B, V = ("10.244.0.1", "fd00::1"), ("10.244.0.2", "fd00::2"), ("10.244.0.3",)
UDP = ServicePort(name="dns", port=53, protocol="UDP", target_port="web")
NONE: dict[str, Any] = {"cluster_ip": "None"}
PORTS = [  # Service, pods -> slices: family, ports, pods
    (service(), [pod("a", *A)], [("IPv4", ["http 8080"], ["a"])]),
    (service(replace(HTTP, target_port=None)), [pod("a", *A)], [("IPv4", ["http 80"], ["a"])]),
    (
        service(NAMED),
        [pod("a", *A, port=1), pod("b", *B, port=2), pod("v", *V, port=1)],
        [("IPv4", ["http 1"], ["a", "v"]), ("IPv4", ["http 2"], ["b"])],
    ),
    # A pod without the named port is an endpoint without ports: no client can be sent to it.
    (
        service(NAMED),
        [pod("a", *A, port=1), pod("b", *B)],
        [("IPv4", [], ["b"]), ("IPv4", ["http 1"], ["a"])],
    ),
    (service(NAMED, HTTP), [pod("a", *A)], [("IPv4", ["http 8080"], ["a"])]),
    (service(UDP), [pod("a", *A, port=1)], [("IPv4", [], ["a"])]),  # that one is TCP
    (
        service(families=(Family.IPV6, Family.IPV4)),
        [pod("a", *A), pod("v", *V)],
        [("IPv4", ["http 8080"], ["a", "v"]), ("IPv6", ["http 8080"], ["a"])],
    ),
    (
        service(families=(Family.IPV4, Family.IPV6)),
        [pod("v", *V)],
        [("IPv4", ["http 8080"], ["v"]), ("IPv6", [], [])],
    ),
    (service(**NONE), [pod("a", *A)], [("IPv4", ["http 8080"], ["a"])]),
    (service(**NONE, ports=()), [pod("a", *A)], [("IPv4", [], ["a"])]),
    (
        service(**NONE, families=()),
        [pod("a", *A)],
        [("IPv4", ["http 8080"], ["a"]), ("IPv6", ["http 8080"], ["a"])],
    ),
    (
        service(families=(), cluster_ip="fd00:10:96::1"),
        [pod("a", *A)],
        [("IPv6", ["http 8080"], ["a"])],
    ),
    (service(), [], [("IPv4", [], [])]),
    (service(selector={"app": "web", "tier": "front"}), [pod("a", *A)], None),
    (service(selector={"app": "web", "tier": "back"}), [pod("a", *A)], [("IPv4", [], [])]),
    (service(selector={}), [pod("a", *A)], []),
    (service(type="ExternalName"), [pod("a", *A)], []),
    (service(deleted=True), [pod("a", *A)], []),
]


def shown(each: EndpointSlice) -> tuple[str, list[str], list[str]]:
    return (
        each.address_type,
        [f"{port.name} {port.port}" for port in each.ports],
        [endpoint.target_ref.name for endpoint in each.endpoints if endpoint.target_ref],
    )


@pytest.mark.parametrize(("state", "expected"), CONDITIONS)
def test_conditions(state: tuple[bool, bool, bool], expected: tuple[bool, bool, bool]) -> None:
    ready, terminating, publish = state
    changes = Cluster().sync(
        service(publish_not_ready_addresses=publish),
        [pod("web-0", "10.244.0.1", ready=ready, terminating=terminating)],
    )
    (endpoint,) = changes.create[0].endpoints
    assert endpoint.conditions == EndpointConditions(
        ready=expected[0], serving=expected[1], terminating=expected[2]
    )


@pytest.mark.parametrize(("other", "warning"), LEFT_OUT)
def test_left_out(other: Pod, warning: str) -> None:
    changes = Cluster().sync(service(), [pod("web-0", "10.244.0.1"), other])
    assert [shown(each)[2] for each in changes.create] == [["web-0"]]
    assert changes.warnings == ((warning,) if warning else ())


def test_a_pod_of_no_node_is_published_if_not_ready_addresses_are() -> None:
    changes = Cluster().sync(
        service(publish_not_ready_addresses=True), [pod("web-0", "10.244.0.1", node="")]
    )
    (endpoint,) = changes.create[0].endpoints
    assert (endpoint.node_name, endpoint.zone) == (None, None)


@pytest.mark.parametrize(("of", "pods", "slices"), PORTS)
def test_families_and_ports(
    of: Service, pods: list[Pod], slices: list[tuple[str, list[str], list[str]]] | None
) -> None:
    expected = slices if slices is not None else [("IPv4", ["http 8080"], ["a"])]
    cluster = Cluster()
    assert sorted(map(shown, cluster.sync(of, pods).create)) == expected
    if not of.metadata.deletion_timestamp:
        assert counts(cluster.sync(of, pods)) == (0, 0, 0)  # nothing is left to do


def test_a_slice_in_full() -> None:
    of = service(labels={"team": "shop"}, **NONE)
    db = pod("db-0", "10.244.0.7", node="node-b", hostname="db-0", subdomain="web")
    other = pod("db-1", "10.244.0.8", hostname="db-1", subdomain="other")
    (created,) = Cluster().sync(of, [db, other]).create
    assert created.metadata.namespace == "default"
    assert created.metadata.labels == LABELS | {HEADLESS: "", "team": "shop"}
    assert created.ports == (EndpointPort(name="http", protocol="TCP", port=8080),)
    first, second = created.endpoints
    assert first.addresses == ("10.244.0.7",)
    assert first.target_ref == ObjectReference(kind="Pod", namespace="default", name="db-0")
    assert (first.hostname, first.node_name, first.zone) == ("db-0", "node-b", "zone-b")
    assert second.hostname is None  # it is below another name


def test_pods_that_share_the_address_of_their_node_are_two_endpoints() -> None:
    changes = Cluster().sync(service(), [pod("a", "192.168.0.1"), pod("b", "192.168.0.1")])
    assert [shown(each)[2] for each in changes.create] == [["a", "b"]]


LONG = "x" * 63
NAMES = [("web", "web-", 9), (LONG, LONG[:58], 63)]  # Service -> start of the name, its length


@pytest.mark.parametrize(("name", "start", "length"), NAMES)
def test_names(name: str, start: str, length: int) -> None:
    of = replace(service(), metadata=Metadata(name=name))
    made = [
        reconcile(of, numbered(3), [node("node-a")], (), random=Random(seed), most=1).create
        for seed in (7, 7, 8)
    ]
    names = [[each.metadata.name for each in slices] for slices in made]
    assert names[0] == names[1] != names[2]
    assert len(set(names[0])) == 3
    assert all(each.startswith(start) and len(each) == length for each in names[0])


def test_slices_of_others_are_left_alone() -> None:
    hand_written = EndpointSlice(
        metadata=Metadata(name="mine", labels={"kubernetes.io/service-name": "web"}),
        address_type="IPv4",
    )
    cluster = Cluster(slices=[hand_written])
    assert counts(cluster.sync(service(), numbered(1))) == (1, 0, 0)
    assert counts(cluster.sync(service(), numbered(2))) == (0, 1, 0)
    assert cluster.slices["mine"] == hand_written


STEPS = [  # first, then -> created, updated, deleted
    ("a pod less", (service(), 2), (service(), 1), (0, 1, 0)),
    ("no pod is left", (service(), 1), (service(), 0), (0, 1, 0)),  # it becomes the placeholder
    ("the first pod comes", (service(), 0), (service(), 1), (0, 1, 0)),
    ("other labels", (service(), 2), (service(labels={"a": "b"}), 2), (0, 1, 0)),
    ("another port", (service(), 2), (service(replace(HTTP, target_port=1)), 2), (0, 1, 0)),
    ("a family more", (service(), 1), (service(families=(Family.IPV4, Family.IPV6)), 1), (1, 0, 0)),
    ("another family", (service(), 1), (service(families=(Family.IPV6,)), 1), (1, 0, 1)),
    ("its address only", (service(), 1), (service(cluster_ip="10.96.0.11"), 1), (0, 0, 0)),
    ("no selector any more", (service(), 1), (service(selector={}), 1), (0, 0, 0)),
    ("deleted, and a pod less", (service(), 2), (service(deleted=True), 1), (0, 1, 0)),
]


@pytest.mark.parametrize(("_what", "first", "then", "changed"), STEPS)
def test_steps(
    _what: str, first: tuple[Service, int], then: tuple[Service, int], changed: tuple[int, int, int]
) -> None:
    cluster = Cluster()
    cluster.sync(first[0], numbered(first[1]))
    assert counts(cluster.sync(then[0], numbered(then[1]))) == changed
    assert counts(cluster.sync(then[0], numbered(then[1]))) == (0, 0, 0)


def test_a_pod_of_the_same_name_on_another_node_of_the_zone() -> None:
    cluster, nodes = Cluster(), [node("node-a"), node("node-b")]
    for where, changed in (("node-a", (1, 0, 0)), ("node-b", (0, 1, 0))):
        found = cluster.sync(service(), [pod("db-0", "10.244.0.1", node=where)], nodes)
        assert counts(found) == changed


WARNINGS = [
    (service(), [], ["spec.selector matches no Pod"]),
    (service(), [pod("a", *A, phase="Failed")], []),
    (
        service(HTTP, NAMED),
        [pod("a", *A)],
        ["spec.ports[1].targetPort: no selected Pod has a port named 'web' (TCP)"],
    ),
    (service(NAMED), [pod("a", *A), pod("b", *B, port=1)], []),
]


@pytest.mark.parametrize(("of", "pods", "warnings"), WARNINGS)
def test_warnings(of: Service, pods: list[Pod], warnings: list[str]) -> None:
    changes: Changes = Cluster().sync(of, pods)
    assert list(changes.warnings) == warnings
