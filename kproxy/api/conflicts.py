"""Conflicts between objects: the same name, node port or cluster IP used twice."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from kproxy.api.places import Place
from kproxy.api.problems import Report, shown
from kproxy.api.types import KubernetesObject, Service

Owner = tuple[str, Service, Place]  # what it is for the Service that holds it, and where that is


class Found(Struct, frozen=True):
    """One item that was read. `obj` is None if it could not be decoded.

    `subject` names it in messages; it may be "" if there is an object without a fault of its own.
    """

    place: Place
    report: Report
    obj: KubernetesObject | None = None
    subject: str = ""

    @property
    def name(self) -> str:
        return self.subject or (_name(self.obj) if self.obj else "")


def report_conflicts(found: Iterable[Found], *, held: bool = True) -> None:
    """Report, at the later of two objects, what the earlier one has already: its name; and if
    `held`, ports and addresses.
    """
    objects: dict[tuple[str, str, str], Place] = {}
    ports: dict[tuple[str, int], Owner] = {}
    addresses: dict[str, Owner] = {}
    for each in found:
        where, report, obj = each.place, each.report, each.obj
        if obj is None:
            continue
        if not (report.doubts("metadata.name") or report.doubts("metadata.namespace")):
            key = (type(obj).__name__, obj.metadata.namespace, obj.metadata.name)
            first = objects.setdefault(key, where)
            if first is not where:
                report.add("metadata.name", f"{_name(obj)} is defined already, at {first}")
                continue  # its ports and addresses would conflict with its own
        if held and isinstance(obj, Service) and obj.spec.type != "ExternalName":
            _report_ports(obj, where, report, ports)
            _report_addresses(obj, where, report, addresses)


def _report_ports(
    service: Service, where: Place, report: Report, owners: dict[tuple[str, int], Owner]
) -> None:
    spec = service.spec
    wanted = [
        ("node port", f"spec.ports[{i}].nodePort", port.protocol, port.node_port)
        for i, port in enumerate(spec.ports)
        if port.node_port and not report.doubts(f"spec.ports[{i}].protocol")
    ]
    if spec.type == "LoadBalancer" and spec.external_traffic_policy == "Local":
        number = spec.health_check_node_port  # an HTTP server listens there
        wanted.append(("health check node port", "spec.healthCheckNodePort", "TCP", number))
    for purpose, field, protocol, number in wanted:
        if not number or report.doubts(field):
            continue
        taken, other, there = owners.setdefault((protocol, number), (purpose, service, where))
        # Two ports of one Service are compared where the Service is checked.
        if there is not where or taken != purpose:
            told = f"is the {taken} of {_name(other)} already, at {there}"
            report.add(field, f"{protocol} {number} {told}")


def _report_addresses(
    service: Service, where: Place, report: Report, owners: dict[str, Owner]
) -> None:
    single = len(service.spec.cluster_ips) == 1
    for i, address in enumerate(service.spec.cluster_ips):
        if address == "None":
            continue
        taken, other, there = owners.setdefault(address, ("cluster IP", service, where))
        if there is not where:
            field = "spec.clusterIP" if single else f"spec.clusterIPs[{i}]"
            report.add(field, f"{address} is the {taken} of {_name(other)} already, at {there}")


def object_name(kind: str, namespace: str, name: str) -> str:
    """Return what messages call an object: `Service shop/web`; `default` is left out."""
    path = f"{namespace}/{name}" if namespace not in ("", "default") else name
    # Any of them may be invalid, which is reported elsewhere.
    parts = (part if part.isprintable() else shown(part) for part in (kind, path) if part)
    return " ".join(parts)


def _name(obj: KubernetesObject) -> str:
    return object_name(type(obj).__name__, obj.metadata.namespace, obj.metadata.name)
