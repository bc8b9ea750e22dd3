"""The load balancer controller: addresses from pools, and the reasons for having none."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from kproxy.api.types import LoadBalancerIngress, LoadBalancerStatus, Service, ServiceStatus
from kproxy.controlplane.load_balancers import LoadBalancers
from kproxy.errors import BadInput
from kproxy.store import ObjectKey, Update, object_key
from tests.controlplane.played import NOW, POOL, POOL6, V4, V6, Played, service

BALANCED = {"type": "LoadBalancer"}
DUAL: dict[str, Any] = {**BALANCED, "ipFamilyPolicy": "RequireDualStack"}
PENDING = "status.loadBalancer is pending: "
OLD_FORM = (
    'spec.loadBalancerIP: non-standard IP address "203.0.113.005" will be considered invalid in a'
    ' future Kubernetes release: use "203.0.113.5"'
)

ASSIGNED: list[tuple[tuple[str, ...], dict[str, Any], list[str], list[str]]] = [
    # pools, spec -> addresses, warnings
    ((POOL,), BALANCED, ["203.0.113.1"], []),
    ((POOL, POOL6), BALANCED, ["203.0.113.1"], []),
    ((POOL, POOL6), DUAL, ["203.0.113.1", "fd00:203::1"], []),
    (
        (POOL6, POOL),
        DUAL | {"ipFamilies": ["IPv6", "IPv4"]},
        ["fd00:203::1", "203.0.113.1"],
        [],
    ),
    ((POOL,), DUAL, ["203.0.113.1"], ["there is no pool of IPv6 addresses"]),
    ((), BALANCED, [], [PENDING + "there is no pool of IPv4 addresses"]),
    ((POOL6,), BALANCED, [], [PENDING + "there is no pool of IPv4 addresses"]),
    (("203.0.113.9/32",), BALANCED, ["203.0.113.9"], []),
    ((POOL,), {}, [], []),
    ((POOL,), {"type": "NodePort"}, [], []),
    (
        (POOL,),
        {**BALANCED, "loadBalancerClass": "example.com/lb"},
        [],
        [PENDING + "no controller serves spec.loadBalancerClass 'example.com/lb'"],
    ),
    ((POOL,), {**BALANCED, "loadBalancerIP": "203.0.113.5"}, ["203.0.113.5"], []),
    (
        (POOL, POOL6),
        DUAL | {"loadBalancerIP": "fd00:203::5"},
        ["203.0.113.1", "fd00:203::5"],
        [],
    ),
    (
        (POOL,),
        {**BALANCED, "loadBalancerIP": "203.0.113.9"},
        [],
        [PENDING + "spec.loadBalancerIP: 203.0.113.9 is not in the pool 203.0.113.0/29"],
    ),
    (
        (POOL,),
        {**BALANCED, "loadBalancerIP": "203.0.113.7"},  # the broadcast address
        [],
        [PENDING + "spec.loadBalancerIP: 203.0.113.7 is not in the pool 203.0.113.0/29"],
    ),
    (
        (POOL, POOL6),
        {**BALANCED, "loadBalancerIP": "fd00:203::5"},
        [],
        [PENDING + "spec.loadBalancerIP: fd00:203::5 is not of a family that the Service has"],
    ),
    (
        (POOL,),
        {**BALANCED, "loadBalancerIP": "lb.example.com"},
        [],
        [PENDING + "spec.loadBalancerIP: 'lb.example.com' is not an IP address"],
    ),
    (
        (POOL,),
        {**BALANCED, "loadBalancerIP": "203.0.113.005"},
        ["203.0.113.5"],
        [OLD_FORM],
    ),
]


def balanced(name: str, status: str = "", **spec: Any) -> Service:
    return service(name, status=status, **BALANCED, **spec)


def ips(played: Played, name: str = "web") -> list[str]:
    found = played.cluster.object(("Service", "default", name))
    assert isinstance(found, Service)
    return [each.ip for each in found.status.load_balancer.ingress]


def warnings(played: Played, name: str = "web") -> list[str]:
    return [each for each in played.told("Service", name) if "selector" not in each]


@pytest.mark.parametrize(("pools", "spec", "expected", "told"), ASSIGNED)
def test_assignment(
    pools: tuple[str, ...], spec: dict[str, Any], expected: list[str], told: list[str]
) -> None:
    played = Played(service(**spec), service_cidrs=(V4, V6), balancer_cidrs=pools)
    assert (ips(played), warnings(played)) == (expected, told)


def test_a_service_is_pending_first() -> None:
    played = Played(balancer_cidrs=(POOL,))
    played.cluster.apply([balanced("web")])
    assert ips(played) == []
    played.cluster.reconcile(NOW)
    assert ips(played) == ["203.0.113.1"]


def test_addresses_are_stable_and_free_after_use() -> None:
    played = Played(balanced("a"), balanced("b"), balancer_cidrs=(POOL,))
    played.apply(balanced("a", externalTrafficPolicy="Local"))
    assert (ips(played, "a"), ips(played, "b")) == (["203.0.113.1"], ["203.0.113.2"])
    played.apply(service("a", type="NodePort"))
    assert ips(played, "a") == []
    played.apply(balanced("c"))
    played.delete(("Service", "default", "b"))
    played.apply(balanced("a"))
    assert (ips(played, "c"), ips(played, "a")) == (["203.0.113.1"], ["203.0.113.2"])


def test_families_are_added_and_removed() -> None:
    played = Played(balanced("web"), service_cidrs=(V4, V6), balancer_cidrs=(POOL, POOL6))
    played.apply(service("web", **DUAL))
    assert ips(played) == ["203.0.113.1", "fd00:203::1"]
    played.apply(balanced("web", ipFamilyPolicy="SingleStack"))
    assert ips(played) == ["203.0.113.1"]
    played.apply(service("other", **DUAL))
    assert ips(played, "other") == ["203.0.113.2", "fd00:203::1"]


@pytest.mark.parametrize("freed_by", ["delete", "type", "request"])
def test_a_pending_service_gets_what_becomes_free(freed_by: str) -> None:
    asking = balanced("b", loadBalancerIP="203.0.113.1")
    played = Played(balanced("a"), balancer_cidrs=(POOL,))
    played.apply(asking)
    taken = "spec.loadBalancerIP: 203.0.113.1 belongs to another Service already"
    assert (ips(played, "b"), warnings(played, "b")) == ([], [PENDING + taken])
    if freed_by == "delete":
        played.delete(("Service", "default", "a"))
    elif freed_by == "type":
        played.apply(service("a"))
    else:
        played.apply(balanced("a", loadBalancerIP="203.0.113.3"))
        assert ips(played, "a") == ["203.0.113.3"]
    assert (ips(played, "b"), warnings(played, "b")) == (["203.0.113.1"], [])


def test_an_exhausted_pool() -> None:
    played = Played(balanced("a"), balanced("b"), balancer_cidrs=("203.0.113.0/31",))
    played.apply(balanced("c"))
    full = PENDING + "the pool 203.0.113.0/31 has no free address"
    assert (ips(played, "c"), warnings(played, "c")) == ([], [full])
    played.delete(("Service", "default", "a"))
    assert (ips(played, "c"), warnings(played, "c")) == (["203.0.113.0"], [])


def test_requests_come_first() -> None:
    """One apply assigns first the address in a status, then requested ones, then any."""
    played = Played(
        balanced("a"),
        balanced("b", loadBalancerIP="203.0.113.2"),
        balanced("c", status="203.0.113.1"),
        balancer_cidrs=(POOL,),
    )
    assert [ips(played, each) for each in "abc"] == [
        ["203.0.113.3"],
        ["203.0.113.2"],
        ["203.0.113.1"],
    ]


def test_a_new_service_may_bring_its_address() -> None:
    played = Played(balanced("web", "198.51.100.7"), balancer_cidrs=(POOL,))
    assert (ips(played), warnings(played)) == (["198.51.100.7"], [])
    played.apply(balanced("web", "198.51.100.8"))
    assert ips(played) == ["198.51.100.7"]
    played.apply(balanced("a"), balanced("b", "203.0.113.1"))
    assert (ips(played, "a"), ips(played, "b")) == (["203.0.113.2"], ["203.0.113.1"])
    played.delete(("Service", "default", "b"))
    played.apply(balanced("c", "203.0.113.2"))
    told = "status.loadBalancer.ingress[0].ip: 203.0.113.2 belongs to another Service already"
    assert (ips(played, "c"), warnings(played, "c")) == (["203.0.113.2"], [told])


def test_another_controller_assigns() -> None:
    cloud = OneAddress()
    played = Played(balanced("web"), cloud=cloud, balancer_cidrs=(POOL,))
    assert (ips(played), warnings(played)) == (["192.0.2.1"], [])
    with pytest.raises(BadInput, match=r"192\.0\.2\.1 is taken"):
        played.apply(balanced("shop"))
    assert not played.told("Service", "shop")
    played.apply(balanced("web", externalTrafficPolicy="Local"))
    assert ips(played) == ["192.0.2.1"]


def test_what_will_be_deleted_is_none_of_the_cloud_s_business() -> None:
    played = Played(balanced("web"), cloud=OneAddress())
    played.cluster.replace([balanced("shop")], [("Service", "default", "web")], NOW)
    assert ips(played, "shop") == ["192.0.2.1"]


class OneAddress:
    """A cloud with a single address, for one Service, called once for each write."""

    def __init__(self) -> None:
        self.holders: set[ObjectKey] = set()

    def admit(self, update: Update) -> Update:
        holders = self.holders - {*update.deletes} | {*map(object_key, update.upserts)}
        if len(holders) > 1:
            raise BadInput(["192.0.2.1 is taken"])
        self.holders = holders
        status = ServiceStatus(
            load_balancer=LoadBalancerStatus(
                ingress=(LoadBalancerIngress(ip="192.0.2.1", ip_mode="VIP"),)
            )
        )
        services = (each for each in update.upserts if isinstance(each, Service))
        return Update(upserts=tuple(replace(each, status=status) for each in services))


@pytest.mark.parametrize(
    ("cidrs", "told"),
    [
        ((POOL, "198.51.100.0/24"), "load balancer pools must be of different IP family"),
        (("shop",), "load balancer pool shop: not a CIDR such as 203.0.113.0/24"),
    ],
)
def test_pools_that_cannot_be(cidrs: tuple[str, ...], told: str) -> None:
    with pytest.raises(BadInput) as error:
        LoadBalancers(cidrs)
    assert error.value.problems == [told]
