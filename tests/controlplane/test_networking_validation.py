"""Ingresses, IngressClasses and Leases are judged as by the API server."""

from __future__ import annotations

from typing import Any

import pytest

from kproxy.controlplane.networking_validation import networking_problems
from kproxy.controlplane.plane import Json, Refused
from kproxy.controlplane.value_problems import subdomain_problems, wildcard_problems
from tests.controlplane.api import Api

WEB: Json = {"service": {"name": "web", "port": {"number": 80}}}
PATH = "spec.rules[0].http.paths[0]"
TYPES = '"Exact", "ImplementationSpecific", "Prefix"'
PORT = "port name or number is required"


def path(text: str, kind: str | None = "Prefix", backend: Json = WEB) -> Json:
    stated = {"path": text, "backend": backend, **({"pathType": kind} if kind else {})}
    return {"rules": [{"http": {"paths": [stated]}}]}


def backend(**stated: Any) -> Json:
    return {"defaultBackend": stated}


INGRESSES: list[tuple[Json, list[str]]] = [  # spec -> problems
    (backend(**WEB), []),
    (path("/"), []),
    (path("", "ImplementationSpecific"), []),
    ({"rules": [{"host": "*.example.com"}]}, []),
    ({}, ["spec: Invalid value: null: either `defaultBackend` or `rules` must be specified"]),
    ({"rules": [{"http": {"paths": []}}]}, ["spec.rules[0].http.paths: Required value"]),
    (path("/", None), [f"{PATH}.pathType: Required value: pathType must be specified"]),
    (path("a"), [f'{PATH}.path: Invalid value: "a": must be an absolute path']),
    (
        path("/a//b/..", "Exact"),
        [
            f"{PATH}.path: Invalid value: \"/a//b/..\": must not contain '//'",
            f"{PATH}.path: Invalid value: \"/a//b/..\": cannot end with '/..'",
        ],
    ),
    (
        path("/", "Foo"),
        [f'{PATH}.pathType: Unsupported value: "Foo": supported values: {TYPES}'],
    ),
    (
        path("/", backend={"service": {"name": "web"}}),
        [f"{PATH}.backend: Required value: {PORT}"],
    ),
    (
        path("/", backend={}),
        [f'{PATH}.backend: Invalid value: "": resource or service backend is required'],
    ),
    (
        backend(service={"port": {"name": "http", "number": 80}}),
        [
            "spec.defaultBackend.service.name: Required value",
            'spec.defaultBackend: Invalid value: "": cannot set both port name & port number',
        ],
    ),
    (
        backend(resource={"kind": "Bucket"}),
        ["spec.defaultBackend.resource.name: Required value"],
    ),
    (
        backend(resource={"kind": "Bucket", "name": "b"}, **WEB),
        ['spec.defaultBackend: Invalid value: "": cannot set both resource and service backends'],
    ),
    (
        {**backend(**WEB), "rules": [{"host": "A"}, {"host": "a.*"}, {"host": "1.2.3.4"}]},
        [
            f'spec.rules[0].host: Invalid value: "A": {subdomain_problems("A")[0]}',
            f'spec.rules[1].host: Invalid value: "a.*": {wildcard_problems("a.*")[0]}',
            'spec.rules[2].host: Invalid value: "1.2.3.4": must be a DNS name, not an IP address',
        ],
    ),
    (
        {**backend(**WEB), "tls": [{"hosts": ["A"]}], "ingressClassName": "B"},
        [
            f'spec.tls[0].hosts[0]: Invalid value: "A": {subdomain_problems("A")[0]}',
            f'spec.ingressClassName: Invalid value: "B": {subdomain_problems("B")[0]}',
        ],
    ),
]
CONTROLLER = 'must be a domain-prefixed path (such as "acme.io/foo")'
REFERENCE = {"kind": "K", "name": "n"}
NAMESPACE = "spec.parameters.namespace"
CLASSES: list[tuple[Json, list[str]]] = [
    ({"controller": "example.com/edge"}, []),
    ({}, ["spec.controller: Required value"]),
    ({"controller": "edge"}, [f'spec.controller: Invalid value: "edge": {CONTROLLER}']),
    (
        {"controller": "a/b", "parameters": {**REFERENCE, "scope": "Namespace"}},
        [f"{NAMESPACE}: Required value: `parameters.scope` is set to 'Namespace'"],
    ),
    (
        {"controller": "a/b", "parameters": {**REFERENCE, "namespace": "x"}},
        [f"{NAMESPACE}: Forbidden: `parameters.scope` is set to 'Cluster'"],
    ),
]
DURATION, CHANGES = "spec.leaseDurationSeconds", "spec.leaseTransitions"
LEASES: list[tuple[Json, list[str]]] = [
    ({"holderIdentity": "", "leaseDurationSeconds": 1, "leaseTransitions": 0}, []),
    ({"leaseDurationSeconds": 0}, [f"{DURATION}: Invalid value: 0: must be greater than 0"]),
    (
        {"leaseTransitions": -1},
        [f"{CHANGES}: Invalid value: -1: must be greater than or equal to 0"],
    ),
]
ALL = [
    *(("Ingress", *each) for each in INGRESSES),
    *(("IngressClass", *each) for each in CLASSES),
    *(("Lease", *each) for each in LEASES),
]


@pytest.mark.parametrize(("kind", "spec", "told"), ALL)
def test_a_spec(kind: str, spec: Json, told: list[str]) -> None:
    assert [*networking_problems({"kind": kind, "spec": spec}, None)] == told


def test_the_controller_of_a_class_stays() -> None:
    former = {"kind": "IngressClass", "spec": {"controller": "a/b"}}
    assert [*networking_problems(former, former)] == []
    changed = {**former, "spec": {"controller": "a/c"}}
    assert [*networking_problems(changed, former)] == [
        'spec.controller: Invalid value: "a/c": field is immutable'
    ]


@pytest.mark.parametrize(
    ("kind", "version", "spec"),
    [
        ("Ingress", "networking.k8s.io/v1", {}),
        ("IngressClass", "networking.k8s.io/v1", {}),
        ("Lease", "coordination.k8s.io/v1", {"leaseDurationSeconds": 0}),
    ],
)
def test_what_is_wrong_is_not_stored(kind: str, version: str, spec: Json) -> None:
    metadata = {"name": "any"}
    if kind != "IngressClass":
        metadata["namespace"] = "default"
    with pytest.raises(Refused) as refused:
        Api().verbs.create(
            {"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec}
        )
    assert (refused.value.status, len(refused.value.causes)) == (422, 1)
