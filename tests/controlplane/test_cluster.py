"""A cluster: what users may write, the objects that result, and the warnings."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from msgspec.structs import replace

from kproxy.api.types import (
    Endpoint,
    EndpointAddress,
    Endpoints,
    EndpointSlice,
    EndpointSubset,
    KubernetesObject,
    Metadata,
    Node,
    Pod,
    Service,
)
from kproxy.errors import BadInput
from kproxy.store import ObjectKey, Update, object_key
from tests.controlplane.played import (
    NODES,
    NOW,
    V4,
    V6,
    Played,
    deployment,
    node,
    pod,
    running,
    service,
    service_spec,
)
from tests.controlplane.services import told

WEB = 'deployments.apps "web" not found'
SERVICE, POD = ("Service", "default", "web"), ("Pod", "default", "web")
CONTAINER: dict[str, Any] = {
    "containers": [{"name": "main", "image": "web:1", "ports": [{"containerPort": 80}]}]
}
MAY_NOT = (
    "Forbidden: pod updates may not change fields other than `spec.containers[*].image`,"
    " `metadata.labels` and `metadata.annotations`"
)


def by_hand(*ips: str, name: str = "web-a", of: str = "web") -> EndpointSlice:
    return EndpointSlice(
        metadata=Metadata(name=name, labels={"kubernetes.io/service-name": of}),
        address_type="IPv4",
        endpoints=tuple(Endpoint(addresses=(ip,)) for ip in ips),
    )


def endpoints(*ips: str) -> Endpoints:
    subset = EndpointSubset(addresses=tuple(EndpointAddress(ip=ip) for ip in ips))
    return Endpoints(metadata=Metadata(name="web"), subsets=(subset,))


def refused(played: Played, *objects: KubernetesObject) -> list[str]:
    """Return the problems, after checking that nothing was changed."""
    before = {object_key(each): each for kind in KINDS for each in played.cluster.objects(kind)}
    played.cluster.take_changes()
    with pytest.raises(BadInput) as error:
        played.cluster.apply(objects)
    assert not played.cluster.reconcile(NOW)
    assert played.cluster.take_changes() == Update()
    assert before == {
        object_key(each): each for kind in KINDS for each in played.cluster.objects(kind)
    }
    return error.value.problems


KINDS: list[type[Any]] = [Service, Pod, Node, EndpointSlice, Endpoints]


# --- from Pods to endpoints ----------------------------------------------------------------------


def test_pods_become_endpoints() -> None:
    played = Played(*NODES, service(), pod("web"), ready=False)
    assert [each.metadata.name for each in played.cluster.pods_to_run()] == ["web"]
    assert played.endpoints() == {}
    played.settle()
    assert played.endpoints() == {"10.244.0.2": False}
    played.set_ready("web", True)
    assert played.endpoints() == {"10.244.0.2": True}
    assert played.cluster.pods_to_run() == []
    played.delete(POD)
    assert played.endpoints() == {"10.244.0.2": False}
    conditions = played.slices()[0].endpoints[0].conditions
    assert (conditions.serving, conditions.terminating) == (True, True)
    played.delete(POD)  # again
    played.settle()
    assert (played.pods, played.endpoints()) == ([], {})


def test_changes_are_returned_once_and_as_they_are() -> None:
    played = Played(*NODES, service(), pod("web"))
    played.settle()
    first = played.cluster.take_changes()
    assert {type(each).__name__ for each in first.upserts} == {
        "Node",
        "Service",
        "Pod",
        "EndpointSlice",
        "Endpoints",
        "ServiceCIDR",
        "IPAddress",
    }
    assert len(first.upserts) == 9
    assert not played.cluster.take_changes()
    played.set_ready("web", False)
    played.set_ready("web", True)
    played.apply(service("other"))
    played.delete(("Service", "default", "other"))
    assert not played.cluster.take_changes()
    played.set_ready("web", False)
    assert sorted(type(each).__name__ for each in played.cluster.take_changes().upserts) == [
        "EndpointSlice",
        "Endpoints",
        "Pod",
    ]
    played.delete(SERVICE)
    assert sorted(each[0] for each in played.cluster.take_changes().deletes) == [
        "EndpointSlice",
        "Endpoints",
        "IPAddress",
        "Service",
    ]


def test_endpoints_follow_labels_and_selectors() -> None:
    played = Played(*NODES, service(), pod("web", "10.0.0.1", node="node-a"))
    played.apply(pod("web", node="node-a", labels={"app": "shop"}))
    assert played.endpoints() == {}
    played.apply(service(selector={"app": "shop"}))
    assert played.endpoints() == {"10.0.0.1": True}
    played.apply(service(selector={"app": "shop", "tier": "front"}))
    assert played.endpoints() == {}


@pytest.mark.parametrize("spec", [{"selector": {}}, {"type": "ExternalName", "externalName": "a"}])
def test_a_service_loses_what_its_pods_brought(spec: dict[str, Any]) -> None:
    played = Played(*NODES, service(), pod("web", "10.0.0.1", node="node-a"))
    played.apply(service(**spec))
    assert (played.slices(), played.cluster.objects(Endpoints)) == ([], [])
    played.apply(service())
    assert played.endpoints() == {"10.0.0.1": True}


def test_nodes_matter() -> None:
    played = Played(service(), pod("web", "10.0.0.1", node="node-a"))
    assert played.told("Service") == ("Pod web is left out: Node 'node-a' does not exist",)
    played.apply(node("node-a", "zone-a"))
    assert played.told("Service") == ()
    assert played.slices()[0].endpoints[0].zone == "zone-a"
    played.apply(node("node-a", "zone-b"))
    assert played.slices()[0].endpoints[0].zone == "zone-b"
    played.delete(("Node", "", "node-a"))
    assert played.endpoints() == {}


# --- slices and Endpoints by hand ----------------------------------------------------------------


def test_slices_by_hand_exclude_others() -> None:
    played = Played(*NODES, service(), pod("web", "10.0.0.1", node="node-a"))
    played.apply(by_hand("10.0.0.7"))
    assert played.endpoints() == {"10.0.0.7": False}
    played.apply(by_hand("10.0.0.8", name="web-b"))
    played.delete(("EndpointSlice", "default", "web-a"))
    assert played.endpoints() == {"10.0.0.8": False}
    played.apply(by_hand("10.0.0.8", name="web-b", of="shop"))
    assert played.endpoints() == {"10.0.0.1": True}
    played.apply(by_hand("10.0.0.8", name="web-b"))
    played.delete(("EndpointSlice", "default", "web-b"))
    assert played.endpoints() == {"10.0.0.1": True}


def test_endpoints_by_hand_are_mirrored() -> None:
    played = Played(endpoints("10.0.0.1"), service(selector={}))
    assert played.endpoints() == {"10.0.0.1": True}
    played.apply(endpoints("10.0.0.1", "10.0.0.2"))
    assert played.endpoints() == {"10.0.0.1": True, "10.0.0.2": True}
    played.apply(by_hand("10.0.0.7"))
    assert played.endpoints() == {"10.0.0.7": False}
    played.delete(("EndpointSlice", "default", "web-a"))
    played.delete(("Endpoints", "default", "web"))
    assert played.slices() == []


def test_a_deleted_service_takes_its_endpoints_along() -> None:
    played = Played(endpoints("10.0.0.1"), service(selector={}))
    played.delete(SERVICE, ("Endpoints", "default", "web"))
    assert (played.slices(), played.cluster.objects(Endpoints)) == ([], [])
    played.apply(service(), by_hand("10.0.0.7"))
    played.delete(SERVICE)
    assert [each.metadata.name for each in played.slices()] == ["web-a"]


def test_what_a_controller_wrote_is_written_again() -> None:
    played = Played(*NODES, service(), pod("web", "10.0.0.1", node="node-a"))
    (found,) = played.slices()
    played.delete(object_key(found), ("Endpoints", "default", "web"))
    assert played.endpoints() == {"10.0.0.1": True}
    assert len(played.cluster.objects(Endpoints)) == 1
    played.apply(replace(played.slices()[0], endpoints=()), endpoints("10.0.0.9"))
    assert played.endpoints() == {"10.0.0.1": True}
    assert played.cluster.objects(Endpoints)[0].subsets[0].addresses[0].ip == "10.0.0.1"


# --- Services ------------------------------------------------------------------------------------


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_stated_values_come_first(seed: int, reverse: bool) -> None:
    """There are only as many values as requests: a dynamic one would take the stated value."""
    objects = [
        service("a", type="NodePort", clusterIP="10.96.0.1"),
        service("b", type="NodePort", ports=[{"port": 80, "nodePort": 30000}]),
    ]
    played = Played(
        *(reversed(objects) if reverse else objects),
        service_cidrs=("10.96.0.0/30",),
        node_ports=range(30000, 30002),
        random=Random(seed),
    )
    assert service_spec(played.cluster, "a").ports[0].node_port == 30001
    assert service_spec(played.cluster, "b").cluster_ip == "10.96.0.2"


def test_what_a_service_has_is_stable_and_free_after_use() -> None:
    played = Played(service(type="NodePort"), service_cidrs=(V4, V6))
    before = service_spec(played.cluster)
    played.apply(service(type="NodePort", externalTrafficPolicy="Local"))
    after = service_spec(played.cluster)
    assert (after.cluster_ips, after.ports) == (before.cluster_ips, before.ports)
    played.delete(SERVICE)
    played.apply(service("other", type="NodePort", clusterIP=before.cluster_ip))
    assert service_spec(played.cluster, "other").cluster_ip == before.cluster_ip


def test_a_status_is_not_for_people() -> None:
    played = Played(*NODES, service(), deployment(replicas=1), pod("web"))
    played.settle()
    stored = played.cluster.objects(Pod)
    played.apply(
        service(status="192.0.2.1"),
        pod("web", "10.9.9.9"),
        replace(deployment(replicas=1), status=replace(deployment().status, replicas=7)),
    )
    assert played.cluster.objects(Pod) == stored
    assert not played.cluster.reconcile(NOW)
    found = played.cluster.object(SERVICE)
    assert isinstance(found, Service)
    assert found.status.load_balancer.ingress == ()


# --- Pods ----------------------------------------------------------------------------------------


POD_UPDATES: list[tuple[Pod, list[str]]] = [
    (pod("web", labels={"app": "shop"}, **CONTAINER), []),
    (pod("web", node="node-a", **CONTAINER), []),
    (pod("web", containers=[CONTAINER["containers"][0] | {"image": "web:2"}]), []),
    (pod("web", node="node-b", **CONTAINER), ["spec.nodeName"]),
    (pod("web", hostname="a", subdomain="web", **CONTAINER), ["spec.hostname", "spec.subdomain"]),
    (pod("web"), ["spec.containers"]),
    (pod("web", containers=[{"name": "main"}]), ["spec.containers[0].ports"]),
    (
        pod("web", terminationGracePeriodSeconds=1, **CONTAINER),
        ["spec.terminationGracePeriodSeconds"],
    ),
]


@pytest.mark.parametrize(("new", "fields"), POD_UPDATES)
def test_what_may_change_of_a_pod(new: Pod, fields: list[str]) -> None:
    played = Played(*NODES, pod("web", **CONTAINER))
    played.settle()
    if fields:
        problems = [f"{field}: {MAY_NOT}" for field in fields]
        assert refused(played, service(), new) == told(problems, 'Pod "web"')
    else:
        played.apply(new)
        (found,) = played.cluster.objects(Pod)
        assert found.metadata.labels == new.metadata.labels
        assert found.spec == replace(new.spec, node_name="node-a")
        assert found.status.pod_ips


def test_a_pod_that_runs_elsewhere() -> None:
    """It is what its manifest says, and no kubelet starts or stops it."""
    played = Played(*NODES, service(), pod("web", "10.0.0.1", node="node-a"))
    assert played.cluster.pods_to_run() == []
    played.apply(pod("web", "10.0.0.2", node="node-a", ready=False))
    assert played.endpoints() == {"10.0.0.2": False}
    played.apply(pod("web", node="node-a"))
    assert played.endpoints() == {"10.0.0.2": False}
    played.delete(POD)
    assert played.pods == []
    played.apply(pod("web", node="node-a"))  # a new one, of ours
    assert len(played.cluster.pods_to_run()) == 1


def test_a_removed_pod_has_no_status() -> None:
    played = Played(*NODES, pod("web"))
    played.settle()
    played.cluster.pod_stopped(POD)
    played.cluster.pod_stopped(POD)
    played.cluster.set_pod_status(POD, running("10.0.0.1"))
    assert played.cluster.object(POD) is None


# --- all or nothing ------------------------------------------------------------------------------


REFUSED: list[tuple[list[KubernetesObject], list[str]]] = [
    (
        [service("other", clusterIP="10.96.0.8"), service("x", clusterIP="10.96.0.7")],
        ['spec.clusterIPs: Invalid value: ["10.96.0.7"]: failed to allocate IP 10.96.0.7: '],
    ),
    (
        [service("x", clusterIP="192.0.2.1"), pod("pod", hostname="b"), service("other")],
        ["spec.hostname: Forbidden", "failed to allocate IP 192.0.2.1"],
    ),
    (
        [deployment("d"), replace(by_hand("fd00::7"), address_type="IPv6")],
        ['addressType: Invalid value: "IPv6": field is immutable'],
    ),
    (
        [service("x", type="NodePort", ports=[{"port": 80, "nodePort": 30100}]), deployment("d")],
        ["spec.ports[0].nodePort: Invalid value: 30100: provided port is already allocated"],
    ),
]


@pytest.mark.parametrize(("objects", "told"), REFUSED)
def test_what_is_refused_leaves_everything(
    objects: list[KubernetesObject], told: list[str]
) -> None:
    played = Played(
        *NODES,
        service(clusterIP="10.96.0.7", type="NodePort", ports=[{"port": 1, "nodePort": 30100}]),
        by_hand("10.0.0.7"),
        pod("pod"),
    )
    problems = refused(played, *objects)
    assert len(problems) == len(told)
    for problem, part in zip(problems, told, strict=True):
        assert part in problem
    played.apply(service("other", clusterIP="10.96.0.8"))  # it is not taken
    played.delete(SERVICE)
    played.apply(service("x", clusterIP="10.96.0.7"))


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ([SERVICE, POD], ['services "web" not found']),
        (
            [("Deployment", "shop", "web")],
            [f"{WEB} in namespace 'shop'"],
        ),
        (
            [("Node", "", "z"), ("EndpointSlice", "default", "z")],
            ['nodes "z" not found', 'endpointslices.discovery.k8s.io "z" not found'],
        ),
    ],
)
def test_what_is_not_there_cannot_be_deleted(keys: list[ObjectKey], told: list[str]) -> None:
    played = Played(pod("web", "10.0.0.1"))
    with pytest.raises(BadInput) as error:
        played.cluster.delete(keys, NOW)
    assert error.value.problems == told
    assert played.pods == ["web"]


# --- warnings ------------------------------------------------------------------------------------


NAMED = [{"name": "http", "port": 80, "targetPort": "http"}]
HTTP_POD: dict[str, Any] = {
    "containers": [{"name": "main", "ports": [{"name": "http", "containerPort": 80}]}]
}
AUTO = {"service.kubernetes.io/topology-mode": "Auto"}
RUNS = pod("web", "10.0.0.1", node="node-a")

WARNINGS: list[tuple[list[KubernetesObject], tuple[str, ...], list[KubernetesObject]]] = [
    # objects, the warning about Service web, and what resolves it
    ([service()], ("spec.selector matches no Pod",), [RUNS]),
    ([service()], ("spec.selector matches no Pod",), [service(selector={})]),
    ([service()], ("spec.selector matches no Pod",), [by_hand("10.0.0.7")]),
    (
        [service(ports=NAMED), RUNS],
        ("spec.ports[0].targetPort: no selected Pod has a port named 'http' (TCP)",),
        [pod("web-2", "10.0.0.2", node="node-a", **HTTP_POD)],
    ),
    ([service(), pod("web")], ("Pod web has no IP address yet",), []),
    (
        [replace(service(), metadata=Metadata(name="web", annotations=AUTO)), RUNS],
        ("no topology hints for IPv4: Insufficient number of endpoints (1 endpoints, 2 zones)",),
        [pod("web-2", "10.0.0.2", node="node-b"), pod("web-3", "10.0.0.3", node="node-c")],
    ),
    (
        [
            service(),
            *(pod(f"p-{i}", f"10.1.{i // 250}.{i % 250}", node="node-a") for i in range(1001)),
        ],
        ("Endpoints is truncated to 1000 addresses",),
        [pod("p-0", "10.1.0.0", node="node-a", labels={})],
    ),
]


@pytest.mark.parametrize(("objects", "told", "resolved"), WARNINGS)
def test_warnings(
    objects: list[KubernetesObject], told: tuple[str, ...], resolved: list[KubernetesObject]
) -> None:
    played = Played(*NODES, *objects)
    assert played.told("Service") == told
    played.apply(*resolved)
    played.settle()
    assert played.cluster.warnings == {}


def test_warnings_go_with_the_service() -> None:
    played = Played(service(type="LoadBalancer"))
    assert len(played.told("Service")) == 2
    played.delete(SERVICE)
    assert played.cluster.warnings == {}
