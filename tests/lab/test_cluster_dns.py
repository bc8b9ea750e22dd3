"""The objects of a lab's DNS, and the records that it answers from."""

from __future__ import annotations

import dns.name
import pytest
from dns.rdatatype import RdataType

from kproxy.api.types import ContainerPort
from kproxy.errors import BadInput
from kproxy.lab.cluster.dns import ClusterDns, dns_addresses, dns_objects
from kproxy.store import Update
from tests.dns.cluster import HTTP, SLICES, at, named, slice_of

ADDRESSES = [  # service CIDRs -> cluster IPs
    (("10.96.0.0/16", "fd00:10:96::/112"), ("10.96.0.10", "fd00:10:96::a")),
    (("fd00:10:96::/112", "10.96.0.0/16"), ("fd00:10:96::a", "10.96.0.10")),
    (("10.247.0.0/20",), ("10.247.0.10",)),
    (("10.96.7.16/28",), ("10.96.7.26",)),
]


@pytest.mark.parametrize(("cidrs", "expected"), ADDRESSES)
def test_addresses(cidrs: tuple[str, ...], expected: tuple[str, ...]) -> None:
    assert dns_addresses(cidrs) == expected


def test_a_cidr_too_small() -> None:
    with pytest.raises(BadInput) as caught:
        dns_objects(["10.96.0.0/28", "10.96.7.0/29", "fd00:10:96::/125"])
    assert caught.value.problems == [
        "service CIDR 10.96.7.0/29: has no 10th address for kube-dns",
        "service CIDR fd00:10:96::/125: has no 10th address for kube-dns",
    ]


def test_objects() -> None:
    service, deployment = dns_objects(["fd00:10:96::/112", "10.96.0.0/16"])
    assert (service.spec.cluster_ip, *service.spec.cluster_ips) == (
        *("fd00:10:96::a", "fd00:10:96::a"),
        "10.96.0.10",
    )
    assert service.spec.ip_families == ("IPv6", "IPv4")
    assert [(each.name, each.port, each.protocol) for each in service.spec.ports] == [
        ("dns", 53, "UDP"),
        ("dns-tcp", 53, "TCP"),
    ]
    template = deployment.spec.template
    assert deployment.metadata.namespace == service.metadata.namespace == "kube-system"
    assert (deployment.metadata.name, deployment.spec.replicas) == ("coredns", 1)
    assert service.spec.selector == deployment.spec.selector.match_labels
    assert service.spec.selector.items() <= template.metadata.labels.items()
    assert template.spec.containers[0].ports == (
        ContainerPort(name="dns", container_port=53, protocol="UDP"),
        ContainerPort(name="dns-tcp", container_port=53),
    )


WEB = named("web", cluster_ips=("10.96.0.20",), ports=(HTTP,))
MOVED = named("web", cluster_ips=("10.96.0.21",), ports=(HTTP,))
DB = named("db", cluster_ips=("None",), ports=(HTTP,))
STEPS: list[tuple[Update, list[str]]] = [  # -> what `web` and `db` lead to
    (Update(), []),
    (Update(upserts=(WEB,)), ["10.96.0.20"]),
    (Update(upserts=(DB, slice_of("db", at("10.244.1.11")))), ["10.96.0.20", "10.244.1.11"]),
    (Update(upserts=(MOVED,)), ["10.96.0.21", "10.244.1.11"]),
    (Update(upserts=(slice_of("db", at("10.244.1.12")),)), ["10.96.0.21", "10.244.1.12"]),
    (Update(deletes=(("EndpointSlice", "default", "db-ipv4"),)), ["10.96.0.21"]),
    (Update(deletes=(("Service", "default", "web"), ("Service", "default", "nobody"))), []),
]


def test_it_answers_by_the_present_objects() -> None:
    cluster = ClusterDns({})
    for update, expected in STEPS:
        cluster.follow(update)
        names = (dns.name.from_text(f"{each}.default.svc.cluster.local") for each in ("web", "db"))
        answers = (cluster.records().answer(name, RdataType.A) for name in names)
        assert [str(found) for each in answers for rrset in each.answer for found in rrset] == (
            expected
        )


def test_records_are_made_anew_for_a_change_alone() -> None:
    cluster = ClusterDns({"www.example.com": ["192.0.2.53"]})
    cluster.follow(Update(upserts=(WEB, *SLICES)))
    records = cluster.records()
    _, deployment = dns_objects(["10.96.0.0/16"])
    cluster.follow(
        Update(
            upserts=(WEB, *SLICES, deployment),
            deletes=(("Service", "default", "nobody"), ("Pod", "default", "web")),
        )
    )
    assert cluster.records() is records
    cluster.follow(Update(upserts=(MOVED,)))
    assert cluster.records() is not records


def test_an_upstream_zone_that_cannot_be() -> None:
    with pytest.raises(BadInput, match=r"upstream zone: www\.example\.com"):
        ClusterDns({"www.example.com": ["192.0.2.1", "example.org"]})
