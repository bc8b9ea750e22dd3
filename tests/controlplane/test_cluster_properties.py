"""Properties of a cluster after any history."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import convert
from msgspec.structs import replace

from kproxy.api import as_read
from kproxy.api.typed_kinds import TYPES
from kproxy.api.types import (
    Deployment,
    Endpoint,
    EndpointAddress,
    Endpoints,
    EndpointSlice,
    EndpointSubset,
    Ingress,
    IPAddress,
    KubernetesObject,
    Metadata,
    Node,
    Pod,
    PodCondition,
    Service,
    ServiceCIDR,
    ServiceCIDRSpec,
)
from kproxy.controlplane import members
from kproxy.controlplane.admission import Allocator
from kproxy.controlplane.cluster import Cluster
from kproxy.controlplane.document_verbs import DocumentVerbs
from kproxy.controlplane.endpoints import CONTROLLER, MANAGED_BY_LABEL
from kproxy.controlplane.plane import Json, Write
from kproxy.controlplane.registry import document_key
from kproxy.controlplane.service_endpoints import is_by_hand
from kproxy.controlplane.submitted import without_shown_defaults
from kproxy.errors import BadInput
from kproxy.store import ObjectKey, object_key, service_of
from tests.controlplane.played import (
    NODES,
    NOW,
    POOL,
    POOL6,
    V4,
    V6,
    Played,
    deployment,
    node,
    pod,
    rolling,
    running,
    service,
)

KINDS: list[type[Any]] = [
    Node,
    Service,
    Pod,
    Deployment,
    EndpointSlice,
    Endpoints,
    Ingress,
    ServiceCIDR,
    IPAddress,
]
NAMES = ("web", "shop")
SPECS: list[dict[str, Any]] = [
    {},
    {"type": "NodePort"},
    {"type": "LoadBalancer", "externalTrafficPolicy": "Local"},
    {"type": "LoadBalancer", "ipFamilyPolicy": "PreferDualStack"},
    {"type": "LoadBalancer", "loadBalancerIP": "203.0.113.2"},
    {"type": "NodePort", "clusterIP": "10.96.0.9", "ports": [{"port": 80, "nodePort": 30080}]},
    {"ipFamilyPolicy": "RequireDualStack", "publishNotReadyAddresses": True},
    {"ipFamilyPolicy": "SingleStack"},
    {"clusterIP": "10.200.0.5", "clusterIPs": ["10.200.0.5"]},
    {"clusterIP": "None"},
    {"selector": {}},
    {"selector": {"version": "2"}},
    {"selector": {"app": "web", "version": "1"}, "trafficDistribution": "PreferSameNode"},
    {"type": "ExternalName", "externalName": "a.example", "selector": {}},
    {"ports": [{"name": "http", "port": 80, "targetPort": "http"}]},
]
STRATEGIES = [rolling("25%", "25%"), rolling(0, 1), rolling(1, 0), {"type": "Recreate"}]
ADDRESS = "10.9.0.{}"
RANGES = ("10.200.0.0/28", "10.200.0.0/24", "10.200.0.4/30")


class History:
    """A cluster, and what a reader that gets only its changes knows of it."""

    def __init__(self) -> None:
        self.played = Played(
            *NODES,
            service("web"),
            deployment("web", replicas=2),
            service_cidrs=(V4, V6),
            balancer_cidrs=(POOL, POOL6),
            random=Random(2),
        )
        self.played.settle()
        self.copy: dict[ObjectKey, KubernetesObject] = {}
        found, self.revision = self.played.cluster.documents.follow(self.follow)
        self.followed = {document_key(each): each for each in found}

    def edit(self, what: str, which: int, how: int) -> None:
        with suppress(BadInput):  # as good as any other edit: it must have done nothing
            EDITS[what](self.played, NAMES[which % len(NAMES)], which, how)
        self.played.cluster.reconcile(NOW)

    def check(self) -> None:
        cluster = self.played.cluster
        assert not cluster.reconcile(NOW)
        changed = cluster.take_changes()
        assert not {object_key(each) for each in changed.upserts} & set(changed.deletes)
        self.copy |= {object_key(each): each for each in changed.upserts}
        for key in changed.deletes:
            del self.copy[key]
        assert self.copy == contents(cluster)
        for each in cluster.objects(Service):
            check_slices(cluster, each)
        for numbers in allocations(cluster):
            assert len(set(numbers)) == len(numbers)
        self.check_documents()

    def check_documents(self) -> None:
        """Check that the documents say what the objects say, and that a follower has them all."""
        documents = self.played.cluster.documents
        assert self.followed == {key: documents.get(key) for key in documents.keys("")}
        for key, obj in contents(self.played.cluster).items():
            document = documents.get(key)
            assert document is not None
            assert plain(convert(document, TYPES[key[0]])) == plain(obj)

    def follow(self, write: Write) -> None:
        assert write.revision > self.revision
        self.revision = write.revision
        assert self.followed.get(write.key) == write.former
        if write.document is None:
            del self.followed[write.key]
        else:
            assert write.document["metadata"]["resourceVersion"] == str(write.revision)
            self.followed[write.key] = write.document


def plain(obj: KubernetesObject) -> KubernetesObject:
    """Return an object as both its forms have it; documents have more conditions, and uids."""
    obj = without_shown_defaults(as_read(obj))
    owners = tuple(replace(each, uid="") for each in obj.metadata.owner_references)
    metadata = replace(obj.metadata, generation=0, owner_references=owners)
    if isinstance(obj, Pod):
        ready = (PodCondition(type="Ready", status=str(members.is_ready(obj))),)
        phase = obj.status.phase or "Pending"
        obj = replace(obj, status=replace(obj.status, conditions=ready, phase=phase))
    return replace(obj, metadata=metadata)


def contents(cluster: Cluster) -> dict[ObjectKey, KubernetesObject]:
    return {object_key(each): each for kind in KINDS for each in cluster.objects(kind)}


def check_slices(cluster: Cluster, of: Service) -> None:
    """Check that exactly the Pods that are to be endpoints are, once for each family."""
    slices = [
        each
        for each in cluster.objects(EndpointSlice)
        if service_of(each) == (of.metadata.namespace, of.metadata.name)
    ]
    automatic = [each for each in slices if not is_by_hand(each)]
    if len(automatic) < len(slices):
        assert automatic == []
        return
    if not members.has_controller(of):
        return
    publish = of.spec.publish_not_ready_addresses
    nodes = {each.metadata.name for each in cluster.objects(Node)}
    wanted = sorted(
        (family, ip, publish or (members.is_ready(each) and not members.is_terminating(each)))
        for each in members.selected(of, cluster.objects(Pod))
        if not members.is_terminal(each) and (publish or each.spec.node_name in nodes)
        for family in members.families(of)
        for ip in members.addresses(each, family)
    )
    found = sorted(
        (each.address_type, endpoint.addresses[0], endpoint.conditions.ready)
        for each in automatic
        for endpoint in each.endpoints
    )
    assert found == wanted


def allocations(cluster: Cluster) -> Iterable[list[object]]:
    """Return all cluster IPs, node ports and load balancers' addresses of the cluster."""
    services = cluster.objects(Service)
    yield [ip for each in services for ip in each.spec.cluster_ips if ip != "None"]
    yield [
        number
        for each in services
        for number in {port.node_port for port in each.spec.ports}
        | {each.spec.health_check_node_port}
        if number
    ]
    yield [ip.ip for each in services for ip in each.status.load_balancer.ingress]
    allocator = Allocator((V4, V6), Random(0))
    allocator.use(cidr for each in cluster.objects(ServiceCIDR) for cidr in each.spec.cidrs)
    allocator.remember(services)
    addresses = [each.metadata.name for each in cluster.objects(IPAddress)]
    assert sorted(addresses) == sorted(
        ip for each in services for ip in each.spec.cluster_ips if ip != "None"
    )


def by_people(cluster: Cluster) -> list[KubernetesObject]:
    """Return the objects without those that only controllers and the API server write.

    A ServiceCIDR that terminates, as others need it, is there as if it did not.
    """
    return [
        replace(each, metadata=replace(each.metadata, deletion_timestamp=None))
        if isinstance(each, ServiceCIDR)
        else each
        for each in contents(cluster).values()
        if not isinstance(each, IPAddress)
        and not (isinstance(each, EndpointSlice) and not is_by_hand(each))
        and not (
            isinstance(each, Endpoints) and each.metadata.labels.get(MANAGED_BY_LABEL) == CONTROLLER
        )
    ]


def former_templates(cluster: Cluster) -> list[Json]:
    """Return the ReplicaSets, which hold the templates of old Pods, for a Deployment to adopt."""
    return [
        {**found, "metadata": {**found["metadata"], "ownerReferences": []}}
        for key in cluster.documents.keys("ReplicaSet")
        if (found := cluster.documents.get(key))
    ]


def all_endpoints(cluster: Cluster) -> list[str]:
    """Return all endpoints, whatever slices they are in."""
    return sorted(
        f"{service_of(each)} {each.address_type} {each.ports} {endpoint}"
        for each in cluster.objects(EndpointSlice)
        for endpoint in each.endpoints
    )


# --- edits ---------------------------------------------------------------------------------------


def _delete(kind: str) -> Callable[[Played, str, int, int], None]:
    namespace = "" if kind == "Node" else "default"
    return lambda played, name, _, __: played.delete((kind, namespace, name))


def _some_pod(played: Played, which: int) -> Pod | None:
    found = played.cluster.objects(Pod)
    return found[which % len(found)] if found else None


def _write_service(played: Played, name: str, _: int, how: int) -> None:
    played.apply(service(name, **SPECS[how % len(SPECS)]))


def _write_pod(played: Played, name: str, which: int, how: int) -> None:
    labels = {"app": name, "version": str(how % 3)}
    played.apply(pod(f"bare-{which % 3}", labels=labels))


def _write_pod_elsewhere(played: Played, name: str, which: int, how: int) -> None:
    ips = ADDRESS.format(which), f"fd09::{which:x}"
    at = ("node-a", "node-b", "node-z", "")[how % 4]
    labels = {"app": name, "version": str(how % 3)}
    played.apply(pod(f"far-{which % 3}", *ips, node=at, labels=labels, ready=how % 2 == 0))


def _write_deployment(played: Played, name: str, which: int, how: int) -> None:
    version, strategy = str(how % 3), STRATEGIES[which // 2 % len(STRATEGIES)]
    played.apply(deployment(name, replicas=how % 5, version=version, strategy=strategy))


def _write_node(played: Played, _: str, which: int, how: int) -> None:
    name = f"node-{'abc'[which % 3]}"
    zone, taints = f"zone-{how % 2}", ("gpu",) if how % 5 == 0 else ()
    played.apply(node(name, zone, ready=how % 3 > 0, taints=taints))


def _delete_node(played: Played, _: str, which: int, __: int) -> None:
    played.delete(("Node", "", f"node-{'abc'[which % 3]}"))


def _write_slice(played: Played, name: str, which: int, _: int) -> None:
    metadata = Metadata(name="hand", labels={"kubernetes.io/service-name": name})
    endpoint = Endpoint(addresses=(ADDRESS.format(which),))
    played.apply(EndpointSlice(metadata=metadata, address_type="IPv4", endpoints=(endpoint,)))


def _write_endpoints(played: Played, name: str, which: int, _: int) -> None:
    subset = EndpointSubset(addresses=(EndpointAddress(ip=ADDRESS.format(which)),))
    played.apply(Endpoints(metadata=Metadata(name=name), subsets=(subset,)))


def _write_range(played: Played, _: str, which: int, how: int) -> None:
    """Write one of three overlapping ranges; some have a second family."""
    cidrs = (RANGES[which % 3], f"fd0{which % 3}::/120")[: 1 + how % 2]
    metadata = Metadata(name=f"range-{which % 4}", namespace="")
    played.apply(ServiceCIDR(metadata=metadata, spec=ServiceCIDRSpec(cidrs=cidrs)))


def _delete_range(played: Played, _: str, which: int, how: int) -> None:
    name = "kubernetes" if how % 9 == 0 else f"range-{which % 4}"
    played.delete(("ServiceCIDR", "", name))


def _delete_pod(played: Played, _: str, which: int, __: int) -> None:
    if found := _some_pod(played, which):
        played.delete(object_key(found))


def _alter_pod(played: Played, _: str, which: int, how: int) -> None:
    """Make a Pod ready or not, give it other addresses or labels, or end it."""
    found = _some_pod(played, which)
    if not found or not found.status.pod_ips:
        return
    ips = [each.ip for each in found.status.pod_ips]
    if how % 4 == 0:
        ips = [f"10.8.{how}.{which}"]
    status = running(*ips, ready=how % 2 == 0)
    if how % 7 == 0:
        status = replace(status, phase="Succeeded")
    if how % 5 == 0:
        labels = found.metadata.labels | {"version": "9"}
        played.apply(replace(found, metadata=replace(found.metadata, labels=labels)))
    else:
        played.cluster.set_pod_status(object_key(found), status)


EDITS: dict[str, Callable[[Played, str, int, int], Any]] = {
    "write service": _write_service,
    "write pod": _write_pod,
    "write pod elsewhere": _write_pod_elsewhere,
    "write deployment": _write_deployment,
    "write node": _write_node,
    "write slice": _write_slice,
    "write endpoints": _write_endpoints,
    "write range": _write_range,
    "delete range": _delete_range,
    "delete service": _delete("Service"),
    "delete deployment": _delete("Deployment"),
    "delete endpoints": _delete("Endpoints"),
    "delete slice": lambda played, *_: played.delete(("EndpointSlice", "default", "hand")),
    "delete node": _delete_node,
    "delete pod": _delete_pod,
    "alter pod": _alter_pod,
    "scale": lambda played, name, _, how: played.cluster.scale("default", name, how % 6),
    "start": lambda played, *_: played.start_pods(),
    "start not ready": lambda played, *_: _start_not_ready(played),
    "stop": lambda played, *_: played.stop_pods(),
    "settle": lambda played, *_: played.settle(),
}


def _start_not_ready(played: Played) -> None:
    played.ready = False
    played.start_pods()
    played.ready = True


OFTEN = ("alter pod", "write deployment", "write service", "write service", "start")
EDIT = st.tuples(st.sampled_from((*OFTEN, *sorted(EDITS))), st.integers(0, 41), st.integers(0, 41))


@settings(max_examples=60)
@given(st.lists(EDIT, min_size=20, max_size=60))
def test_any_history(edits: list[tuple[str, int, int]]) -> None:
    history = History()
    for each in edits:
        history.edit(*each)
        history.check()

    # Controllers asked about everything find nothing to do.
    cluster, endpoints = history.played.cluster, all_endpoints(history.played.cluster)
    nodes = cluster.objects(Node)
    cluster.apply(
        [replace(each, spec=replace(each.spec, pod_cidr="10.1.0.0/24")) for each in nodes]
    )
    cluster.reconcile(NOW)
    assert {type(each) for each in cluster.take_changes().upserts} <= {Node}

    # A reader that sees only the end gets the same endpoints.
    fresh = Cluster((V4, V6), random=Random(3), balancer_cidrs=(POOL, POOL6))
    verbs = DocumentVerbs(fresh)
    for document in former_templates(cluster):
        verbs.create(document)
    fresh.apply(reversed(by_people(cluster)))
    fresh.reconcile(NOW)
    assert all_endpoints(fresh) == endpoints
    assert fresh.objects(Service) == cluster.objects(Service)
    assert fresh.objects(Pod) == cluster.objects(Pod)
    assert fresh.objects(Deployment) == cluster.objects(Deployment)
