"""Services that have a health check node port, and its answers. Without sockets."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from kproxy.address import Family
from kproxy.api.types import (
    Endpoint,
    EndpointConditions,
    EndpointPort,
    EndpointSlice,
    Metadata,
    Service,
    ServicePort,
    ServiceSpec,
)
from kproxy.forwarding.plan import Delta, NodeSettings
from kproxy.forwarding.planner import Planner
from kproxy.serve.service_health import HealthChecks, answer
from kproxy.store import SERVICE_NAME_LABEL, ServiceKey, Store

SHOP = ("default", "shop")


def service(name: str = "shop", port: int = 32000, **spec: Any) -> Service:
    ports = (ServicePort(name="http", port=80), ServicePort(name="https", port=443))
    fields: dict[str, Any] = {
        "type": "LoadBalancer",
        "cluster_ip": "10.96.0.1",
        "external_traffic_policy": "Local",
        "health_check_node_port": port,
        "ports": ports,
    } | spec
    return Service(metadata=Metadata(name=name), spec=ServiceSpec(**fields))


def endpoint(address: str, node: str = "here", **conditions: bool) -> Endpoint:
    return Endpoint(
        addresses=(address,), node_name=node, conditions=EndpointConditions(**conditions)
    )


def slice_of(*endpoints: Endpoint, name: str = "shop", ports: str = "http https") -> EndpointSlice:
    return EndpointSlice(
        metadata=Metadata(name=f"{name}-1", labels={SERVICE_NAME_LABEL: name}),
        address_type="IPv4",
        ports=tuple(EndpointPort(name=each, port=8000 + len(each)) for each in ports.split()),
        endpoints=endpoints,
    )


class Rig:
    """A store, a planner and the health checks that follow it."""

    def __init__(self) -> None:
        self.store = Store()
        self.planner = Planner(NodeSettings(family=Family.IPV4, node_name="here"))
        self.checks = HealthChecks()

    def put(self, *objects: Service | EndpointSlice, full: bool = False) -> bool:
        for obj in objects:
            self.store.upsert(obj)
        return self.follow(full=full)

    def follow(self, *, full: bool = False) -> bool:
        delta = self.planner.update(self.store, self.store.take_changes().services)
        return self.checks.update(self.planner.plan, Delta(full=True) if full else delta)

    def table(self) -> dict[ServiceKey, tuple[int, int]]:
        assert self.checks.ports.keys() == self.checks.counts.keys()
        return {
            service: (port, self.checks.counts[service])
            for service, port in self.checks.ports.items()
        }


COUNTS = [
    ([], 0),
    ([endpoint("10.0.0.1")], 1),  # two ports, one address
    ([endpoint("10.0.0.1"), endpoint("10.0.0.2")], 2),
    ([endpoint("10.0.0.1", node="there")], 0),
    ([endpoint("10.0.0.1", ready=False)], 0),
    ([endpoint("10.0.0.1", ready=False, serving=True, terminating=True)], 0),
    ([endpoint("10.0.0.1", ready=True, terminating=True)], 1),  # publishNotReadyAddresses
]


@pytest.mark.parametrize(("endpoints", "count"), COUNTS)
def test_local_ready_addresses_count(endpoints: list[Endpoint], count: int) -> None:
    rig = Rig()
    assert rig.put(service(), slice_of(*endpoints), full=True)
    assert rig.table() == {SHOP: (32000, count)}


def test_endpoints_of_one_port_only_count_too() -> None:
    rig = Rig()
    rig.put(service(), slice_of(endpoint("10.0.0.1"), ports="https"))
    assert rig.table() == {SHOP: (32000, 1)}


def test_endpoints_of_a_port_that_the_service_does_not_have_count_too() -> None:
    rig = Rig()
    rig.put(service(), slice_of(endpoint("10.0.0.1"), ports="admin"))
    assert rig.table() == {SHOP: (32000, 1)}
    rig.put(slice_of(endpoint("10.0.0.1"), endpoint("10.0.0.2"), ports="admin"))
    assert rig.table() == {SHOP: (32000, 2)}


@pytest.mark.parametrize(
    "spec",
    [
        {"external_traffic_policy": "Cluster"},
        {"type": "NodePort"},
        {"health_check_node_port": 0},
        {"cluster_ip": "fd00::1"},
    ],
)
def test_services_that_are_not_asked(spec: dict[str, Any]) -> None:
    rig = Rig()
    assert not rig.put(service(**spec), slice_of(endpoint("10.0.0.1")), full=True)
    assert rig.table() == {}


def test_changes_are_followed() -> None:
    rig = Rig()
    rig.put(service(), slice_of(), full=True)
    assert not rig.put(slice_of(endpoint("10.0.0.1")))  # no port has changed
    assert rig.table() == {SHOP: (32000, 1)}
    assert not rig.follow(full=True)
    other = service("other", 32001, cluster_ip="10.96.0.2")
    assert rig.put(other)
    assert rig.table() == {SHOP: (32000, 1), ("default", "other"): (32001, 0)}
    assert rig.put(service(port=32009))
    one_port = replace(service(port=32009).spec, ports=(ServicePort(name="new", port=1),))
    assert not rig.put(replace(service(), spec=one_port))
    assert rig.table() == {SHOP: (32009, 1), ("default", "other"): (32001, 0)}
    assert not rig.put(slice_of())
    assert rig.table() == {SHOP: (32009, 0), ("default", "other"): (32001, 0)}
    rig.store.delete(("Service", "default", "other"))
    assert rig.follow()
    assert rig.put(service(external_traffic_policy="Cluster"))
    assert rig.table() == {}


def test_what_went_before_a_full_sync_is_forgotten() -> None:
    rig = Rig()
    rig.put(service(), full=True)
    rig.store.delete(("Service", "default", "shop"))
    assert rig.follow(full=True)
    assert rig.table() == {}


BODY = b"""{
	"service": {
		"namespace": "default",
		"name": "shop"
	},
	"localEndpoints": %d,
	"serviceProxyHealthy": %s
}"""

ANSWERS = [  # count, healthy -> status
    (0, True, 503),
    (1, True, 200),
    (12, True, 200),
    (1, False, 503),
    (0, False, 503),
]


@pytest.mark.parametrize(("count", "healthy", "status"), ANSWERS)
def test_an_answer(count: int, healthy: bool, status: int) -> None:
    response = answer(SHOP, count, healthy)
    assert response.status == status
    assert response.body == BODY % (count, b"true" if healthy else b"false")
    assert response.headers == (
        ("Content-Type", "application/json"),
        ("X-Content-Type-Options", "nosniff"),
        ("X-Load-Balancing-Endpoint-Weight", str(count)),
    )
