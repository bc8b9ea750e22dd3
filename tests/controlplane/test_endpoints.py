"""The Endpoints object made of Pods, and slices made of Endpoints written by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from msgspec import convert
from msgspec.structs import replace

from kproxy.address import Family, family_of
from kproxy.api.types import (
    EndpointAddress,
    EndpointPort,
    Endpoints,
    EndpointSubset,
    Metadata,
    ObjectReference,
    Pod,
    Service,
    ServicePort,
)
from kproxy.controlplane.endpoints import OVER_CAPACITY, endpoints_for
from kproxy.controlplane.mirroring import reconcile_mirrored
from tests.controlplane.clusters import HTTP, NAMED, Cluster, counts, numbered, pod, service
from tests.controlplane.played import NODES, Played
from tests.controlplane.played import WEB as OF_WEB
from tests.controlplane.played import pod as played_pod

Shown = tuple[list[str], str, str]  # ports, names of ready pods, and of others
A, B = pod("a", "10.244.0.10", "fd00::a"), pod("b", "10.244.0.9", "fd00::b")
SICK = pod("s", "10.244.0.3", ready=False)
ENDING = pod("t", "10.244.0.4", terminating=True)
ADMIN = ServicePort(name="admin", port=81, target_port=8081)
SPEC: dict[str, Any] = {"ports": [{"port": 80}], "selector": OF_WEB}
WEB = replace(NAMED, name="web")
ONE, TWO = pod("one", "10.244.0.1", port=1), pod("two", "10.244.0.2", port=2)

SUBSETS: list[tuple[Service, list[Pod], list[Shown]]] = [
    (service(), [], []),
    (service(), [A], [(["http 8080"], "a", "")]),
    (service(), [A, SICK, B], [(["http 8080"], "a b", "s")]),  # in order of the address's text
    (service(), [A, ENDING], [(["http 8080"], "a", "")]),
    (service(), [A, pod("f", "10.244.0.5", phase="Failed")], [(["http 8080"], "a", "")]),
    (service(), [pod("new")], []),
    (
        service(publish_not_ready_addresses=True),
        [A, SICK, ENDING],
        [(["http 8080"], "a s t", "")],
    ),
    (service(HTTP, ADMIN), [A, SICK], [(["admin 8081", "http 8080"], "a", "s")]),
    (service(NAMED), [ONE, TWO], [(["http 1"], "one", ""), (["http 2"], "two", "")]),
    (  # ports that all Pods have are not repeated for each
        service(HTTP, WEB),
        [ONE, TWO],
        [(["http 8080"], "one two", ""), (["web 1"], "one", ""), (["web 2"], "two", "")],
    ),
    (service(NAMED), [A, ONE], [(["http 1"], "one", "")]),
    (service(cluster_ip="None", ports=()), [A, SICK], [([], "a", "s")]),
    (service(families=(Family.IPV6, Family.IPV4)), [A, SICK], [(["http 8080"], "a", "")]),
]


def shown(subset: EndpointSubset) -> Shown:
    return (
        [f"{port.name} {port.port}" for port in subset.ports],
        names(subset.addresses),
        names(subset.not_ready_addresses),
    )


def names(addresses: Sequence[EndpointAddress]) -> str:
    return " ".join(each.target_ref.name for each in addresses if each.target_ref)


def made(of: Service, pods: list[Pod], **options: Any) -> Endpoints:
    found = endpoints_for(of, pods, **options)
    assert found
    return found


@pytest.mark.parametrize(("of", "pods", "subsets"), SUBSETS)
def test_subsets(of: Service, pods: list[Pod], subsets: list[Shown]) -> None:
    assert [shown(each) for each in made(of, pods).subsets] == subsets
    assert made(of, pods) == made(of, pods[::-1])


def test_the_object_in_full() -> None:
    of = service(cluster_ip="None", labels={"team": "shop"})
    db = pod("db-0", "10.244.0.7", hostname="db-0", subdomain="web")
    found = made(of, [db])
    assert found.metadata == Metadata(
        name="web",
        labels={
            "team": "shop",
            "endpoints.kubernetes.io/managed-by": "endpoint-controller",
            "service.kubernetes.io/headless": "",
        },
    )
    assert found.subsets[0].addresses == (
        EndpointAddress(
            ip="10.244.0.7",
            hostname="db-0",
            node_name="node-a",
            target_ref=ObjectReference(kind="Pod", namespace="default", name="db-0"),
        ),
    )


HEADLESS = "service.kubernetes.io/headless"
LABELS = [  # of the Service, its cluster IP -> those of its Endpoints
    ({HEADLESS: ""}, "10.96.0.10", {}),
    ({HEADLESS: "no", "team": "shop"}, "10.96.0.10", {"team": "shop"}),
    ({HEADLESS: "no"}, "None", {HEADLESS: ""}),
    ({"endpoints.kubernetes.io/managed-by": "me"}, "10.96.0.10", {}),
]


@pytest.mark.parametrize(("own", "cluster_ip", "labels"), LABELS)
def test_reserved_labels_are_not_copied(
    own: dict[str, str], cluster_ip: str, labels: dict[str, str]
) -> None:
    found = made(service(labels=own, cluster_ip=cluster_ip), [A]).metadata.labels
    assert found == labels | {"endpoints.kubernetes.io/managed-by": "endpoint-controller"}


@pytest.mark.parametrize("of", [service(selector={}), service(type="ExternalName")])
def test_written_by_others(of: Service) -> None:
    assert endpoints_for(of, [A]) is None


TRUNCATED = [  # ready on port 1, not ready there; the same on port 2 -> what is left, of 10
    ((5, 0, 5, 0), (5, 0, 5, 0), False),
    ((8, 3, 0, 0), (8, 2, 0, 0), True),  # ready ones first
    ((12, 3, 0, 0), (10, 0, 0, 0), True),
    ((10, 1, 0, 0), (10, 0, 0, 0), True),
    ((9, 0, 6, 2), (6, 0, 4, 0), True),  # in proportion
    ((7, 0, 6, 0), (6, 0, 4, 0), True),  # rounded up, so the last one gets less
    ((2, 9, 2, 3), (2, 5, 2, 1), True),
    ((0, 12, 0, 3), (0, 8, 0, 2), True),
]


@pytest.mark.parametrize(("found", "left", "annotated"), TRUNCATED)
def test_truncated(found: tuple[int, ...], left: tuple[int, ...], annotated: bool) -> None:
    kinds = [(1, True), (1, False), (2, True), (2, False)]
    pods = [
        pod(f"p-{kind}-{i}", f"10.244.{kind}.{i + 1}", port=port, ready=ready)
        for kind, ((port, ready), count) in enumerate(zip(kinds, found, strict=True))
        for i in range(count)
    ]
    endpoints = made(service(NAMED), pods, most=10)
    sizes = [
        len(part)
        for subset in endpoints.subsets
        for part in (subset.addresses, subset.not_ready_addresses)
    ]
    assert tuple(sizes) == left[: len(sizes)]
    assert endpoints.metadata.annotations == ({OVER_CAPACITY: "truncated"} if annotated else {})


def test_a_thousand_addresses_are_kept() -> None:
    endpoints = made(service(), numbered(1001))
    assert len(endpoints.subsets[0].addresses) == 1000
    assert OVER_CAPACITY in endpoints.metadata.annotations
    assert OVER_CAPACITY not in made(service(), numbered(1000)).metadata.annotations


CUT = [  # addresses of ready and of other Pods -> those that are left of 2, in the order of texts
    (["10.244.2.88", "10.244.2.9", "10.244.2.188"], [], ["10.244.2.188", "10.244.2.88"], []),
    (["10.244.10.1", "10.244.9.1"], ["10.244.1.1"], ["10.244.10.1", "10.244.9.1"], []),
    (["10.244.1.9"], ["10.244.1.8", "10.244.1.70"], ["10.244.1.9"], ["10.244.1.70"]),
    (["fd00::9", "fd00::10", "fd00::a"], [], ["fd00::10", "fd00::9"], []),
]


@pytest.mark.parametrize(("ready", "sick", "left", "left_sick"), CUT)
def test_cut_in_the_order_of_texts(
    ready: list[str], sick: list[str], left: list[str], left_sick: list[str]
) -> None:
    pods = [pod(ip.replace(":", "."), ip) for ip in ready]
    pods += [pod(ip, ip, ready=False) for ip in sick]
    (subset,) = made(service(families=(family_of(ready[0]),)), pods, most=2).subsets
    assert [each.ip for each in subset.addresses] == left
    assert [each.ip for each in subset.not_ready_addresses] == left_sick


# --- mirroring -----------------------------------------------------------------------------------

BY_HAND = service(selector={})
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
MIRRORING = "endpointslicemirroring-controller.k8s.io"


def by_hand(
    *ips: str, sick: str = "", port: int = 80, labels: dict[str, str] | None = None
) -> Endpoints:
    return Endpoints(
        metadata=Metadata(
            name="web",
            labels=labels or {},
            annotations={"note": "x", "kubectl.kubernetes.io/last-applied-configuration": "{}"},
        ),
        subsets=(
            EndpointSubset(
                addresses=tuple(EndpointAddress(ip=ip, hostname="db") for ip in ips),
                not_ready_addresses=(EndpointAddress(ip=sick),) if sick else (),
                ports=(EndpointPort(name="http", port=port),),
            ),
        ),
    )


def test_mirrored() -> None:
    changes = reconcile_mirrored(
        BY_HAND, by_hand("10.0.0.1", "fd00::1", sick="10.0.0.2", labels={"a": "b"}), ()
    )
    v4, v6 = changes.create
    for each in (v4, v6):
        assert each.metadata.labels == {
            "kubernetes.io/service-name": "web",
            MANAGED_BY: MIRRORING,
            "a": "b",
        }
        assert each.metadata.annotations == {"note": "x"}
        assert each.ports == (EndpointPort(name="http", port=80),)
    assert [(e.addresses, e.conditions.ready, e.hostname) for e in v4.endpoints] == [
        (("10.0.0.1",), True, "db"),
        (("10.0.0.2",), False, None),
    ]
    assert [e.addresses for e in v6.endpoints] == [("fd00::1",)]


NOTHING = [  # a Service, Endpoints: nothing is mirrored, and what was is deleted
    (None, by_hand("10.0.0.1")),
    (BY_HAND, None),
    (service(), by_hand("10.0.0.1")),  # it has a selector
    (BY_HAND, by_hand("10.0.0.1", labels={"endpointslice.kubernetes.io/skip-mirror": "true"})),
]


@pytest.mark.parametrize(("of", "endpoints"), NOTHING)
def test_not_mirrored(of: Service | None, endpoints: Endpoints | None) -> None:
    before = reconcile_mirrored(BY_HAND, by_hand("10.0.0.1"), ()).create
    changes = reconcile_mirrored(of, endpoints, before)
    assert counts(changes) == (0, 0, 1)


STEPS = [  # then -> created, updated, deleted; first there is 10.0.0.1
    (by_hand("10.0.0.1"), (0, 0, 0)),
    (by_hand("10.0.0.1", "10.0.0.2"), (0, 1, 0)),
    (by_hand("10.0.0.1", port=81), (0, 1, 0)),
    (by_hand("10.0.0.1", "fd00::1"), (1, 0, 0)),
    (by_hand("fd00::1"), (1, 0, 1)),
    (by_hand(), (0, 0, 1)),
]


@pytest.mark.parametrize(("then", "changed"), STEPS)
def test_mirrored_steps(then: Endpoints, changed: tuple[int, int, int]) -> None:
    """Slices of other controllers stay, and this one's are not theirs."""
    cluster = Cluster()
    cluster.sync(service(), numbered(2))
    others = tuple(cluster.slices.values())
    first = reconcile_mirrored(BY_HAND, by_hand("10.0.0.1"), others).create
    assert counts(reconcile_mirrored(BY_HAND, then, (*others, *first))) == changed
    assert counts(cluster.sync(service(), numbered(2))) == (0, 0, 0)


def test_of_each_subset_only_so_many_are_mirrored() -> None:
    changes = reconcile_mirrored(
        BY_HAND, by_hand("10.0.0.1", "10.0.0.2", sick="10.0.0.3"), (), most=2
    )
    (created,) = changes.create
    assert [each.addresses[0] for each in created.endpoints] == ["10.0.0.1", "10.0.0.2"]
    assert changes.warnings == ("1 addresses are not mirrored: the limit is 2 per subset",)


HTTP80, HTTP81, DNS = (
    EndpointPort(name="http", port=80),
    EndpointPort(name="admin", port=81),
    EndpointPort(name="dns", port=53, protocol="UDP"),
)


def a_subset(ready: str, sick: str, *ports: EndpointPort) -> EndpointSubset:
    return EndpointSubset(
        addresses=tuple(EndpointAddress(ip=ip) for ip in ready.split()),
        not_ready_addresses=tuple(EndpointAddress(ip=ip) for ip in sick.split()),
        ports=ports,
    )


MERGED = [  # subsets -> endpoints of each slice with its ports; "!" is not ready
    ([a_subset("10.0.0.1", "10.0.0.1", HTTP80)], [("10.0.0.1!", "http")]),
    (
        [a_subset("10.0.0.1 10.0.0.2", "", HTTP80), a_subset("", "10.0.0.2", HTTP80)],
        [("10.0.0.1 10.0.0.2!", "http")],
    ),
    (  # not ready on one port only
        [a_subset("10.0.0.1", "", HTTP80, HTTP81), a_subset("", "10.0.0.1", HTTP81)],
        [("10.0.0.1!", "admin"), ("10.0.0.1", "http")],
    ),
    ([a_subset("10.0.0.9 10.0.0.10 10.0.0.9", "", DNS)], [("10.0.0.10 10.0.0.9", "dns")]),
    (  # the same addresses on several ports share a slice
        [a_subset("10.0.0.1", "", HTTP80), a_subset("10.0.0.1", "", DNS)],
        [("10.0.0.1", "dns http")],
    ),
    ([a_subset("fd00::1", "fd00::1", HTTP80)], [("fd00::1!", "http")]),
    ([a_subset("FD00::0:1 10.0.0.01", "", HTTP80)], [("10.0.0.1", "http"), ("fd00::1", "http")]),
    ([a_subset("10.0.0.1", "10.0.0.1")], [("10.0.0.1!", "")]),
]


@pytest.mark.parametrize(("subsets", "slices"), MERGED)
def test_mirrored_subsets_are_merged(
    subsets: list[EndpointSubset], slices: list[tuple[str, str]]
) -> None:
    endpoints = Endpoints(metadata=Metadata(name="web"), subsets=tuple(subsets))
    created = reconcile_mirrored(BY_HAND, endpoints, ()).create
    assert [
        (
            " ".join(e.addresses[0] + ("" if e.conditions.ready else "!") for e in each.endpoints),
            " ".join(port.name for port in each.ports),
        )
        for each in created
    ] == slices


def test_mirrored_addresses_of_two_pods_stay_two() -> None:
    pods = [ObjectReference(kind="Pod", name=name, uid=name) for name in ("a", "b")]
    found = tuple(EndpointAddress(ip="10.0.0.1", target_ref=pod) for pod in (*pods, pods[0]))
    subset = EndpointSubset(addresses=found, ports=(HTTP80,))
    endpoints = Endpoints(metadata=Metadata(name="web"), subsets=(subset,))
    (created,) = reconcile_mirrored(BY_HAND, endpoints, ()).create
    assert [each.target_ref for each in created.endpoints] == pods


def test_mirrored_addresses_are_cut_after_merging() -> None:
    endpoints = Endpoints(
        metadata=Metadata(name="web"),
        subsets=(a_subset("10.0.0.9 10.0.0.1", "", HTTP80), a_subset("10.0.0.10", "", HTTP80)),
    )
    changes = reconcile_mirrored(BY_HAND, endpoints, (), most=2)
    assert [e.addresses[0] for e in changes.create[0].endpoints] == ["10.0.0.1", "10.0.0.10"]
    assert changes.warnings == ("1 addresses are not mirrored: the limit is 2 per subset",)


def test_a_pod_without_a_node_keeps_the_object_from_being_written() -> None:
    """The API server refuses an address with an empty `nodeName`."""
    selecting = convert({"metadata": {"name": "web"}, "spec": SPEC}, Service)
    played = Played(*NODES, selecting, played_pod("a", "10.244.0.10", node="node-a"))
    key = ("Endpoints", "default", "web")
    before = played.cluster.object(key)
    assert isinstance(before, Endpoints)
    played.apply(played_pod("b", "10.244.0.11"), played_pod("c", "10.244.0.12", node="node-a"))
    assert played.cluster.object(key) == before
    told = "Pod b is left out: it has an address but no nodeName"
    assert told in played.told("Service")
    played.delete(("Pod", "default", "b"))
    after = played.cluster.object(key)
    assert isinstance(after, Endpoints)
    assert [each.ip for each in after.subsets[0].addresses] == ["10.244.0.10", "10.244.0.12"]
