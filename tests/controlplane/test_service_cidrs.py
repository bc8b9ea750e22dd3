"""ServiceCIDRs: ranges that are added, changed and deleted; IPAddresses, and who holds them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from msgspec import convert

from kproxy.api.types import IPAddress, KubernetesObject, Metadata, Service, ServiceCIDR
from kproxy.errors import BadInput
from kproxy.store import ObjectKey, Update
from tests.controlplane.played import NOW, V4, V6, Played, service, service_spec

EXTRA = "10.200.0.0/28"
MISMATCH = "the provided network does not match the current range"
KUBERNETES: ObjectKey = ("ServiceCIDR", "", "kubernetes")
KEY: ObjectKey = ("ServiceCIDR", "", "extra")
WEB: ObjectKey = ("Service", "default", "web")
IN_USE = (
    "it is Terminating, and no new addresses are allocated from it: There are still IPAddresses"
    " referencing the ServiceCIDR, please remove them or create a new ServiceCIDR"
)


def cidr(*cidrs: str, name: str = "extra") -> ServiceCIDR:
    told = {"metadata": {"name": name, "namespace": ""}, "spec": {"cidrs": cidrs}}
    return convert(told, ServiceCIDR)


def address(ip: str, name: str = "gw", **labels: str) -> IPAddress:
    parent = {"group": "gateway.networking.k8s.io", "resource": "gateways", "name": name}
    meta = {"name": ip, "namespace": "", "labels": labels}
    return convert({"metadata": meta, "spec": {"parentRef": parent}}, IPAddress)


def at(ip: str, name: str = "web", **spec: Any) -> Service:
    return service(name, clusterIP=ip, clusterIPs=[ip], **spec)


def stored(played: Played, key: ObjectKey = KEY) -> ServiceCIDR:
    found = played.cluster.object(key)
    assert isinstance(found, ServiceCIDR)
    return found


def ready(played: Played, key: ObjectKey = KEY) -> tuple[str, str, str]:
    (condition,) = stored(played, key).status.conditions
    assert condition.type == "Ready"
    return condition.status, condition.reason, condition.message


def ips(played: Played) -> list[str]:
    return [each.metadata.name for each in played.cluster.objects(IPAddress)]


def problems(do: Callable[[], object]) -> list[str]:
    with pytest.raises(BadInput) as refused:
        do()
    return list(refused.value.problems)


READY = ("True", "", "Kubernetes Service CIDR is ready")


def test_the_default_range_is_an_object() -> None:
    played = Played(service(), service_cidrs=("10.96.0.9/24", V6))
    found = stored(played, KUBERNETES)
    assert found.spec.cidrs == ("10.96.0.0/24", V6)
    assert found.metadata.finalizers == ("networking.k8s.io/service-cidr-finalizer",)
    assert ready(played, KUBERNETES) == READY


def test_an_added_range_is_usable_at_once() -> None:
    played = Played(at("10.200.0.5"), cidr(EXTRA))  # whatever comes first
    assert service_spec(played.cluster).cluster_ips == ("10.200.0.5",)
    assert ready(played) == READY
    played.apply(at("10.200.0.6", "shop"))
    told = problems(lambda: played.apply(at("10.201.0.1", "x")))
    assert told == [
        (
            'Service "x" is invalid: spec.clusterIPs: Invalid value: ["10.201.0.1"]: '
            f"failed to allocate IP 10.201.0.1: {MISMATCH}"
        )
    ]
    played.apply(cidr("10.201.0.0/24", "fd01::/112", name="third"))
    played.apply(at("10.201.0.1", "x"))
    for edge in ("10.200.0.0", "10.200.0.15"):
        assert MISMATCH in problems(partial(played.apply, at(edge, "y")))[0]


def test_dynamic_addresses_come_from_all_ranges() -> None:
    played = Played(service_cidrs=("10.96.0.0/30",))
    played.apply(cidr("10.200.0.0/30"))
    played.apply(*(service(f"s-{i}") for i in range(4)))
    assert ips(played) == ["10.200.0.1", "10.200.0.2", "10.96.0.1", "10.96.0.2"]
    assert problems(lambda: played.apply(service("one-more"))) == [
        (
            'Service "one-more": Internal error occurred: failed to allocate a serviceIP for'
            ' Service "one-more": range is full'
        )
    ]


def test_a_refusal_takes_nothing() -> None:
    """Neither ranges nor addresses of a refused write are used."""
    played = Played(service_cidrs=("10.96.0.0/29",))
    played.cluster.take_changes()
    bad: list[KubernetesObject] = [
        cidr(EXTRA),
        address("10.96.0.3"),
        at("10.200.0.5"),
        at("10.201.0.5", "bad"),
    ]
    assert len(problems(lambda: played.apply(*bad))) == 1
    assert played.cluster.take_changes() == Update()
    assert MISMATCH in problems(lambda: played.apply(at("10.200.0.5")))[0]
    played.apply(at("10.96.0.3"))


FIXED = "field is immutable"
CHANGES = [  # ranges before and then -> problems behind "spec.cidrs"
    ([EXTRA], [EXTRA], []),
    ([EXTRA], [EXTRA, "fd01::/112"], []),
    (["fd01::/112"], ["fd01::/112", EXTRA], []),
    ([EXTRA], ["10.98.0.0/24"], [f'[0]: Invalid value: "10.98.0.0/24": {FIXED}']),
    ([EXTRA], ["10.98.0.0/24", "fd01::/112"], [f'[0]: Invalid value: "10.98.0.0/24": {FIXED}']),
    (
        [EXTRA, "fd01::/112"],
        [EXTRA, "fd02::/112"],
        [f'[1]: Invalid value: "fd02::/112": {FIXED}'],
    ),
    (
        [EXTRA, "fd01::/112"],
        ["fd01::/112", EXTRA],
        [f'[0]: Invalid value: "fd01::/112": {FIXED}', f'[1]: Invalid value: "{EXTRA}": {FIXED}'],
    ),
    ([EXTRA, "fd01::/112"], [EXTRA], [f': Invalid value: ["{EXTRA}"]: {FIXED}']),
]


@pytest.mark.parametrize(("before", "then", "told"), CHANGES)
def test_ranges_do_not_change(before: list[str], then: list[str], told: list[str]) -> None:
    played = Played(cidr(*before), service_cidrs=(V4, V6))
    if not told:
        played.apply(cidr(*then))
        assert stored(played).spec.cidrs == tuple(then)
        assert ready(played) == READY
        return
    faults = [f"spec.cidrs{each}" for each in told]
    shown = faults[0] if len(faults) == 1 else f"[{', '.join(faults)}]"
    expected = [f'ServiceCIDR.networking.k8s.io "extra" is invalid: {shown}']
    assert problems(lambda: played.apply(cidr(*then))) == expected
    assert stored(played).spec.cidrs == tuple(before)


def test_a_family_that_is_added_is_used() -> None:
    played = Played(cidr(EXTRA), service_cidrs=(V4, V6))
    played.apply(cidr(EXTRA, "fd01::/112"))
    played.apply(service(clusterIP="fd01::5", clusterIPs=["fd01::5"], ipFamilies=["IPv6"]))
    assert ips(played) == ["fd01::5"]


# --- deleting ------------------------------------------------------------------------------------


def test_an_unused_range_is_deleted() -> None:
    played = Played(cidr(EXTRA))
    played.delete(KEY)
    assert played.cluster.object(KEY) is None
    assert MISMATCH in problems(lambda: played.apply(at("10.200.0.5")))[0]


def test_a_range_in_use_stays_until_it_is_not() -> None:
    played = Played(cidr(EXTRA), at("10.200.0.5"))
    played.delete(KEY)
    assert stored(played).metadata.deletion_timestamp == NOW
    assert ready(played)[:2] == ("False", "Terminating")
    assert played.cluster.warnings[KEY] == (IN_USE,)
    assert problems(lambda: played.apply(at("10.200.0.6", "shop"))) == [
        (
            'Service "shop" is invalid: spec.clusterIPs: Invalid value: ["10.200.0.6"]: '
            f"failed to allocate IP 10.200.0.6: {MISMATCH}"
        )
    ]
    played.apply(at("10.200.0.5", type="NodePort"))  # it keeps its address
    played.apply(cidr(EXTRA))  # what is being deleted stays so
    played.delete(KEY)
    assert ready(played)[:2] == ("False", "Terminating")
    played.delete(WEB)
    assert played.cluster.object(KEY) is None
    assert KEY not in played.cluster.warnings


@pytest.mark.parametrize("other", [EXTRA, "10.200.0.0/16"])
def test_another_range_takes_over(other: str) -> None:
    played = Played(cidr(EXTRA), at("10.200.0.5"))
    played.delete(KEY)
    played.apply(cidr(other, name="other"))
    assert played.cluster.object(KEY) is None
    played.apply(at("10.200.0.6", "shop"))
    assert "already allocated" in problems(lambda: played.apply(at("10.200.0.5", "again")))[0]
    played.delete(("ServiceCIDR", "", "other"))
    assert ready(played, ("ServiceCIDR", "", "other"))[0] == "False"


def test_a_smaller_range_takes_over_what_it_contains() -> None:
    played = Played(cidr("10.200.0.0/16"), at("10.200.0.5"), at("10.200.1.5", "shop"))
    played.apply(cidr(EXTRA, name="small"))
    played.delete(KEY)
    assert ready(played)[0] == "False"
    played.delete(("Service", "default", "shop"))
    assert played.cluster.object(KEY) is None


def test_the_default_range_comes_back() -> None:
    played = Played(service())
    played.delete(KUBERNETES)
    assert ready(played, KUBERNETES)[:2] == ("False", "Terminating")
    assert "range is full" in problems(lambda: played.apply(service("shop")))[0]
    played.delete(WEB)
    assert ready(played, KUBERNETES) == READY
    assert stored(played, KUBERNETES).metadata.deletion_timestamp is None
    played.apply(service("shop"))


def test_a_refusal_while_a_range_terminates_frees_nothing() -> None:
    played = Played(cidr(EXTRA), at("10.200.0.5"), service("shop"))
    played.delete(KEY)
    problems(lambda: played.apply(at("10.201.0.5", "bad")))
    played.apply(cidr(EXTRA, name="other"))
    assert "already allocated" in problems(lambda: played.apply(at("10.200.0.5", "x")))[0]
    shop = service_spec(played.cluster, "shop").cluster_ip
    assert "already allocated" in problems(lambda: played.apply(at(shop, "y")))[0]


NOTICED = [  # ranges -> warnings of a cluster without IPv6
    ([EXTRA], ()),
    (
        ["fd01::/112"],
        (
            (
                "spec.cidrs[0]: no addresses are allocated from fd01::/112: IPv6 is not configured"
                " on this cluster"
            ),
        ),
    ),
]


@pytest.mark.parametrize(("cidrs", "told"), NOTICED)
def test_ranges_of_other_families(cidrs: list[str], told: tuple[str, ...]) -> None:
    played = Played(cidr(*cidrs), service())
    assert played.cluster.warnings.get(KEY, ()) == told


def test_a_range_that_is_too_large() -> None:
    played = Played(cidr("fd01::/48"), service_cidrs=(V4, V6))
    (told,) = played.cluster.warnings[KEY]
    assert "must not be shorter than 64" in told
    wanted = service(clusterIP="fd01::5", clusterIPs=["fd01::5"], ipFamilies=["IPv6"])
    assert MISMATCH in problems(lambda: played.apply(wanted))[0]


# --- IPAddresses ---------------------------------------------------------------------------------


def test_each_cluster_ip_has_an_object() -> None:
    dual = {"ipFamilyPolicy": "RequireDualStack", "clusterIP": "10.96.0.123"}
    both = service(**dual, clusterIPs=["10.96.0.123", "fd00:10:96::37fa"])
    played = Played(both, service("none", clusterIP="None"), service_cidrs=(V4, V6))
    assert ips(played) == ["10.96.0.123", "fd00:10:96::37fa"]
    second = played.cluster.object(("IPAddress", "", "fd00:10:96::37fa"))
    assert second == convert(
        {
            "metadata": {
                "name": "fd00:10:96::37fa",
                "namespace": "",
                "labels": {
                    "ipaddress.kubernetes.io/ip-family": "IPv6",
                    "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io",
                },
            },
            "spec": {"parentRef": {"resource": "services", "namespace": "default", "name": "web"}},
        },
        IPAddress,
    )
    played.apply(service(ipFamilyPolicy="SingleStack"))
    assert ips(played) == ["10.96.0.123"]
    played.apply(service(type="ExternalName", externalName="a.example"))
    assert ips(played) == []
    played.apply(at("10.96.0.9"))
    played.delete(WEB)
    assert ips(played) == []


def test_an_address_of_something_else_is_not_given_out() -> None:
    played = Played(address("10.96.0.2"), service_cidrs=("10.96.0.0/30",))
    assert problems(lambda: played.apply(at("10.96.0.2"))) == [
        (
            'Service "web" is invalid: spec.clusterIPs: Invalid value: ["10.96.0.2"]: '
            "failed to allocate IP 10.96.0.2: provided IP is already allocated"
        )
    ]
    problems(lambda: played.apply(address("10.96.0.1"), at("10.96.0.1")))  # in one write, too
    played.apply(service())
    assert service_spec(played.cluster).cluster_ip == "10.96.0.1"
    assert "range is full" in problems(lambda: played.apply(service("shop")))[0]
    played.delete(("IPAddress", "", "10.96.0.2"))
    played.apply(service("shop"))
    assert service_spec(played.cluster, "shop").cluster_ip == "10.96.0.2"


def test_an_address_of_something_else_keeps_no_range() -> None:
    played = Played(cidr(EXTRA), address("10.200.0.5"))
    played.delete(KEY)
    assert played.cluster.object(KEY) is None
    assert ips(played) == ["10.200.0.5"]


def test_the_object_of_a_service_stays() -> None:
    played = Played(at("10.96.0.9"))
    played.delete(("IPAddress", "", "10.96.0.9"))
    assert ips(played) == ["10.96.0.9"]
    assert "already allocated" in problems(lambda: played.apply(at("10.96.0.9", "shop")))[0]


@pytest.mark.parametrize("before", [at("10.96.0.9"), address("10.96.0.9", "other")])
def test_an_address_stays_whose_it_is(before: KubernetesObject) -> None:
    played = Played(before)
    assert problems(lambda: played.apply(address("10.96.0.9"))) == [
        (
            'IPAddress.networking.k8s.io "10.96.0.9" is invalid: spec.parentRef: Invalid value: {'
            '"Group":"gateway.networking.k8s.io","Resource":"gateways","Namespace":"","Name":"gw"}:'
            " field is immutable"
        )
    ]


def test_labels_of_an_address_may_change() -> None:
    played = Played(address("10.96.0.9"))
    played.apply(address("10.96.0.9", tier="edge"))
    found = played.cluster.object(("IPAddress", "", "10.96.0.9"))
    assert found is not None
    assert found.metadata == Metadata(name="10.96.0.9", namespace="", labels={"tier": "edge"})


def test_what_does_not_exist_is_named() -> None:
    played = Played()
    assert problems(lambda: played.delete(KEY, ("IPAddress", "", "10.0.0.1"))) == [
        'servicecidrs.networking.k8s.io "extra" not found',
        'ipaddresses.networking.k8s.io "10.0.0.1" not found',
    ]
