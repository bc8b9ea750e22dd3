"""The objects that the store remembers, and what counts as a change."""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from kproxy.api.types import (
    Endpoint,
    EndpointAddress,
    EndpointConditions,
    EndpointPort,
    Endpoints,
    EndpointSlice,
    EndpointSubset,
    Ingress,
    KubernetesObject,
    Metadata,
    Node,
    Pod,
    Service,
    ServiceCIDR,
    ServiceCIDRSpec,
    ServiceSpec,
)
from kproxy.store import SERVICE_NAME_LABEL, Changes, Store, Update, object_key, service_of
from kproxy.testing.random_cluster import RandomCluster

WEB, API = ("shop", "web"), ("shop", "api")


def service(name: str = "web", cluster_ip: str = "10.96.0.1") -> Service:
    return Service(
        metadata=Metadata(name=name, namespace="shop"), spec=ServiceSpec(cluster_ip=cluster_ip)
    )


def endpoint_slice(name: str, of: str | None = "web", address: str = "10.0.0.1") -> EndpointSlice:
    return EndpointSlice(
        metadata=Metadata(
            name=name, namespace="shop", labels={} if of is None else {SERVICE_NAME_LABEL: of}
        ),
        address_type="IPv4",
        endpoints=(Endpoint(addresses=(address,)),),
    )


def endpoints(*addresses: str, not_ready: tuple[str, ...] = ()) -> Endpoints:
    return Endpoints(
        metadata=Metadata(name="web", namespace="shop"),
        subsets=(
            EndpointSubset(
                addresses=tuple(EndpointAddress(ip=ip) for ip in addresses),
                not_ready_addresses=tuple(EndpointAddress(ip=ip) for ip in not_ready),
                ports=(EndpointPort(name="http", port=80),),
            ),
        ),
    )


def node(name: str = "node-0", namespace: str = "") -> Node:
    return Node(metadata=Metadata(name=name, namespace=namespace))


def service_cidr(*cidrs: str, name: str = "kubernetes", namespace: str = "") -> ServiceCIDR:
    return ServiceCIDR(
        metadata=Metadata(name=name, namespace=namespace), spec=ServiceCIDRSpec(cidrs=cidrs)
    )


def pod() -> Pod:
    return Pod(metadata=Metadata(name="pod", namespace="shop"))


def test_changes_can_be_taken_some_at_a_time() -> None:
    store = Store()
    store.replace([node(), *(service(f"web-{i}") for i in range(5))])
    parts = [store.take_changes(2) for _ in range(3)]
    assert [(len(part.services), bool(part.nodes)) for part in parts] == [
        (2, True),
        (2, False),
        (1, False),
    ]
    assert len(frozenset[tuple[str, str]]().union(*(part.services for part in parts))) == 5
    assert not store.has_changes


def test_no_later_change_is_looked_for_in_the_room_of_all_at_the_start() -> None:
    store = filled()
    tracemalloc.start()
    try:
        for number in range(5_000):
            store.upsert(service(f"web-{number}"))
        before_bytes, _ = tracemalloc.get_traced_memory()
        changes = store.take_changes()
        after_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(changes.services) == 5_000
    assert after_bytes - before_bytes < 16 * 5_000  # they have a set of their own, the store none


def ingress(name: str, namespace: str = "shop") -> Ingress:
    return Ingress(metadata=Metadata(name=name, namespace=namespace))


def filled(*objects: KubernetesObject) -> Store:
    """Return a store whose changes have been taken."""
    store = Store()
    store.replace(objects)
    store.take_changes()
    return store


CHANGES = [  # there before, upserted -> changed services, changed nodes
    ([], service(), {WEB}, set()),
    ([service()], service(), set(), set()),
    ([service()], service(cluster_ip="10.96.0.2"), {WEB}, set()),
    ([], endpoint_slice("a"), {WEB}, set()),
    ([endpoint_slice("a")], endpoint_slice("a"), set(), set()),
    ([endpoint_slice("a")], endpoint_slice("a", address="10.0.0.2"), {WEB}, set()),
    ([endpoint_slice("a")], endpoint_slice("a", of="api"), {WEB, API}, set()),
    ([endpoint_slice("a")], endpoint_slice("a", of=None), {WEB}, set()),
    ([], endpoint_slice("a", of=None), set(), set()),
    ([], endpoint_slice("a", of=""), set(), set()),
    ([], endpoints("10.0.0.1"), {WEB}, set()),
    ([], node(), set(), {"node-0"}),
    ([node()], node(), set(), set()),
    ([], pod(), set(), set()),
    ([], ingress("a"), set(), set()),
]


@pytest.mark.parametrize(("before", "upserted", "services", "nodes"), CHANGES)
def test_upsert(
    before: list[KubernetesObject],
    upserted: KubernetesObject,
    services: set[tuple[str, str]],
    nodes: set[str],
) -> None:
    store = filled(*before)
    store.upsert(upserted)
    assert store.has_changes == bool(services or nodes)
    changes = store.take_changes()
    assert changes == Changes(frozenset(services), frozenset(nodes))
    assert bool(changes) == bool(services or nodes)
    assert not store.has_changes
    assert not store.take_changes()


DELETIONS: list[tuple[KubernetesObject, set[tuple[str, str]], set[str]]] = [
    (service(), {WEB}, set()),
    (endpoint_slice("a"), {WEB}, set()),
    (endpoint_slice("a", of=None), set(), set()),
    (endpoints("10.0.0.1"), {WEB}, set()),
    (node(), set(), {"node-0"}),
    (pod(), set(), set()),
    (ingress("a"), set(), set()),
]


@pytest.mark.parametrize(("obj", "services", "nodes"), DELETIONS)
def test_delete(obj: KubernetesObject, services: set[tuple[str, str]], nodes: set[str]) -> None:
    store = filled(obj)
    store.delete(object_key(obj))
    changes = store.take_changes()
    assert changes == Changes(frozenset(services), frozenset(nodes))
    store.delete(object_key(obj))
    assert not store.has_changes
    assert (store.service(WEB), store.slices(WEB), store.node("node-0"), store.pods()) == (
        None,
        [],
        None,
        [],
    )


def test_what_was_put_in_is_found() -> None:
    store = filled(service(), service("api"), node(), pod(), endpoint_slice("b"))
    assert store.service(WEB) == service()
    assert sorted(store.services()) == [API, WEB]
    assert store.node("node-0") == node()
    assert store.pods() == [pod()]
    assert store.service(("default", "web")) is None
    assert store.node("web") is None


def test_ingresses_by_namespace_and_name() -> None:
    store = filled(ingress("b"), ingress("a"), pod(), ingress("c", namespace="other"))
    assert store.ingresses() == [ingress("c", namespace="other"), ingress("a"), ingress("b")]


def test_slices_are_in_order_of_name_whatever_their_history() -> None:
    store = filled(endpoint_slice("b"), endpoint_slice("a"), endpoint_slice("c", of="api"))
    assert [each.metadata.name for each in store.slices(WEB)] == ["a", "b"]
    store.upsert(endpoint_slice("b", of="api"))
    assert [each.metadata.name for each in store.slices(WEB)] == ["a"]
    assert [each.metadata.name for each in store.slices(API)] == ["b", "c"]


def test_slices_count_more_than_endpoints() -> None:
    store = filled(endpoints("10.0.0.9"), endpoint_slice("a"))
    assert [each.metadata.name for each in store.slices(WEB)] == ["a"]
    store.delete(("EndpointSlice", "shop", "a"))
    assert [each.endpoints[0].addresses for each in store.slices(WEB)] == [("10.0.0.9",)]


def test_endpoints_read_as_slices() -> None:
    store = filled(endpoints("10.0.0.1", "fd00::1", not_ready=("10.0.0.2",)))
    found = [
        (each.address_type, endpoint.addresses, endpoint.conditions, each.ports)
        for each in store.slices(WEB)
        for endpoint in each.endpoints
    ]
    ports = (EndpointPort(name="http", port=80),)
    ready, not_ready = EndpointConditions(ready=True), EndpointConditions(ready=False)
    assert found == [
        ("IPv4", ("10.0.0.1",), ready, ports),
        ("IPv4", ("10.0.0.2",), not_ready, ports),
        ("IPv6", ("fd00::1",), ready, ports),
    ]
    assert {service_of(each) for each in store.slices(WEB)} == {WEB}


def test_a_node_has_no_namespace() -> None:
    store = filled(node(namespace="default"))
    assert store.node("node-0") == node(namespace="default")
    store.upsert(node(namespace=""))
    assert store.node("node-0") == node(namespace="")
    store.delete(("Node", "", "node-0"))
    assert store.node("node-0") is None


SERVICE_CIDRS = [  # there before, upserted -> whether that is a change
    ([], service_cidr("10.96.0.0/12"), True),
    ([service_cidr("10.96.0.0/12")], service_cidr("10.96.0.0/12"), False),
    ([service_cidr("10.96.0.0/12")], service_cidr("10.96.0.0/16"), True),
    ([service_cidr("10.96.0.0/12")], service_cidr("10.96.0.0/12", name="more"), True),
    ([service_cidr()], service(), False),
    ([service_cidr()], node(), False),
]


@pytest.mark.parametrize(("before", "upserted", "changed"), SERVICE_CIDRS)
def test_service_cidrs_change_together(
    before: list[KubernetesObject], upserted: KubernetesObject, changed: bool
) -> None:
    store = filled(*before)
    store.upsert(upserted)
    assert store.take_changes().service_cidrs == changed
    assert not store.take_changes().service_cidrs
    assert not store.has_changes


def test_service_cidrs_are_those_of_all_objects() -> None:
    ours, more = service_cidr("10.96.0.0/12"), service_cidr("10.9.0.0/16", "fd00::/112", name="b")
    store = filled(ours, more)
    assert store.service_cidrs() == {"10.96.0.0/12", "10.9.0.0/16", "fd00::/112"}
    store.upsert(service_cidr("10.9.0.0/16", namespace="default"))  # no namespace: the same object
    store.delete(object_key(more))
    assert store.service_cidrs() == {"10.9.0.0/16"}
    assert store.take_changes() == Changes(service_cidrs=True)
    store.delete(("ServiceCIDR", "", "kubernetes"))
    assert store.service_cidrs() == set()
    assert store.has_changes


def test_replace_deletes_what_is_missing_and_keeps_what_is_equal() -> None:
    store = filled(service(), service("api"), endpoint_slice("a"), node())
    store.replace([service(), service("new"), endpoint_slice("a")])
    changes = store.take_changes()
    assert changes.services == {API, ("shop", "new")}
    assert changes.nodes == {"node-0"}
    assert sorted(store.services()) == [("shop", "new"), WEB]


UPDATES: list[tuple[Update, set[str], set[str]]] = [
    # what is done to the Services web and api -> those that exist then, those that changed
    (Update(), {"web", "api"}, set()),
    (Update(upserts=(service("new"),)), {"web", "api", "new"}, {"new"}),
    (Update(upserts=(service(),)), {"web", "api"}, set()),
    (Update(deletes=(object_key(service()),)), {"api"}, {"web"}),
    (Update(deletes=(("Service", "shop", "nobody"),)), {"web", "api"}, set()),
    (
        Update(upserts=(service("new"),), deletes=(object_key(service()),)),
        {"api", "new"},
        {"web", "new"},
    ),
    (Update(upserts=(service(),), deletes=(object_key(service()),)), {"web", "api"}, {"web"}),
]


@pytest.mark.parametrize(("update", "there", "changed"), UPDATES)
def test_an_update(update: Update, there: set[str], changed: set[str]) -> None:
    store = filled(service(), service("api"))
    store.apply(update)
    assert {name for _, name in store.services()} == there
    assert {name for _, name in store.take_changes().services} == changed


def test_an_update_is_a_value() -> None:
    assert not Update()
    assert Update(upserts=(service(),))
    assert Update(deletes=(object_key(service()),))
    assert Update(upserts=(service(),)) == Update(upserts=(service(),))
    update: Any = Update()
    with pytest.raises(AttributeError):
        update.upserts = (service(),)


REPLACEMENTS: list[tuple[list[KubernetesObject], Update]] = [  # of web and node-0, by -> the update
    ([], Update(deletes=(object_key(service()), object_key(node())))),
    ([service()], Update(upserts=(service(),), deletes=(object_key(node()),))),
    ([node(), service()], Update(upserts=(node(), service()))),
    (
        [service("new"), service("new", "10.96.0.2"), node(), service()],  # the last one counts
        Update(upserts=(service("new", "10.96.0.2"), node(), service())),
    ),
]


@pytest.mark.parametrize(("objects", "update"), REPLACEMENTS)
def test_a_replacement_is_an_update(objects: list[KubernetesObject], update: Update) -> None:
    store = filled(service(), node())
    assert store.replacement(objects) == update
    assert not store.has_changes
    store.apply(update)
    assert contents(store) == contents(filled(*objects))


def test_who_watches_hears_what_there_is_and_then_each_change_once() -> None:
    heard: list[tuple[KubernetesObject, bool]] = []
    store = Store()
    store.upsert(service("web"))
    store.watch(lambda obj, deleted: heard.append((obj, deleted)))
    store.upsert(service("web"))  # as it was
    store.upsert(service("web", "10.96.0.2"))
    store.replace([service("api")])
    store.delete(object_key(service("web")))  # gone already
    assert heard == [
        (service("web"), False),
        (service("web", "10.96.0.2"), False),
        (service("web", "10.96.0.2"), True),
        (service("api"), False),
    ]


def test_a_change_that_is_reverted_stays_one() -> None:
    """The plan decides in the end; one service too many only costs a comparison."""
    store = filled(service())
    store.upsert(service(cluster_ip="10.96.0.2"))
    store.upsert(service())
    assert store.take_changes().services == {WEB}


def contents(store: Store) -> object:
    return (
        {key: store.service(key) for key in store.services()},
        {key: store.slices(key) for key in store.services()},
        {name: store.node(name) for name in ("node-0", "node-1", "node-2")},
        store.pods(),
    )


@given(st.integers(0, 2**32))
def test_any_history_ends_where_a_fresh_start_does(seed: int) -> None:
    cluster = RandomCluster(seed)
    store = filled(*cluster.objects.values())
    for _ in range(20):
        before = contents(store)
        key, obj = cluster.edit()
        if obj is None:
            store.delete(key)
        else:
            store.upsert(obj)
        assert store.has_changes or contents(store) == before
        store.take_changes()
        assert contents(store) == contents(filled(*cluster.objects.values()))


def test_copies_are_equal_to_the_original() -> None:
    store = filled(service())
    store.upsert(replace(service()))
    assert not store.has_changes
