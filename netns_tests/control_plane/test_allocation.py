"""Addresses and ports: allocated as stated, until none is left, and free again at once."""

from __future__ import annotations

import pytest

from kproxy.api.checks import altered
from kproxy.api.types import KubernetesObject, Service, ServiceCIDR
from kproxy.errors import BadInput
from kproxy.testing import delivered, dropped, refused
from netns_tests.control_plane.plane_lab import (
    V4,
    PlaneLab,
    check_served,
    deployment,
    known,
    objects,
    service,
)
from netns_tests.modes import Mode

BOTH_STATED = "type: NodePort, clusterIP: 10.96.0.5, clusterIPs: [10.96.0.5, 'fd00:10:96::5']"


def node_ports(lab: PlaneLab, name: str) -> list[int]:
    return [port.node_port for port in lab.service(name).spec.ports]


def test_what_is_written_is_honoured(lab: PlaneLab) -> None:
    lab.apply([deployment(replicas=1), fixed("web")])
    assert lab.service().spec.cluster_ips == ("10.96.0.5", "fd00:10:96::5")
    assert node_ports(lab, "web") == [30003, 30004]
    check_served(lab, "web-1")
    for address in ("10.96.0.5", "fd00:10:96::5"):
        assert lab.connect("shell", address, 80) == delivered("web-1", source="shell")
    assert lab.connect("outside", lab.nodes["node-c"].addresses[V4], 30003) == delivered("web-1")


def fixed(name: str, of: str = "web") -> Service:
    """Return a Service that states its addresses and ports."""
    found = service(name, of=of, more=BOTH_STATED)
    ports = [altered(port, node_port=30003 + i) for i, port in enumerate(found.spec.ports)]
    return altered(found, spec=altered(found.spec, ports=tuple(ports)))


def test_another_service_gets_what_is_released(lab: PlaneLab) -> None:
    """This takes effect at once, and clients reach its pods there."""
    lab.apply([deployment(replicas=1), deployment("shop", 1), fixed("web")])
    lab.delete([("Service", "default", "web")])
    assert lab.connect("outside", lab.nodes["node-c"].addresses[V4], 30003) == refused("node-c")
    assert not known(lab, ["10.96.0.5", "fd00:10:96::5"])
    lab.apply([fixed("shop", of="shop")])
    check_served(lab, "shop-1", by="shop")


def test_a_service_keeps_what_it_has(lab: PlaneLab) -> None:
    """This holds whatever else of it changes; another type frees what it does not need."""
    lab.apply([deployment(replicas=1), service()])
    first, vips = lab.service().spec, lab.vips()
    lab.apply([service(more="type: LoadBalancer, sessionAffinity: ClientIP")])
    assert lab.service().spec.cluster_ips == first.cluster_ips
    assert lab.service().spec.ports == first.ports
    assert lab.vips() == vips
    lab.apply([service(more="type: ClusterIP")])
    assert lab.service().spec.cluster_ips == first.cluster_ips
    assert node_ports(lab, "web") == [0, 0]
    assert not lab.vips()
    assert not known(lab, vips)
    assert lab.connect("outside", vips[0], 80) == refused("router")
    check_served(lab, "web-1")


NO_ADDRESS = 'failed to allocate a serviceIP for Service "late": range is full'
EXHAUSTED = [  # fields of the Services, how many there may be, the refusal of one more
    ("ipFamilies: [IPv4]", 13, NO_ADDRESS),
    ("ipFamilies: [IPv6]", 14, NO_ADDRESS),
    ("type: NodePort", 8, "failed to allocate a nodePort: range is full"),
]


@pytest.mark.parametrize(("more", "room", "told"), EXHAUSTED)
def test_all_are_taken(bare_lab: PlaneLab, more: str, room: int, told: str) -> None:
    """One address of each family is the DNS's. The one released last goes to the next Service."""
    lab = bare_lab
    lab.apply(small(f"s-{number}", more) for number in range(room))
    before = lab.objects_by_key()
    with pytest.raises(BadInput, match=f'^Service "late": Internal error occurred: {told}$'):
        lab.apply([deployment("shop"), small("late", more)])
    assert lab.objects_by_key() == before
    free = taken(lab, "s-3")
    lab.delete([("Service", "default", "s-3")])
    lab.apply([small("late", more)])
    assert free & taken(lab, "late")


def small(name: str, more: str) -> KubernetesObject:
    """Return a Service with one port."""
    ports = "ports: [{port: 80, targetPort: 8080}]"
    (found,) = objects(f"""
        apiVersion: v1
        kind: Service
        metadata: {{name: {name}}}
        spec: {{{more}, selector: {{app: web}}, {ports}}}
        """)
    return found


def taken(lab: PlaneLab, name: str) -> set[str]:
    """Return what a Service takes of the small pools."""
    return {*lab.service(name).spec.cluster_ips, *map(str, node_ports(lab, name))} - {"0"}


def test_load_balancers_wait_for_an_address(lab: PlaneLab) -> None:
    """The pool of IPv4 has two; a waiting Service gets the first that is released, with routes."""
    lab.apply([deployment(replicas=1), *(small(name, "type: LoadBalancer") for name in THREE)])
    first, second, waiting = map(lab.vips, THREE)
    assert (len(first), len(second), waiting) == (1, 1, [])
    pending = lab.warnings["Service", "default", "third"]
    assert pending == (
        "status.loadBalancer is pending: the pool 192.168.30.0/30 has no free address",
    )
    lab.delete([("Service", "default", "first")])
    assert lab.vips("third") == first
    assert ("Service", "default", "third") not in lab.warnings
    check_served(lab, "web-1", by="third")
    check_served(lab, "web-1", by="second")


def a_range(cidr: str) -> KubernetesObject:
    (found,) = objects(f"""
        apiVersion: networking.k8s.io/v1
        kind: ServiceCIDR
        metadata: {{name: extra}}
        spec: {{cidrs: [{cidr}]}}
        """)
    return found


def test_a_range_that_is_added(lab: PlaneLab, mode: Mode) -> None:
    """Its addresses are served at once; in nftables mode, others in it are dropped."""
    there, unused = "10.96.0.37", "10.96.0.38"
    assert lab.connect("shell", unused, 80) == refused("router")
    stated = small("late", f"clusterIP: {there}")
    lab.apply([deployment(replicas=1), a_range("10.96.0.32/28"), stated])
    assert lab.connect("shell", there, 80) == delivered("web-1")
    outcome = dropped("node-a") if mode.name == "nftables" else refused("router")
    assert lab.connect("shell", unused, 80) == outcome
    lab.delete([("ServiceCIDR", "", "extra")])
    assert lab.connect("shell", there, 80) == delivered("web-1")  # it stays, as it is needed
    lab.delete([("Service", "default", "late")])
    assert [each.metadata.name for each in lab.objects(ServiceCIDR)] == ["kubernetes"]
    assert lab.connect("shell", unused, 80) == refused("router")


THREE = ("first", "second", "third")
