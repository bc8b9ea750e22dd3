"""The API server's checks of a status that a client writes, of the kinds whose status it judges.

A Service's are in `service_validation`.
Source: pkg/apis/apps/validation (ValidateDeploymentStatus, ValidateReplicaSetStatus,
ValidateStatefulSetStatus, validateDaemonSetStatus), pkg/apis/networking/validation
(ValidateIngressLoadBalancerStatus), pkg/apis/core/validation (ValidateNamespaceStatusUpdate)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from kproxy.api.addresses import canonical_ip
from kproxy.controlplane.cluster_ip_validation import legacy_ip_problems
from kproxy.controlplane.field_errors import invalid
from kproxy.controlplane.plane import Json
from kproxy.controlplane.value_problems import subdomain_problems

_NEGATIVE = "must be greater than or equal to 0"


class _Counts(NamedTuple):
    """Which numbers of a status are counts, and which of them count a part of its replicas."""

    all: tuple[str, ...]
    parts: tuple[str, ...] = ()
    ready: str = (
        "status.readyReplicas"  # as the server names it where fewer are ready than available
    )


_OF_ALL = ("observedGeneration", "replicas")
_COUNTS = {
    "Deployment": _Counts(
        (
            *_OF_ALL,
            *("updatedReplicas", "readyReplicas", "availableReplicas", "unavailableReplicas"),
            *("terminatingReplicas", "collisionCount"),
        ),
        ("updatedReplicas", "readyReplicas", "availableReplicas"),
        "readyReplicas",
    ),
    "ReplicaSet": _Counts(
        (
            *("replicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas"),
            *("terminatingReplicas", "observedGeneration"),
        ),
        ("fullyLabeledReplicas", "readyReplicas", "availableReplicas"),
        "readyReplicas",
    ),
    "StatefulSet": _Counts(
        (
            *("replicas", "readyReplicas", "currentReplicas", "updatedReplicas"),
            *("availableReplicas", "observedGeneration", "collisionCount"),
        ),
        ("readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas"),
    ),
    "DaemonSet": _Counts(
        (
            *("currentNumberScheduled", "numberMisscheduled", "desiredNumberScheduled"),
            *("numberReady", "observedGeneration", "updatedNumberScheduled"),
            *("numberAvailable", "numberUnavailable", "collisionCount"),
        )
    ),
}


def written_status_problems(document: Json, former: Json) -> Iterator[str]:
    """Yield the problems of the status of a document, which replaces `former`."""
    kind, status = document["kind"], document["status"]
    if counts := _COUNTS.get(kind):
        yield from _count_problems(status, counts)
    elif kind == "Ingress":
        old = [str(each.get("ip")) for each in _points(former.get("status") or {})]
        for i, each in enumerate(_points(status)):
            field = f"status.loadBalancer.ingress[{i}]"
            if address := each.get("ip"):
                for told in legacy_ip_problems(address, old):
                    yield invalid(f"{field}.ip", address, told)
            yield from hostname_problems(f"{field}.hostname", each.get("hostname") or "")
    elif kind == "Namespace":
        ends = "deletionTimestamp" in document["metadata"]
        phase, expected = status.get("phase", ""), "Terminating" if ends else "Active"
        if phase != expected:
            when = "is not empty" if ends else "is empty"
            told = f"may only be '{expected}' if `deletionTimestamp` {when}"
            yield invalid("status.Phase", phase, told)  # so the server spells it


def hostname_problems(field: str, name: str) -> Iterator[str]:
    """Yield the problems of the host name of a load balancer, "" if it has none."""
    if name:
        yield from (invalid(field, name, told) for told in subdomain_problems(name))
        if canonical_ip(name):
            yield invalid(field, name, "must be a DNS name, not an IP address")


def _count_problems(status: Json, counts: _Counts) -> Iterator[str]:
    found = {each: status.get(each) or 0 for each in counts.all}
    for name, number in found.items():
        if number < 0:
            yield invalid(f"status.{name}", number, _NEGATIVE)
    for name in counts.parts:
        if found[name] > found["replicas"]:
            yield invalid(f"status.{name}", found[name], "cannot be greater than status.replicas")
    available = found.get("availableReplicas", 0)
    if available > found.get("readyReplicas", 0):
        told = f"cannot be greater than {counts.ready}"
        yield invalid("status.availableReplicas", available, told)


def _points(status: Json) -> list[dict[str, Any]]:
    return (status.get("loadBalancer") or {}).get("ingress") or []
