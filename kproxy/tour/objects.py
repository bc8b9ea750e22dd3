"""The objects that a control plane has made, as `kubectl get services,endpointslices,pods` shows
them.
"""

from __future__ import annotations

from collections.abc import Iterator

from kproxy.api.types import Endpoint, EndpointSlice, Pod, Service
from kproxy.controlplane import api_service
from kproxy.lab import Lab
from kproxy.lab.names import host_name
from kproxy.store import service_of
from kproxy.tour.part import Table

SYSTEM = "kube-system"
SHELL = "shell"  # the lab's own pod, to ask from


def services(lab: Lab) -> list[Service]:
    """Return all Services except those of the cluster itself, such as that of its API."""
    return [
        each
        for each in lab.objects(Service)
        if each.metadata.namespace != SYSTEM
        and (each.metadata.namespace, each.metadata.name) != ("default", api_service.NAME)
    ]


def pods(lab: Lab) -> list[Pod]:
    """Return all Pods except those of the cluster itself and of the lab."""
    own = {(each.namespace, each.name) for each in lab.spec.pods}
    return [
        pod
        for pod in lab.objects(Pod)
        if pod.metadata.namespace != SYSTEM
        and (pod.metadata.namespace, pod.metadata.name) not in own
    ]


def slices(lab: Lab, service: Service) -> list[EndpointSlice]:
    key = (service.metadata.namespace, service.metadata.name)
    return [each for each in lab.objects(EndpointSlice) if service_of(each) == key]


def owners(lab: Lab) -> dict[str, str]:
    """Return the host of each address of the lab."""
    return {address: host.name for host in lab.network.hosts.values() for address in host.addresses}


def tables(lab: Lab) -> tuple[Table, ...]:
    """Return tables of Services, their endpoints, and Pods; empty ones are left out."""
    found = services(lab)
    all_tables = (
        Table(
            header=("Service", "type", "cluster IP", "external", "ports"),
            rows=tuple(_service_row(service) for service in found),
        ),
        Table(
            header=("endpoints of", "address", "ports", "pod", "condition"),
            rows=tuple(row for service in found for row in _endpoint_rows(lab, service)),
        ),
        Table(
            header=("Pod", "node", "zone", "phase", "ready"),
            rows=tuple(_pod_rows(lab)),
        ),
    )
    return tuple(table for table in all_tables if table.rows)


def short_name(service: Service) -> str:
    """Return `web`, or `web.prod` for another namespace than default."""
    return host_name(service.metadata.name, service.metadata.namespace)


def condition(endpoint: Endpoint) -> str:
    """Return the endpoint's condition in words, with its hints."""
    conditions = endpoint.conditions
    if conditions.terminating:
        said = "terminating, serving" if conditions.serving is not False else "terminating"
    else:
        said = "not ready" if conditions.ready is False else "ready"
    if not endpoint.hints:
        return said
    hints = [each.name for each in (*endpoint.hints.for_zones, *endpoint.hints.for_nodes)]
    return f"{said}, for {', '.join(hints)}" if hints else said


def _service_row(service: Service) -> tuple[str, ...]:
    spec = service.spec
    assigned = [each.ip or each.hostname for each in service.status.load_balancer.ingress]
    external = [*spec.external_ips, *assigned]
    if spec.type == "LoadBalancer" and not assigned:
        external.append("<pending>")
    if spec.type == "ExternalName":
        external.append(spec.external_name)
    ports = []
    for port in spec.ports:
        node_port = f":{port.node_port}" if port.node_port else ""
        ports.append(f"{port.port}{node_port}/{port.protocol}")
    if spec.health_check_node_port:
        ports.append(f"health {spec.health_check_node_port}")
    return (
        short_name(service),
        spec.type,
        "\n".join(spec.cluster_ips) or "<none>",
        "\n".join(external) or "<none>",
        "\n".join(ports) or "<none>",
    )


def _endpoint_rows(lab: Lab, service: Service) -> Iterator[tuple[str, ...]]:
    if service.spec.type == "ExternalName":
        return
    found = False
    for each in slices(lab, service):
        ports = "\n".join(f"{port.port}/{port.protocol}" for port in each.ports)
        for endpoint in each.endpoints:
            found = True
            pod = endpoint.target_ref.name if endpoint.target_ref else "-"
            addresses = "\n".join(endpoint.addresses)
            yield short_name(service), addresses, ports, pod, condition(endpoint)
    if not found:
        yield short_name(service), "<none>", "", "", ""


def _pod_rows(lab: Lab) -> Iterator[tuple[str, ...]]:
    for pod in pods(lab):
        meta = pod.metadata
        name = host_name(meta.name, meta.namespace)
        host = lab.pods.get(name)
        phase = "Terminating" if meta.deletion_timestamp else pod.status.phase or "Pending"
        ready = any(
            each.type == "Ready" and each.status == "True" for each in pod.status.conditions
        )
        zone = host.zone if host else ""
        yield name, pod.spec.node_name or "<none>", zone or "-", phase, "yes" if ready else "no"
