"""Checks of one Pod or template of Pods, its defaults, and its addresses made canonical.

A Pod with addresses in its status runs elsewhere: only what the API server refuses is refused in
it. All others are to run in a lab, so what a lab cannot do is refused; what it leaves out is a
matter of the lab (`kproxy.lab.left_out`).
Source: pkg/apis/core/validation/validation.go (ValidatePod, ValidatePodTemplateSpec,
validateContainerPorts, validateProbe, validateHandler), pkg/apis/core/v1/defaults.go
"""

from __future__ import annotations

from kproxy.api.checks import (
    altered,
    check_count,
    check_ip,
    check_labels,
    check_metadata,
    check_name,
    check_not_negative,
    check_port,
    check_port_or_name,
    check_unique,
)
from kproxy.api.names import port_name_problem, subdomain_problem
from kproxy.api.problems import Problem, Report, shown
from kproxy.api.types import (
    Container,
    ContainerPort,
    HTTPGetAction,
    LifecycleHandler,
    Pod,
    PodIP,
    PodSpec,
    PodStatus,
    Probe,
)

NO_HANDLER = "must specify a handler type"
MANY_HANDLERS = "may not specify more than 1 handler type"

_PROBE_HANDLERS = (  # in the order of the API server; attribute, field, whether a lab has it
    ("exec", "exec", False),
    ("http_get", "httpGet", True),
    ("tcp_socket", "tcpSocket", True),
    ("grpc", "grpc", False),
)
_LIFECYCLE_HANDLERS = (
    ("exec", "exec", False),
    ("http_get", "httpGet", False),
    ("tcp_socket", "tcpSocket", False),
    ("sleep", "sleep", True),
)


def check_pod(pod: Pod, report: Report) -> Pod:
    """Return the Pod with defaults and canonical addresses. Faults go to `report`."""
    metadata = check_metadata(report, pod.metadata)
    check_labels(report, "metadata.labels", metadata.labels)
    status = _status(pod.status, report)
    spec = check_pod_spec(pod.spec, "spec", report, runs_here=not status.pod_ips)
    return altered(pod, metadata=metadata, spec=spec, status=status)


def check_pod_spec(spec: PodSpec, path: str, report: Report, *, runs_here: bool) -> PodSpec:
    """Return the spec (of field `path`) with defaults. With `runs_here` a lab is to run the Pod."""
    if spec.node_name:
        check_name(report, f"{path}.nodeName", spec.node_name, subdomain_problem)
    for attribute in ("hostname", "subdomain"):
        if text := getattr(spec, attribute):
            check_name(report, f"{path}.{attribute}", text)
    check_labels(report, f"{path}.nodeSelector", spec.node_selector)
    grace_s = spec.termination_grace_period_seconds
    check_not_negative(report, f"{path}.terminationGracePeriodSeconds", grace_s)
    if runs_here and not spec.containers:
        report.add(f"{path}.containers", "at least one container is needed")
    names: dict[str, str] = {}
    ports: dict[tuple[int, str], str] = {}
    host_ports: dict[tuple[str, int, str], str] = {}
    containers = []
    for i, container in enumerate(spec.containers):
        place = f"{path}.containers[{i}]"
        check_name(report, f"{place}.name", container.name)
        check_unique(report, f"{place}.name", names, container.name, shown(container.name))
        _check_ports(container.ports, f"{place}.ports", ports, report)
        _check_host_ports(container.ports, f"{place}.ports", spec, host_ports, report)
        _check_pre_stop(container, place, grace_s, report, runs_here=runs_here)
        containers.append(_checked(container, place, report, runs_here=runs_here))
    return altered(spec, containers=tuple(containers))


def _checked(container: Container, path: str, report: Report, *, runs_here: bool) -> Container:
    """Return the container with the defaults of its probe. Faults go to `report`."""
    if runs_here and not container.image:
        report.add(f"{path}.image", "missing")
    for other, name in (
        (container.liveness_probe, "livenessProbe"),
        (container.startup_probe, "startupProbe"),
    ):
        if other:
            _check_other_probe(other, container, f"{path}.{name}", report)
    probe = container.readiness_probe
    if probe is None:
        return container
    field = f"{path}.readinessProbe"
    if probe.termination_grace_period_seconds is not None:
        report.add(f"{field}.terminationGracePeriodSeconds", "must not be set for readinessProbes")
    probe = _with_defaults(probe)
    _check_probe(probe, container, field, report, runs_here=runs_here)
    return altered(container, readiness_probe=probe)


def _check_other_probe(probe: Probe, container: Container, field: str, report: Report) -> None:
    """Check a liveness or startup probe. A lab does not run these, but they must be valid."""
    probe = _with_defaults(probe)
    _check_probe(probe, container, field, report, runs_here=False)
    if probe.success_threshold > 1:
        report.add(f"{field}.successThreshold", f"{shown(probe.success_threshold)} must be 1")
    grace_s = probe.termination_grace_period_seconds
    if grace_s is not None and grace_s < 1:
        told = f"{shown(grace_s)} must be greater than 0"
        report.add(f"{field}.terminationGracePeriodSeconds", told)


def _check_probe(
    probe: Probe, container: Container, field: str, report: Report, *, runs_here: bool
) -> None:
    _check_handlers(probe, field, _PROBE_HANDLERS, report, runs_here=runs_here)
    if probe.http_get:
        _check_http(probe.http_get, f"{field}.httpGet", report, runs_here=runs_here)
    for handler, name in ((probe.http_get, "httpGet"), (probe.tcp_socket, "tcpSocket")):
        if handler:
            place = f"{field}.{name}.port"
            check_port_or_name(report, place, handler.port)
            known = [port.name for port in container.ports]
            if runs_here and isinstance(handler.port, str) and handler.port not in known:
                told = f"no port of this container is named {shown(handler.port)}; the probe fails"
                report.notices.append(Problem(place, told))
    for name, number in (
        ("initialDelaySeconds", probe.initial_delay_seconds),
        ("timeoutSeconds", probe.timeout_seconds),
        ("periodSeconds", probe.period_seconds),
        ("successThreshold", probe.success_threshold),
        ("failureThreshold", probe.failure_threshold),
    ):
        check_count(report, f"{field}.{name}", number)


def _with_defaults(probe: Probe) -> Probe:
    """Return the probe with defaults in place of zeros and an empty path."""
    plain = Probe()
    http = probe.http_get
    return altered(
        probe,
        http_get=altered(http, path=http.path or "/") if http else None,
        timeout_seconds=probe.timeout_seconds or plain.timeout_seconds,
        period_seconds=probe.period_seconds or plain.period_seconds,
        success_threshold=probe.success_threshold or plain.success_threshold,
        failure_threshold=probe.failure_threshold or plain.failure_threshold,
    )


def _check_http(http: HTTPGetAction, field: str, report: Report, *, runs_here: bool) -> None:
    if http.scheme == "HTTPS" and runs_here:
        report.add(f"{field}.scheme", "HTTPS is not supported; HTTP is")


def _check_ports(
    ports: tuple[ContainerPort, ...],
    path: str,
    first_fields: dict[tuple[int, str], str],
    report: Report,
) -> None:
    """Check a container's ports. Two containers may have the same port, which gives a notice.

    `first_fields` says where each port of the Pod was found first.
    """
    names: dict[str, str] = {}
    for i, port in enumerate(ports):
        field = f"{path}[{i}]"
        if port.name:
            check_name(report, f"{field}.name", port.name, port_name_problem)
            check_unique(report, f"{field}.name", names, port.name, shown(port.name))
        check_port(report, f"{field}.containerPort", port.container_port)
        first = first_fields.setdefault((port.container_port, port.protocol), field)
        if first != field and not report.doubts(field):
            report.notices.append(Problem(field, f"duplicate port definition with {first}"))


def _check_host_ports(
    ports: tuple[ContainerPort, ...],
    path: str,
    spec: PodSpec,
    first_fields: dict[tuple[str, int, str], str],
    report: Report,
) -> None:
    """Check host ports. Labs have none, but they must be valid, and each may be given only once."""
    for i, port in enumerate(ports):
        if not port.host_port:
            continue
        field = f"{path}[{i}].hostPort"
        check_port(report, field, port.host_port)
        if spec.host_network and port.host_port != port.container_port:
            told = "must match `hostPort` when `hostNetwork` is true"
            report.add(f"{path}[{i}].containerPort", f"{port.container_port} {told}")
        address = check_ip(report, f"{path}[{i}].hostIP", port.host_ip) if port.host_ip else ""
        key = (port.protocol, port.host_port, address)
        told = " ".join(map(str, key)).rstrip()
        check_unique(report, field, first_fields, key, told)


def _check_pre_stop(
    container: Container, path: str, grace_s: int, report: Report, *, runs_here: bool
) -> None:
    lifecycle = container.lifecycle
    handler = lifecycle.pre_stop if lifecycle else None
    if handler is None:
        return
    field = f"{path}.lifecycle.preStop"
    _check_handlers(handler, field, _LIFECYCLE_HANDLERS, report, runs_here=runs_here)
    if handler.sleep and grace_s >= 0 and not 0 <= handler.sleep.seconds <= grace_s:
        told = f"must be non-negative and less than terminationGracePeriodSeconds ({grace_s})"
        report.add(f"{field}.sleep", f"{shown(handler.sleep.seconds)} {told}")


def _check_handlers(
    given: Probe | LifecycleHandler,
    path: str,
    handlers: tuple[tuple[str, str, bool], ...],
    report: Report,
    *,
    runs_here: bool,
) -> None:
    """Check that there is exactly one handler, and for a lab's Pods, one that labs have."""
    found = [(field, able) for attribute, field, able in handlers if getattr(given, attribute)]
    if not found:
        report.add(path, NO_HANDLER)
    for field, _ in found[1:]:
        report.add(f"{path}.{field}", MANY_HANDLERS)
    able = " and ".join(field for _, field, able in handlers if able)
    for field, supported in found:
        if runs_here and not supported:
            verb = "are" if " and " in able else "is"
            report.add(f"{path}.{field}", f"is not supported; {able} {verb}")


def _status(status: PodStatus, report: Report) -> PodStatus:
    """Return the status with both fields set: `podIP` is the first of `podIPs`."""
    if not status.pod_ips:
        if not status.pod_ip:
            return status
        ips: tuple[str, ...] = (check_ip(report, "status.podIP", status.pod_ip),)
    else:
        ips = tuple(
            check_ip(report, f"status.podIPs[{i}].ip", each.ip)
            for i, each in enumerate(status.pod_ips)
        )
        own = status.pod_ip
        if own and check_ip(report, "status.podIP", own) != ips[0]:
            report.add("status.podIP", f"{shown(own)} is not the first of status.podIPs")
    return altered(status, pod_ip=ips[0], pod_ips=tuple(PodIP(ip=ip) for ip in ips))
