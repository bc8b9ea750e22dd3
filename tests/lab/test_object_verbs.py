"""The verbs for objects, with and without a control plane, and the order of the followers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from math import inf
from random import Random

import pytest
from msgspec.structs import replace

from kproxy.address import Family
from kproxy.api.types import (
    Deployment,
    LoadBalancerIngress,
    LoadBalancerStatus,
    Metadata,
    Node,
    Service,
    ServicePort,
    ServiceSpec,
    ServiceStatus,
)
from kproxy.controlplane.plane import Json
from kproxy.errors import BadInput
from kproxy.lab import Lab, LabSpec, NodeSpec
from kproxy.lab.cluster.control_plane import ControlPlane
from kproxy.lab.cluster.kubelet import Kubelet
from kproxy.lab.cluster.shared_cluster import SharedCluster
from kproxy.lab.following import Followers
from kproxy.lab.hosts import LabPod
from kproxy.lab.object_verbs import NoObjects, ObjectVerbs, PlainObjects
from kproxy.lab.proxies import NoProxies, SyncReports
from kproxy.store import ObjectKey, Store, Update

VIP = "192.0.2.1"
GIVEN = ServiceStatus(load_balancer=LoadBalancerStatus(ingress=(LoadBalancerIngress(ip=VIP),)))
OWN = Node(metadata=Metadata(name="node-a", namespace=""))


def balanced(name: str, port: int = 80) -> Service:
    return Service(
        metadata=Metadata(name=name),
        spec=ServiceSpec(type="LoadBalancer", ports=(ServicePort(port=port),)),
    )


def key(name: str) -> ObjectKey:
    return ("Service", "default", name)


WEB, SHOP = balanced("web"), balanced("shop")


class Cloud:
    """A cloud that gives all Services one address, and refuses the port 666."""

    def __init__(self) -> None:
        self.asked: list[tuple[set[str], set[str]]] = []  # names upserted, names deleted

    def admit(self, update: Update) -> Update:
        services = [each for each in update.upserts if isinstance(each, Service)]
        if any(port.port == 666 for each in services for port in each.spec.ports):
            raise BadInput(["port 666"])
        upserts, deletes = {each.metadata.name for each in services}, update.deletes
        if upserts or deletes:
            self.asked.append((upserts, {name for _, _, name in deletes}))
        given = (
            replace(each, status=GIVEN) if isinstance(each, Service) else each
            for each in update.upserts
        )
        return Update(upserts=tuple(given), deletes=update.deletes)


class Follower:
    def __init__(self) -> None:
        self.store = Store()

    def follow(self, update: Update) -> None:
        self.store.apply(update)

    @property
    def services(self) -> dict[str, list[str]]:
        """Return each Service's name -> its load balancers' addresses."""
        found = [self.store.service(each) for each in self.store.services()]
        return {
            each.metadata.name: [at.ip for at in each.status.load_balancer.ingress]
            for each in found
            if each
        }


class IdleKubelet(Kubelet):
    """A kubelet of nodes that run no Pods."""

    def __init__(self) -> None:
        pass

    @property
    def pods(self) -> dict[str, LabPod]:
        return {}

    @property
    def problems(self) -> dict[ObjectKey, str]:
        return {}

    def start(self) -> bool:
        return False

    def open_ports(self, changed: Update) -> None:
        pass

    def close_ports(self, changed: Update) -> None:
        pass

    def terminate(self) -> bool:
        return False

    def due(self) -> float:
        return inf


@contextmanager
def plain(cloud: Cloud, follower: Follower) -> Iterator[ObjectVerbs]:
    objects = PlainObjects(cloud, Followers(NoProxies(), [follower]))
    objects.start([OWN])
    yield objects


@contextmanager
def controlled(cloud: Cloud, follower: Follower) -> Iterator[ObjectVerbs]:
    cluster = SharedCluster(("10.96.0.0/24",), random=Random(1), cloud=cloud)
    plane = ControlPlane(cluster, IdleKubelet(), Followers(NoProxies(), [follower]), ())
    plane.start([OWN])
    try:
        yield plane
    finally:
        plane.close()


Kind = Callable[[Cloud, Follower], AbstractContextManager[ObjectVerbs]]
BOTH = pytest.mark.parametrize("kind", [plain, controlled])
Do = Callable[[ObjectVerbs], object]
CHANGES: list[tuple[Do, list[tuple[set[str], set[str]]], set[str]]] = [
    # what is done while there is `web` -> what the cloud is asked, Services that are there then
    (lambda objects: objects.apply([SHOP]), [({"shop"}, set())], {"web", "shop"}),
    (lambda objects: objects.apply([WEB, SHOP]), [({"web", "shop"}, set())], {"web", "shop"}),
    (lambda objects: objects.replace([SHOP]), [({"shop"}, {"web"})], {"shop"}),
    (lambda objects: objects.replace([WEB, SHOP]), [({"web", "shop"}, set())], {"web", "shop"}),
]


@BOTH
@pytest.mark.parametrize(("do", "asked", "there"), CHANGES)
def test_a_change_is_admitted_once(
    kind: Kind, do: Do, asked: list[tuple[set[str], set[str]]], there: set[str]
) -> None:
    cloud, follower = Cloud(), Follower()
    with kind(cloud, follower) as objects:
        objects.apply([WEB])
        cloud.asked.clear()
        do(objects)
        assert cloud.asked == asked
        assert follower.services == {each: [VIP] for each in there}
        assert follower.store.node("node-a") == OWN


@BOTH
def test_what_the_cloud_refuses_changes_nothing(kind: Kind) -> None:
    cloud, follower = Cloud(), Follower()
    with kind(cloud, follower) as objects:
        objects.apply([WEB])
        for do in (objects.apply, objects.replace):
            with pytest.raises(BadInput, match="port 666"):
                do([SHOP, balanced("bad", 666)])
            assert follower.services == {"web": [VIP]}
        objects.replace([SHOP])
        assert follower.services == {"shop": [VIP]}


@BOTH
def test_what_is_deleted_is_gone(kind: Kind) -> None:
    follower = Follower()
    with kind(Cloud(), follower) as objects:
        objects.apply([WEB, SHOP])
        objects.delete([key("web")])
        assert follower.services == {"shop": [VIP]}


def test_deleting_what_is_not_there() -> None:
    with plain(Cloud(), Follower()) as objects:
        objects.delete([key("web")])
    with controlled(Cloud(), Follower()) as objects, pytest.raises(BadInput, match="not found"):
        objects.delete([key("web")])


def test_who_runs_a_deployment() -> None:
    deployment = Deployment(metadata=Metadata(name="web"))
    with plain(Cloud(), Follower()) as objects:
        with pytest.raises(BadInput, match="Deployment web: this lab cannot run it") as error:
            objects.apply([WEB, deployment])
        assert "control_plane=True" in error.value.remedy
    with controlled(Cloud(), Follower()) as objects:
        objects.apply([replace(deployment, spec=replace(deployment.spec, replicas=0))])
        assert objects.get(("Deployment", "default", "web"))


CONFIG: Json = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "web"}}
SHOP_CONFIG: Json = {**CONFIG, "metadata": {"name": "web", "namespace": "shop"}}
NAMESPACE: Json = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}
NAMELESS: Json = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {}}
OF_CONFIG: ObjectKey = ("ConfigMap", "default", "web")
OF_SHOP_CONFIG: ObjectKey = ("ConfigMap", "shop", "web")
OF_SHOP: ObjectKey = ("Namespace", "", "shop")


def there(objects: ObjectVerbs) -> set[ObjectKey]:
    return {key for key in (OF_CONFIG, OF_SHOP_CONFIG, OF_SHOP) if objects.plane.get(key)}


def test_documents_come_and_go_with_objects() -> None:
    follower = Follower()
    with controlled(Cloud(), follower) as objects:
        objects.apply([WEB], [CONFIG, SHOP_CONFIG])
        assert there(objects) == {OF_CONFIG, OF_SHOP_CONFIG, OF_SHOP}
        objects.delete([key("web"), OF_CONFIG])
        assert there(objects) == {OF_SHOP_CONFIG, OF_SHOP}
        assert not follower.services
        objects.replace([WEB], [CONFIG])
        assert there(objects) == {OF_CONFIG, OF_SHOP}  # as for objects, nobody asked for `shop`
        objects.replace([])
        assert there(objects) == {OF_SHOP}


def test_a_namespace_is_replaced_once_it_is_empty() -> None:
    in_shop = replace(WEB, metadata=replace(WEB.metadata, namespace="shop"))
    with controlled(Cloud(), Follower()) as objects:
        objects.apply([], [NAMESPACE, SHOP_CONFIG])
        objects.replace([in_shop])
        assert there(objects) == {OF_SHOP}
        objects.replace([WEB])
        assert there(objects) == set()
        objects.apply([in_shop])
        assert there(objects) == {OF_SHOP}


def test_refused_documents_change_nothing() -> None:
    follower = Follower()
    bad = balanced("bad", -1)
    with controlled(Cloud(), follower) as objects:
        objects.apply([WEB])
        for do in (objects.apply, objects.replace):
            with pytest.raises(BadInput) as refused:
                do([SHOP, bad], [CONFIG, NAMELESS])
            first, second = refused.value.problems
            assert first.startswith('Service "bad" is invalid: ')
            assert second.startswith('ConfigMap "" is invalid: metadata.name: Required value')
            assert objects.refusals([SHOP, bad], [CONFIG, NAMELESS]) == [first, second]
        with pytest.raises(BadInput) as refused:
            objects.delete([key("web"), key("shop"), OF_CONFIG])
        assert refused.value.problems == [
            'services "shop" not found',
            'configmaps "web" not found',
        ]
        assert follower.services == {"web": [VIP]}
        assert there(objects) == set()


def test_what_the_cloud_refuses_leaves_no_document() -> None:
    with controlled(Cloud(), Follower()) as objects:
        for do in (objects.apply, objects.replace):
            with pytest.raises(BadInput, match="port 666"):
                do([balanced("bad", 666)], [CONFIG, NAMESPACE])
            assert there(objects) == set()


def test_documents_need_a_control_plane() -> None:
    with plain(Cloud(), Follower()) as objects:
        for do in (objects.apply, objects.replace):
            with pytest.raises(BadInput, match=PLANE):
                do([WEB], [CONFIG])


PLANE, PROXIES = "this lab has no control plane", "this lab has no proxies"
REFUSED: list[tuple[Do, str, bool]] = [  # what is done -> the problem, whether plain objects do it
    (lambda objects: objects.apply([WEB]), PROXIES, True),
    (lambda objects: objects.delete([key("web")]), PROXIES, True),
    (lambda objects: objects.replace([WEB]), PROXIES, True),
    (lambda objects: objects.scale("default", "web", 2), PLANE, False),
    (lambda objects: objects.pod("default", "web"), PLANE, False),
    (lambda objects: objects.get(key("web")), PLANE, False),
    (lambda objects: objects.objects(Service), PLANE, False),
    (lambda objects: objects.wait_for(lambda: True, 1), PLANE, False),
]


@pytest.mark.parametrize(("do", "problem", "plainly"), REFUSED)
def test_what_cannot_be_done(do: Do, problem: str, plainly: bool) -> None:
    with pytest.raises(BadInput, match=problem) as error:
        do(NoObjects())
    assert ("control_plane=True" in error.value.remedy) == (problem == PLANE)
    with plain(Cloud(), Follower()) as objects:
        if plainly:
            do(objects)
        else:
            with pytest.raises(BadInput, match=problem):
                do(objects)


LAB: list[tuple[Callable[[Lab], object], str]] = [
    (lambda lab: lab.apply([WEB]), PROXIES),
    (lambda lab: lab.delete([WEB]), PROXIES),
    (lambda lab: lab.replace([WEB]), PROXIES),
    (lambda lab: lab.proxy("node-a"), PROXIES),
    (lambda lab: lab.stop_proxy("node-a"), PROXIES),
    (lambda lab: lab.start_proxy("node-a"), PROXIES),
    (lambda lab: lab.scale("web", 2), PLANE),
    (lambda lab: lab.pod("web"), PLANE),
    (lambda lab: lab.get("Service", "web"), PLANE),
    (lambda lab: lab.objects(Service), PLANE),
    (lambda lab: lab.wait_for(lambda: True), PLANE),
    (lambda lab: lab.route("10.96.0.0/16", via="node-a"), "'node-a' is not a node"),
    (lambda lab: lab.unroute("10.96.0.0/16"), "the router has no route to '10.96.0.0/16'"),
]


@pytest.mark.parametrize("control_plane", [False, True])
@pytest.mark.parametrize(("do", "problem"), LAB)
def test_a_lab_that_is_not_up(
    do: Callable[[Lab], object], problem: str, control_plane: bool
) -> None:
    lab = Lab(LabSpec(nodes=(NodeSpec(name="node-a"),), control_plane=control_plane))
    with pytest.raises(BadInput, match=problem):
        do(lab)
    assert not lab.hosts
    assert not lab.own_objects()
    assert not lab.plans(Family.IPV4)
    assert not lab.warnings
    assert not lab.balancer_state()


DEPRECATED = replace(WEB, spec=replace(WEB.spec, traffic_distribution="PreferClose"))
OF_WEB = 'Service web: spec.trafficDistribution: "PreferClose" is deprecated; use "PreferSameZone"'
SAYING: list[tuple[Do, list[str]]] = [
    (lambda objects: objects.apply([DEPRECATED, SHOP]), [OF_WEB]),
    (lambda objects: objects.replace([DEPRECATED]), [OF_WEB]),
    (lambda objects: objects.apply([WEB]), []),  # unchanged, as kubectl sends nothing then
    (lambda objects: objects.delete([key("web")]), []),
]


@pytest.mark.parametrize(("do", "logged"), SAYING)
def test_warnings_of_the_api_server_are_logged(
    do: Do, logged: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    with controlled(Cloud(), Follower()) as objects:
        objects.apply([WEB])
        do(objects)
    assert [each.getMessage() for each in caplog.records] == logged


def test_what_was_written_to_the_plane_is_in_effect_when_it_has_settled() -> None:
    follower = Follower()
    document = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"ports": [{"port": 80}]},
    }
    with controlled(Cloud(), follower) as objects:
        objects.plane.create(document)
        objects.settle()
        assert "web" in follower.services


def test_followers_come_in_their_order_and_all_have_their_turn() -> None:
    told: list[str] = []

    class Named:
        def __init__(self, name: str) -> None:
            self.name = name

        def follow(self, update: Update) -> None:
            told.append(f"{self.name} {len(update.upserts)}")
            if self.name == "bad":
                raise ZeroDivisionError

    class Nodes(NoProxies):
        def sync(self, update: Update, _rest: Callable[[], None] | None = None) -> SyncReports:
            told.append(f"nodes {len(update.upserts)}")
            return {"node-a": []}

    followers = Followers(Nodes(), [Named("first")])
    assert followers.follow(Update(upserts=(WEB,))) == {"node-a": []}
    assert told == ["nodes 1", "first 1"]
    told.clear()
    with pytest.raises(ZeroDivisionError):
        followers.then(Named("bad"), Named("last")).follow(Update(upserts=(WEB, SHOP)))
    assert told == ["nodes 2", "first 2", "bad 2", "last 2"]
