"""Conflicts between several objects, in one file or in several."""

from __future__ import annotations

import json

import pytest

from kproxy.api import decode_texts
from kproxy.api.typed_kinds import KINDS
from tests.api.objects import ALL, SERVICE, Manifest, edited, problems_of, subject

WEB = "Service shop/web already, at items[0]"


def another(**edits: object) -> Manifest:
    """Return a Service that shares nothing with SERVICE except what is given."""
    spec = {
        "type": "NodePort",
        "clusterIP": "10.96.0.20",
        "ports": [{"port": 80, "nodePort": 30090}],
    }
    manifest = edited(SERVICE, "metadata.name", "api")
    return {**manifest, "spec": {**spec, **edits}, "status": {}}


CONFLICTS: list[tuple[str, Manifest, list[str]]] = [
    ("nothing shared", another(), []),
    (
        "a node port",
        another(ports=[{"port": 80, "nodePort": 30080}]),
        [f"spec.ports[0].nodePort: TCP 30080 is the node port of {WEB}"],
    ),
    (
        "a node port of another protocol",
        another(ports=[{"port": 80, "protocol": "SCTP", "nodePort": 30080}]),
        [],
    ),
    (
        "a node port for two protocols of one Service",
        another(
            ports=[
                {"name": "udp", "port": 80, "protocol": "UDP", "nodePort": 30090},
                {"name": "tcp", "port": 80, "protocol": "TCP", "nodePort": 30090},
            ]
        ),
        [],
    ),
    (
        "a health check node port",
        another(ports=[{"port": 80, "nodePort": 30500}]),
        [f"spec.ports[0].nodePort: TCP 30500 is the health check node port of {WEB}"],
    ),
    (
        "a node port as health check node port",
        another(
            type="LoadBalancer",
            externalTrafficPolicy="Local",
            healthCheckNodePort=30080,
            ports=[{"port": 80}],
        ),
        [f"spec.healthCheckNodePort: TCP 30080 is the node port of {WEB}"],
    ),
    (
        "a health check node port without effect",
        another(healthCheckNodePort=30080, ports=[{"port": 80}]),
        [],
    ),
    (
        "a cluster IP, written in another way",
        another(clusterIP="10.96.0.010"),
        [f"spec.clusterIP: 10.96.0.10 is the cluster IP of {WEB}"],
    ),
    (
        "the other cluster IP",
        another(clusterIP="", clusterIPs=["10.96.0.20", "fd00:0::a"]),
        [f"spec.clusterIPs[1]: fd00::a is the cluster IP of {WEB}"],
    ),
    ("no cluster IP", another(clusterIP="None"), []),
    (
        "the cluster IP, but it is a mere name",
        another(type="ExternalName", externalName="a.example", clusterIP="10.96.0.10"),
        [],
    ),
]


@pytest.mark.parametrize(
    ("second", "said"), [c[1:] for c in CONFLICTS], ids=[c[0] for c in CONFLICTS]
)
def test_conflicts(second: Manifest, said: list[str]) -> None:
    assert problems_of(SERVICE, second) == [f"items[1]: {line}" for line in said]


def test_two_headless_services_share_nothing() -> None:
    first = another(clusterIP="None", ports=[])
    assert problems_of(first, edited(first, "metadata.name", "other")) == []


def test_in_one_service_a_port_is_used_once() -> None:
    ports = [
        {"name": "a", "port": 80, "nodePort": 30080},
        {"name": "b", "port": 80, "nodePort": 30080},
        {"name": "c", "port": 80, "nodePort": 30080, "protocol": "UDP"},
    ]
    assert problems_of(edited(SERVICE, "spec.ports", ports)) == [
        "spec.ports[1].port: TCP 80 is used by spec.ports[0].port already",
        "spec.ports[1].nodePort: TCP 30080 is used by spec.ports[0].nodePort already",
    ]


def test_cluster_ips_are_of_different_families() -> None:
    spec = {"clusterIPs": ["10.96.0.1", "10.96.0.2"], "ports": [{"port": 80}]}
    assert problems_of({**SERVICE, "spec": spec}) == [
        "spec.clusterIPs[1]: IPv4 is used by spec.clusterIPs[0] already"
    ]
    twice = edited(SERVICE, "spec.ipFamilies", ["IPv4", "IPv4"])
    assert "spec.ipFamilies[1]: IPv4 is used by spec.ipFamilies[0] already" in problems_of(twice)
    short = edited(SERVICE, "spec.ipFamilies", ["IPv4"])
    assert problems_of(short) == ["spec.clusterIPs[1]: fd00::a has no family in spec.ipFamilies"]


@pytest.mark.parametrize("manifest", ALL, ids=lambda manifest: manifest["kind"])
def test_an_object_is_defined_once(manifest: Manifest) -> None:
    text = json.dumps(manifest)
    (problem,) = decode_texts({"a.json": text, "b.json": text}, KINDS).problems
    assert problem.startswith(f"b.json:1: {subject(manifest)}metadata.name: {manifest['kind']} ")
    assert problem.endswith(" is defined already, at a.json:1")


def test_the_same_name_elsewhere_is_another_object() -> None:
    pod = ALL[-1]
    assert problems_of(pod, edited(pod, "metadata.namespace", "other")) == []
    node = edited(ALL[-2], "metadata.name", "shop")
    assert problems_of(node, *ALL) == []


def test_without_a_namespace_it_is_default() -> None:
    pod = edited(ALL[-1], "metadata.namespace", "default")
    assert len(problems_of(pod, edited(pod, "metadata.namespace", None))) == 1


def test_faulty_objects_clash_too() -> None:
    faulty = edited(SERVICE, "metadata.name", "Web")
    assert len(problems_of(faulty, another(clusterIP="10.96.0.10"))) == 2
