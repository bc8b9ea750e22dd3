"""Checks of single fields, shared by the kinds of objects."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from sys import intern
from typing import TypeVar

from msgspec import Struct
from msgspec.structs import force_setattr, replace

from kproxy.api.addresses import canonical_cidr, canonical_ip
from kproxy.api.names import (
    label_problem,
    label_value_problem,
    port_name_problem,
    qualified_name_problem,
    service_name_problem,
    subdomain_problem,
)
from kproxy.api.problems import Report, one_of, shown, step
from kproxy.api.types import IPAddress, Metadata, Node, ServiceCIDR

_S = TypeVar("_S", bound=Struct)
_K = TypeVar("_K", bound=Hashable)

CLUSTER_SCOPED = (Node, ServiceCIDR, IPAddress)  # kinds without namespaces
ZONE_LABEL = "topology.kubernetes.io/zone"
MAX_PORT = 65535
MAX_INT32 = 2**31 - 1
# Of one workload. Kubernetes has no such limit, but a lab has all Pods in one process: it answers
# nobody for half an hour while it creates a million, as a slip of the finger may ask for.
MAX_REPLICAS = 10_000
TOO_MANY_REPLICAS = f"must be less than or equal to {MAX_REPLICAS} in a lab"


def check_name(
    report: Report, field: str, text: str, problem_of: Callable[[str], str] = label_problem
) -> None:
    if problem := problem_of(text):
        report.add(field, f"{shown(text)} {problem}" if text else "missing")


def check_metadata(
    report: Report, metadata: Metadata, problem_of: Callable[[str], str] = subdomain_problem
) -> Metadata:
    """Check and return the metadata of a namespaced object; its namespace is `default` if empty."""
    check_name(report, "metadata.name", metadata.name, problem_of)
    namespace = intern(metadata.namespace or "default")
    check_name(report, "metadata.namespace", namespace, service_name_problem)
    found = altered(metadata, namespace=namespace)
    # An equal string, but one for all objects of the namespace: saves 1 MiB for 20,000 of them.
    force_setattr(found, "namespace", namespace)
    return found


def in_namespace(obj: _S) -> _S:
    """Return the object in its namespace: `default` if it names none, "" if its kind has none."""
    metadata: Metadata = obj.metadata  # type: ignore[attr-defined]
    namespace = "" if isinstance(obj, CLUSTER_SCOPED) else metadata.namespace or "default"
    return altered(obj, metadata=altered(metadata, namespace=namespace))


def check_labels(report: Report, field: str, labels: Mapping[str, str]) -> None:
    """Check the keys and values of labels, or of a selector of labels."""
    for key, value in labels.items():
        place = f"{field}{step(key)}"
        check_name(report, place, key, qualified_name_problem)
        if problem := label_value_problem(value):
            report.add(place, f"{shown(value)} {problem}")


def check_not_negative(report: Report, field: str, number: int) -> None:
    if number < 0:
        report.add(field, f"{shown(number)} must be greater than or equal to 0")


def check_count(report: Report, field: str, number: int) -> None:
    """Check a number that the API holds in 32 bits."""
    check_not_negative(report, field, number)
    if number > MAX_INT32:
        report.add(field, f"{shown(number)} does not fit into 32 bits")


def check_replicas(report: Report, field: str, number: int) -> None:
    check_count(report, field, number)
    if MAX_REPLICAS < number <= MAX_INT32:
        report.add(field, f"{shown(number)} {TOO_MANY_REPLICAS}")


def check_port_or_name(report: Report, field: str, port: int | str) -> None:
    """Check a reference to a container's port, which is its number or its name."""
    if isinstance(port, str):
        check_name(report, field, port, port_name_problem)
    else:
        check_port(report, field, port)


def check_port(report: Report, field: str, number: int) -> None:
    if not 1 <= number <= MAX_PORT:
        report.add(field, f"{shown(number)} is not in 1..{MAX_PORT}")


def check_choice(report: Report, field: str, text: str | None, choices: Sequence[str]) -> None:
    if text is not None and text not in choices:
        report.add(field, f"expected {one_of(choices)}, got {shown(text)}")


def check_ip(report: Report, field: str, text: str) -> str:
    """Return the canonical address; report `text`, and return it unchanged, if it is not one."""
    if found := canonical_ip(text):
        return found
    report.add(field, f"{shown(text)} is not an IP address")
    return text


def check_cidr(report: Report, field: str, text: str) -> str:
    """Return the canonical network; report `text`, and return it unchanged, if it is not one."""
    if found := canonical_cidr(text):
        return found
    report.add(field, f"{shown(text)} is not a CIDR such as 10.0.0.0/8")
    return text


def check_unique(
    report: Report, field: str, first_fields: dict[_K, str], key: _K, told: str
) -> None:
    """Report a key that is in `first_fields` (where each key was found first); else add it."""
    first = first_fields.setdefault(key, field)
    if first != field:
        report.add(field, f"{told} is used by {first} already")


def altered(obj: _S, **values: object) -> _S:
    """Return `obj` with these values; `obj` itself in the usual case that it has them already."""
    for name, value in values.items():
        former = getattr(obj, name)
        if former is not value and former != value:
            return replace(obj, **values)
    return obj
