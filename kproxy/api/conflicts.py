"""Conflicts between objects: the same name, node port or cluster IP used twice."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from kproxy.api.problems import Report, shown
from kproxy.api.types import KubernetesObject, Service

Owner = tuple[str, str]  # what it is for the object that holds it, and where that object is


class Found(NamedTuple):
    """One item that was read. `obj` is None if it could not be decoded.

    `where` is `file:document`, with `.items[3]` appended for an item of a list.
    """

    where: str
    report: Report
    obj: KubernetesObject | None = None


def report_conflicts(found: Iterable[Found], *, held: bool = True) -> None:
    """Report, at the later of two objects, what the earlier one has already: its name; and if
    `held`, ports and addresses.
    """
    objects: dict[tuple[str, str, str], str] = {}
    ports: dict[tuple[str, int], Owner] = {}
    addresses: dict[str, Owner] = {}
    for where, report, obj in found:
        if obj is None:
            continue
        if not (report.doubts("metadata.name") or report.doubts("metadata.namespace")):
            key = (type(obj).__name__, obj.metadata.namespace, obj.metadata.name)
            first = objects.setdefault(key, where)
            if first != where:
                report.add("metadata.name", f"{_name(obj)} is defined already, at {first}")
                continue  # its ports and addresses would conflict with its own
        if held and isinstance(obj, Service) and obj.spec.type != "ExternalName":
            _report_ports(obj, where, report, ports)
            _report_addresses(obj, where, report, addresses)


def _report_ports(
    service: Service, where: str, report: Report, owners: dict[tuple[str, int], Owner]
) -> None:
    spec = service.spec
    wanted = [
        ("node port", f"spec.ports[{i}].nodePort", port.protocol, port.node_port)
        for i, port in enumerate(spec.ports)
        if not report.doubts(f"spec.ports[{i}].protocol")
    ]
    if spec.type == "LoadBalancer" and spec.external_traffic_policy == "Local":
        number = spec.health_check_node_port  # an HTTP server listens there
        wanted.append(("health check node port", "spec.healthCheckNodePort", "TCP", number))
    for purpose, field, protocol, number in wanted:
        if not number or report.doubts(field):
            continue
        owner = (f"the {purpose} of {_name(service)}", where)
        first = owners.setdefault((protocol, number), owner)
        # Two ports of one Service are compared where the Service is checked.
        if first != owner:
            report.add(field, f"{protocol} {number} is {first[0]} already, at {first[1]}")


def _report_addresses(
    service: Service, where: str, report: Report, owners: dict[str, Owner]
) -> None:
    single = len(service.spec.cluster_ips) == 1
    for i, address in enumerate(service.spec.cluster_ips):
        if address == "None":
            continue
        owner = (f"the cluster IP of {_name(service)}", where)
        first = owners.setdefault(address, owner)
        if first != owner:
            field = "spec.clusterIP" if single else f"spec.clusterIPs[{i}]"
            report.add(field, f"{address} is {first[0]} already, at {first[1]}")


def _name(obj: KubernetesObject) -> str:
    meta = obj.metadata
    name = "/".join(part for part in (meta.namespace, meta.name) if part)
    # The name itself may be invalid, which is reported elsewhere.
    return f"{type(obj).__name__} {name if name.isprintable() else shown(name)}"
