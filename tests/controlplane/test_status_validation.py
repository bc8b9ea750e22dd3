"""A status that a client writes is judged as by the API server."""

from __future__ import annotations

import pytest

from kproxy.controlplane.plane import Json
from kproxy.controlplane.status_validation import written_status_problems

NEGATIVE = "must be greater than or equal to 0"
OF_READY = "cannot be greater than status.readyReplicas"
NO_NAME = "must be a DNS name, not an IP address"
ACTIVE = "may only be 'Active' if `deletionTimestamp` is empty"
OF_ALL = "cannot be greater than status.replicas"
NAME = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.',"
    " and must start and end with an alphanumeric character (e.g. 'example.com', regex used for"
    r" validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
IP = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"


def points(**point: str) -> Json:
    return {"loadBalancer": {"ingress": [point]}}


STATUSES: list[tuple[str, Json, list[str]]] = [  # kind, status -> problems
    ("Deployment", {"replicas": 3, "readyReplicas": 2, "availableReplicas": 2}, []),
    (
        "Deployment",
        {"unavailableReplicas": -1},
        [f"status.unavailableReplicas: Invalid value: -1: {NEGATIVE}"],
    ),
    (
        "Deployment",
        {"replicas": 1, "updatedReplicas": 2, "availableReplicas": 1},
        [
            f"status.updatedReplicas: Invalid value: 2: {OF_ALL}",
            "status.availableReplicas: Invalid value: 1: cannot be greater than readyReplicas",
        ],
    ),
    (
        "ReplicaSet",
        {"replicas": 1, "fullyLabeledReplicas": 2},
        [f"status.fullyLabeledReplicas: Invalid value: 2: {OF_ALL}"],
    ),
    (
        "StatefulSet",
        {"replicas": 2, "currentReplicas": 3, "availableReplicas": 1, "collisionCount": -2},
        [
            f"status.collisionCount: Invalid value: -2: {NEGATIVE}",
            f"status.currentReplicas: Invalid value: 3: {OF_ALL}",
            f"status.availableReplicas: Invalid value: 1: {OF_READY}",
        ],
    ),
    ("DaemonSet", {"numberReady": -1}, [f"status.numberReady: Invalid value: -1: {NEGATIVE}"]),
    ("DaemonSet", {"numberReady": 5, "numberAvailable": 7}, []),
    ("Ingress", points(ip="1.2.3.4", hostname="example.com"), []),
    (
        "Ingress",
        points(ip="x"),
        [f'status.loadBalancer.ingress[0].ip: Invalid value: "x": {IP}'],
    ),
    (
        "Ingress",
        points(hostname="A"),
        [f'status.loadBalancer.ingress[0].hostname: Invalid value: "A": {NAME}'],
    ),
    (
        "Ingress",
        points(hostname="1.2.3.4"),
        [f'status.loadBalancer.ingress[0].hostname: Invalid value: "1.2.3.4": {NO_NAME}'],
    ),
    ("Namespace", {"phase": "Active"}, []),
    (
        "Namespace",
        {"phase": "Gone"},
        [f'status.Phase: Invalid value: "Gone": {ACTIVE}'],
    ),
    ("Node", {"capacity": {"pods": "5"}}, []),
]


@pytest.mark.parametrize(("kind", "status", "told"), STATUSES)
def test_a_status(kind: str, status: Json, told: list[str]) -> None:
    document = {"kind": kind, "metadata": {"name": "any"}, "status": status}
    assert [*written_status_problems(document, {})] == told


def test_an_address_that_was_stored_may_stay() -> None:
    status = points(ip="010.0.0.1")
    document = {"kind": "Ingress", "metadata": {"name": "any"}, "status": status}
    assert [*written_status_problems(document, {})] != []
    assert [*written_status_problems(document, document)] == []


def test_a_namespace_that_ends_is_not_active() -> None:
    metadata = {"name": "any", "deletionTimestamp": "2026-01-01T00:00:00Z"}
    document: Json = {"kind": "Namespace", "metadata": metadata, "status": {"phase": "Terminating"}}
    assert [*written_status_problems(document, {})] == []
    document["status"] = {"phase": "Active"}
    assert len([*written_status_problems(document, {})]) == 1
