"""The planner: plans of hand-written objects, and independence of history."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Struct
from msgspec.structs import replace

from kproxy.address import Family
from kproxy.api.types import (
    Endpoint,
    EndpointConditions,
    EndpointHints,
    EndpointPort,
    EndpointSlice,
    LoadBalancerIngress,
    LoadBalancerStatus,
    Metadata,
    NamedHint,
    Service,
    ServicePort,
    ServiceSpec,
    ServiceStatus,
)
from kproxy.forwarding.plan import (
    DetectLocal,
    FrontendKind,
    LocalDetector,
    Masquerade,
    NodeSettings,
    OnEmpty,
    Pool,
    ServicePlan,
    ServicePortName,
)
from kproxy.forwarding.planner import Planner, plan_service
from kproxy.store import Store
from kproxy.testing.random_cluster import RandomCluster

HERE = NodeSettings(
    family=Family.IPV4,
    node_name="here",
    node_ip="192.168.10.10",
    zone="a",
    detector=LocalDetector(DetectLocal.CIDR, "10.244.0.0/16"),
)
HTTP = ServicePortName("default", "web", "http", "TCP")


def ep(
    last: int,
    node: str = "there",
    conditions: str = "ready",
    *,
    zones: str = "",
    nodes: str = "",
) -> Endpoint:
    """Return 10.244.0.`last` on a node, ready, not-ready, terminating or dying (not serving)."""
    ready, serving, terminating = {
        "ready": (True, True, False),
        "not-ready": (False, False, False),
        "warming": (False, True, False),
        "terminating": (False, True, True),
        "dying": (False, False, True),
        "unknown": (None, None, None),
    }[conditions]
    hints = EndpointHints(
        for_zones=tuple(NamedHint(name=name) for name in zones.split()),
        for_nodes=tuple(NamedHint(name=name) for name in nodes.split()),
    )
    return Endpoint(
        addresses=(f"10.244.0.{last}",),
        node_name=node,
        conditions=EndpointConditions(ready=ready, serving=serving, terminating=terminating),
        hints=hints,
    )


def endpoint_slice(*endpoints: Endpoint, name: str = "web-1", port: int = 8080) -> EndpointSlice:
    return EndpointSlice(
        metadata=Metadata(name=name, labels={"kubernetes.io/service-name": "web"}),
        address_type="IPv4",
        ports=(EndpointPort(name="http", port=port),),
        endpoints=endpoints,
    )


def web(**spec: Any) -> Service:
    ports = (ServicePort(name="http", port=80, node_port=30080 if spec.get("type") else 0),)
    fields = {"cluster_ip": "10.96.0.1", "cluster_ips": ("10.96.0.1",), "ports": ports} | spec
    return Service(metadata=Metadata(name="web"), spec=ServiceSpec(**fields))


def plan_of(
    service: Service, *endpoints: Endpoint, node: NodeSettings = HERE
) -> ServicePlan | None:
    return plan_service(service, [endpoint_slice(*endpoints)], node).get(HTTP)


class PoolCase(Struct, frozen=True):
    """Endpoints, the last octets in the cluster and the local pool, and whether any is usable."""

    why: str
    endpoints: tuple[Endpoint, ...]
    cluster: str
    local: str
    usable: bool = True


POOLS = [  # externalTrafficPolicy Local on a node port, so both pools are in use
    PoolCase("ready ones", (ep(1, "here"), ep(2)), "1 2", "1"),
    PoolCase("unknown is ready", (ep(1, "here", "unknown"),), "1", "1"),
    PoolCase("not ready is left out", (ep(1, "here", "not-ready"), ep(2)), "2", ""),
    PoolCase("serving without ready is no use", (ep(1, "here", "warming"),), "", "", False),
    PoolCase("terminating only if nothing else", (ep(1, "here", "terminating"), ep(2)), "2", "1"),
    PoolCase(
        "all terminating", (ep(1, "here", "terminating"), ep(2, "x", "terminating")), "1 2", "1"
    ),
    PoolCase("terminating and not serving", (ep(1, "here", "dying"),), "", "", False),
    PoolCase("none at all", (), "", "", False),
    PoolCase("sorted as text", (ep(2), ep(10)), "10 2", ""),
    PoolCase("this zone", (ep(1, zones="a"), ep(2, zones="b")), "1", ""),
    PoolCase("one without hint", (ep(1, zones="a"), ep(2)), "1 2", ""),
    PoolCase("no hint for this zone", (ep(1, zones="b"), ep(2, zones="c")), "1 2", ""),
    PoolCase(
        "this node before this zone",
        (ep(1, nodes="here", zones="b"), ep(2, nodes="x", zones="a")),
        "1",
        "",
    ),
    PoolCase(
        "node hints elsewhere: zone",
        (ep(1, nodes="x", zones="a"), ep(2, nodes="y", zones="b")),
        "1",
        "",
    ),
    PoolCase("hints do not bind local", (ep(1, "here", zones="b"), ep(2, zones="a")), "2", "1"),
    PoolCase(
        "hints of unready ones do not count", (ep(1, zones="a"), ep(2, "x", "not-ready")), "1", ""
    ),
]


def octets(endpoints: tuple[object, ...]) -> str:
    return " ".join(str(endpoint).split(":")[0].rsplit(".", 1)[1] for endpoint in endpoints)


@pytest.mark.parametrize("case", POOLS, ids=lambda case: case.why)
def test_pools(case: PoolCase) -> None:
    plan = plan_of(web(type="NodePort", external_traffic_policy="Local"), *case.endpoints)
    assert plan
    assert (octets(plan.cluster), octets(plan.local)) == (case.cluster, case.local)
    assert plan.has_endpoints is case.usable
    assert set(plan.reachable) == {*plan.cluster, *plan.local}
    assert {f.on_empty for f in plan.frontends} == {OnEmpty.DROP if case.usable else OnEmpty.REJECT}


@pytest.mark.parametrize(
    ("spec", "cluster", "local"),
    [
        ({}, "1 2", ""),  # no frontend uses local ones
        ({"internal_traffic_policy": "Local"}, "", "1"),  # no frontend uses the others
        ({"internal_traffic_policy": "Local", "type": "NodePort"}, "1 2", "1"),
        ({"external_traffic_policy": "Local"}, "1 2", ""),  # no frontend it would apply to
        ({"external_traffic_policy": "Local", "external_ips": ("198.51.100.1",)}, "1 2", "1"),
    ],
)
def test_only_pools_in_use_are_filled(spec: dict[str, object], cluster: str, local: str) -> None:
    plan = plan_of(web(**spec), ep(1, "here"), ep(2))
    assert plan
    assert (octets(plan.cluster), octets(plan.local)) == (cluster, local)


@pytest.mark.parametrize(
    "service",
    [
        web(cluster_ip="None", cluster_ips=("None",)),
        web(cluster_ip="", cluster_ips=()),
        web(type="ExternalName", external_name="example.org"),
        web(cluster_ip="fd00::1", cluster_ips=("fd00::1",)),
        web(ip_families=(Family.IPV6,), cluster_ip="fd00::1", cluster_ips=("fd00::1",)),
        replace(
            web(),
            metadata=Metadata(name="web", labels={"service.kubernetes.io/service-proxy-name": ""}),
        ),
    ],
    ids=["headless", "unallocated", "external-name", "v6-ip", "v6-family", "another-proxy"],
)
def test_no_part_in_this_family(service: Service) -> None:
    assert plan_of(service, ep(1)) is None


def test_cluster_ip_by_position_of_the_family() -> None:
    service = web(
        ip_families=(Family.IPV6, Family.IPV4),
        cluster_ip="fd00::1",
        cluster_ips=("fd00::1", "10.96.0.9"),
    )
    plan = plan_of(service, ep(1))
    assert plan
    assert plan.cluster_ip.address == "10.96.0.9"


def balanced(*ranges: str, ips: tuple[LoadBalancerIngress, ...]) -> Service:
    return replace(
        web(type="LoadBalancer", load_balancer_source_ranges=ranges),
        status=ServiceStatus(load_balancer=LoadBalancerStatus(ingress=ips)),
    )


VIP = LoadBalancerIngress(ip="203.0.113.1")


@pytest.mark.parametrize(
    ("ranges", "allowed"),
    [
        ((), ()),
        (("172.16.0.0/12",), ("172.16.0.0/12",)),
        (("172.16.0.0/12", "0.0.0.0/0"), ()),  # all sources
        (("fd00::/8",), ()),  # only the other family is restricted
        (("192.168.0.0/16",), ("192.168.0.0/16", "203.0.113.1")),  # holds this node: its VIPs too
    ],
)
def test_source_ranges(ranges: tuple[str, ...], allowed: tuple[str, ...]) -> None:
    plan = plan_of(balanced(*ranges, ips=(VIP,)), ep(1))
    assert plan
    by_kind = {frontend.kind: frontend.source_ranges for frontend in plan.frontends}
    assert by_kind == {
        FrontendKind.CLUSTER_IP: (),
        FrontendKind.LOAD_BALANCER: allowed,
        FrontendKind.NODE_PORT: (),
    }


def test_a_proxy_mode_address_is_not_programmed() -> None:
    proxied = LoadBalancerIngress(ip="203.0.113.2", ip_mode="Proxy")
    name_only = LoadBalancerIngress(hostname="lb.example.org")
    plan = plan_of(balanced(ips=(proxied, VIP, name_only)), ep(1))
    assert plan
    assert [f.address for f in plan.frontends if f.kind is FrontendKind.LOAD_BALANCER] == [VIP.ip]


@pytest.mark.parametrize(
    ("node", "internal"),
    [
        (HERE, Masquerade.OFF_CLUSTER),
        (replace(HERE, masquerade_all=True), Masquerade.ALWAYS),
        (replace(HERE, detector=None), Masquerade.NEVER),
    ],
)
@pytest.mark.parametrize(
    ("policy", "external", "pool"),
    [("Cluster", Masquerade.ALWAYS, Pool.CLUSTER), ("Local", Masquerade.NEVER, Pool.LOCAL)],
)
def test_masquerade_and_pool(
    node: NodeSettings, internal: Masquerade, policy: str, external: Masquerade, pool: Pool
) -> None:
    plan = plan_of(web(type="NodePort", external_traffic_policy=policy), ep(1), node=node)
    assert plan
    inside, outside = plan.frontends
    assert (inside.masquerade, inside.pool, inside.short_circuit) == (internal, Pool.CLUSTER, False)
    assert (outside.masquerade, outside.pool) == (external, pool)
    assert outside.short_circuit is (policy == "Local")


def test_external_ips_can_be_switched_off() -> None:
    plan = plan_of(
        web(external_ips=("198.51.100.1",)), ep(1), node=replace(HERE, allow_external_ips=False)
    )
    assert plan
    assert [f.kind for f in plan.frontends] == [FrontendKind.CLUSTER_IP]
    assert plan.externally_accessible


def test_duplicates_one_not_terminating_wins() -> None:
    slices = [
        endpoint_slice(ep(1, "here", "ready"), name="web-1"),
        endpoint_slice(ep(1, "here", "terminating"), name="web-2"),
        endpoint_slice(ep(2), name="web-3", port=9090),
    ]
    (plan,) = plan_service(web(), slices, HERE).values()
    assert [str(e) for e in plan.cluster] == ["10.244.0.1:8080", "10.244.0.2:9090"]
    assert plan.cached_endpoints == 2


def test_slices_of_headless_services_are_not_for_proxies() -> None:
    headless = endpoint_slice(ep(1))
    labels = {**headless.metadata.labels, "service.kubernetes.io/headless": ""}
    slices = [
        replace(headless, metadata=replace(headless.metadata, labels=labels)),
        endpoint_slice(ep(2), name="web-2"),
    ]
    (plan,) = plan_service(web(), slices, HERE).values()
    assert octets(plan.cluster) == "2"


def test_health_check_node_port_needs_a_local_load_balancer() -> None:
    local = {"external_traffic_policy": "Local", "health_check_node_port": 32000}
    plans = [plan_of(web(type=kind, **local), ep(1)) for kind in ("LoadBalancer", "NodePort")]
    assert [plan.health_check_node_port for plan in plans if plan] == [32000, 0]


@given(seed=st.integers(0, 2**32), edits=st.integers(1, 60))
@settings(max_examples=60)
def test_history_leaves_no_trace(seed: int, edits: int) -> None:
    """Planning step by step or at once gives the same plan, and deltas that add up to it."""
    cluster = RandomCluster(seed)
    store = Store()
    store.replace(cluster.objects.values())
    planner = Planner(HERE)
    followed: dict[ServicePortName, ServicePlan] = {}
    for _ in range(edits):
        key, obj = cluster.edit()
        if obj is None:
            store.delete(key)
        else:
            store.upsert(obj)
        delta = planner.update(store, store.take_changes().services)
        for name, before in delta.before.items():
            assert followed.pop(name, None) == before
            if name in planner.plan.services:
                followed[name] = planner.plan.services[name]
    fresh_store = Store()
    fresh_store.replace(cluster.objects.values())
    fresh = Planner(HERE)
    fresh.replan(fresh_store)
    assert planner.plan == fresh.plan
    assert followed == dict(fresh.plan.services)


def test_a_plan_is_a_value() -> None:
    """A plan that was kept shows what was planned then, so comparing finds changes."""
    cluster, store = RandomCluster(7), Store()
    for _ in range(30):
        cluster.edit()
    store.replace(cluster.objects.values())
    planner = Planner(HERE)
    planner.replan(store)
    kept, services = planner.plan, dict(planner.plan.services)
    name = next(iter(services))
    store.delete(("Service", *name.service))
    delta = planner.update(store, store.take_changes().services)
    assert planner.plan != kept
    assert kept.services == services
    assert {*kept.services} - {*planner.plan.services} == {*delta.before}
    # Nothing has changed since, so it is the same one, and costs no copy.
    assert planner.update(store, [name.service]).before == {}
    assert planner.plan is planner.plan


def test_other_settings_make_another_plan() -> None:
    planner = Planner(HERE)
    kept = planner.plan
    planner.replan(Store(), replace(HERE, zone="b"))
    assert (kept.settings.zone, planner.plan.settings.zone) == ("a", "b")
