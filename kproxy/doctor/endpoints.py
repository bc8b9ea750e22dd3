"""Checks of what is behind a Service: its selector, the readiness of its Pods, its target ports."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from difflib import SequenceMatcher

from kproxy.api.types import Pod, Probe, Service, ServicePort
from kproxy.controlplane import members
from kproxy.doctor.facts import (
    Facts,
    Listener,
    Template,
    key_of,
    listed,
    pod_title,
    service_title,
    title,
)
from kproxy.doctor.finding import Finding, Severity, Sureness
from kproxy.store import object_key

_SCALED = ("Deployment", "StatefulSet", "ReplicaSet", "ReplicationController")
_ALIKE = 0.5  # wep, web; not db, web
_EVERYWHERE = ("0.0.0.0", "::")
_SCTP = "SCTP"


def selector_matches_nothing(facts: Facts) -> Iterator[Finding]:
    """Find Services whose selector matches no Pod, and nothing that would make one."""
    for service in _with_selector(facts):
        if service not in facts.dns_services and (found := no_pod(service, facts)):
            yield found


def no_pod(service: Service, facts: Facts) -> Finding | None:
    """Return the finding that a selector matches nothing; None if it matches something."""
    if facts.selected(service) or facts.selected_templates(service):
        return None
    namespace, name = key_of(service)
    text = _pairs(service.spec.selector)
    pods = [pod for pod in facts.pods if pod.metadata.namespace == namespace]
    made = [each.pod for each in facts.templates if each.pod.metadata.namespace == namespace]
    counts = [_counted(len(pods), "Pod")] if pods or not made else []
    counts += [_counted(len(made), "workload")] if made else []
    seen = [
        (
            f"spec.selector {text} matches nothing of what is in namespace {namespace}:"
            f" {' and '.join(counts)}"
        )
    ]
    seen += [
        f"this lab does not run {title(*each)}" for each in facts.not_run if each[1] == namespace
    ]
    remedy = [f"$ kubectl -n {namespace} get pods --show-labels"]
    if elsewhere := _matching_elsewhere(service, facts):
        seen.append(f"it would match {elsewhere[0]}, in another namespace")
        other = elsewhere[1]
        remedy.append(f"a Service selects Pods of its own namespace only: create it in {other}")
    elif close := _closest(service, [*pods, *made]):
        labels, pod = close
        seen.append(f"closest is {pod_title(pod)}, with {_pairs(labels)}")
        patch = {**dict.fromkeys(service.spec.selector), **labels}  # null: without this key
        selector = json.dumps({"spec": {"selector": patch}}, separators=(",", ":"))
        remedy.append(f"$ kubectl -n {namespace} patch service {name} --type merge -p '{selector}'")
        remedy.append(f"or label the Pods {text}")
    else:
        remedy.append(f"set spec.selector to labels that the Pods have, or label them {text}")
    return Finding(
        id="selector-matches-nothing",
        severity=Severity.ERROR,
        object=service_title(service),
        evidence=tuple(seen),
        remedy=tuple(remedy),
        service=key_of(service),
    )


def no_pods(facts: Facts) -> Iterator[Finding]:
    """Find Services whose workload runs no Pod, and those without a selector and endpoints."""
    for service in _with_selector(facts):
        if service not in facts.dns_services and (found := nothing_runs(service, facts)):
            yield found


def nothing_runs(service: Service, facts: Facts) -> Finding | None:
    """Return the finding that a workload which a Service selects has no Pod, or that all of its
    Pods have ended.
    """
    templates = facts.selected_templates(service)
    pods = facts.selected(service)
    namespace, _ = key_of(service)
    if pods and all(map(members.is_terminal, pods)):
        ended = [f"{pod_title(pod)} ({pod.status.phase})" for pod in pods]
        return Finding(
            id="no-pods",
            severity=Severity.ERROR,
            object=service_title(service),
            evidence=(f"all Pods that it selects have ended: {listed(ended)}",),
            remedy=(f"$ kubectl -n {namespace} describe pod {pods[0].metadata.name}",),
            service=key_of(service),
        )
    if pods or not templates:
        return None
    wanting = [each for each in templates if each.replicas]
    first = (wanting or templates)[0]
    ask = f"$ kubectl -n {namespace} describe {first.kind.lower()} {first.name}"
    more = f"$ kubectl -n {namespace} scale {first.kind.lower()} {first.name} --replicas 1"
    return Finding(
        id="no-pods",
        severity=Severity.ERROR if wanting else Severity.WARNING,
        object=service_title(service),
        evidence=(f"{listed([*map(_wanted, templates)])}, and no Pod exists",),
        remedy=(more if first.replicas == 0 and first.kind in _SCALED else ask,),
        service=key_of(service),
    )


def _wanted(template: Template) -> str:
    """Return a workload with the number of Pods that it wants, as far as that is known."""
    if template.replicas is None:
        return f"{template} makes Pods that end"
    nodes = template.kind == "DaemonSet"
    return f"{template} has {_counted(template.replicas, 'node' if nodes else 'replica')}"


def no_endpoints(facts: Facts) -> Iterator[Finding]:
    """Find Services without a selector for which nobody has written endpoints."""
    for service in facts.services:
        if service.spec.selector or service.spec.type == "ExternalName":
            continue
        slices = facts.store.slices(key_of(service))
        if not any(each.endpoints for each in slices):
            namespace, name = key_of(service)
            yield Finding(
                id="no-endpoints",
                severity=Severity.WARNING,
                object=service_title(service),
                evidence=("spec.selector is empty, and no EndpointSlice has an endpoint for it",),
                remedy=(
                    (
                        "give it a spec.selector, or write an EndpointSlice with the label"
                        f" kubernetes.io/service-name: {name} in namespace {namespace}"
                    ),
                ),
                sure=Sureness.LIKELY,
                service=key_of(service),
            )


def pods_not_ready(facts: Facts) -> Iterator[Finding]:
    """Find Services some of whose Pods are not ready, and so get no traffic."""
    for service in _with_selector(facts):
        if service not in facts.dns_services and (found := unready(service, facts)):
            yield found


def unready(service: Service, facts: Facts) -> Finding | None:
    """Return the finding that Pods of a Service are not ready; None if all are, or if it takes Pods
    that are not.
    """
    if service.spec.publish_not_ready_addresses:
        return None
    pods = [pod for pod in facts.selected(service) if _should_be_ready(pod)]
    failing = [pod for pod in pods if not members.is_ready(pod)]
    if not failing:
        return None
    namespace, _ = key_of(service)
    seen = [f"{len(failing)} of {len(pods)} Pods are not ready"]
    seen += [f"{pod_title(pod)}: {why}" for pod in failing[:3] for why in _why_unready(pod, facts)]
    return Finding(
        id="pods-not-ready",
        severity=Severity.ERROR if len(failing) == len(pods) else Severity.WARNING,
        object=service_title(service),
        evidence=tuple(seen),
        remedy=(
            f"$ kubectl -n {namespace} describe pod {failing[0].metadata.name}",
            "repair what the probe asks for, or the probe: spec.containers[].readinessProbe",
        ),
        service=key_of(service),
    )


def target_ports(facts: Facts) -> Iterator[Finding]:
    """Find target ports on which no program listens or, where sockets are not known, that no
    container names.
    """
    for service in _with_selector(facts):
        pods = [pod for pod in facts.selected(service) if _runs(pod)]
        templates = [each.pod for each in facts.selected_templates(service)]
        for number, port in enumerate(service.spec.ports):
            if isinstance(port.target_port, str) and port.target_port:
                found = _named(service, number, port, [*pods, *(() if pods else templates)])
            else:
                found = _closed(service, number, port, pods, facts) or _undeclared(
                    service, number, port, pods or templates, facts
                )
            if found:
                yield found


def _closed(
    service: Service, number: int, port: ServicePort, pods: Sequence[Pod], facts: Facts
) -> Finding | None:
    """Return the finding that pods whose sockets are known do not listen."""
    target = port.target_port or port.port
    seen, deaf = [], 0
    offered: set[int | str] = set()
    for pod in pods:
        host = facts.pod_host(pod)
        if host is None or host.listeners is None or port.protocol == _SCTP:
            return None
        own = {each.ip for each in pod.status.pod_ips}
        here = [each for each in host.listeners if each[0] == port.protocol]
        there = [each for each in here if each.port == target]
        if any(each.address in own or each.address in _EVERYWHERE for each in there):
            continue
        deaf += 1
        offered |= {each.port for each in here}
        others = listed(_ports(here or [*host.listeners])) or "nothing"
        only = f"only {there[0].address} has it; " if there else ""
        seen.append(f"{pod_title(pod)}: {only}it listens on {others} (/proc/net of {host.name})")
    if not seen:
        return None
    return Finding(
        id="target-port-closed",
        severity=Severity.ERROR if deaf == len(pods) else Severity.WARNING,
        object=service_title(service),
        evidence=(
            (
                f"spec.ports[{number}].targetPort: {deaf} of {len(pods)} Pods do not listen on"
                f" {target}/{port.protocol}"
            ),
            *seen[:3],
        ),
        remedy=_port_remedy(service, number, offered),
        service=key_of(service),
    )


def _undeclared(
    service: Service, number: int, port: ServicePort, pods: Sequence[Pod], facts: Facts
) -> Finding | None:
    """Return the finding that no container names a port, if sockets are not known."""
    target = port.target_port or port.port
    hosts = [facts.pod_host(pod) for pod in pods]
    if any(host and host.listeners is not None for host in hosts) and port.protocol != _SCTP:
        return None
    named = {
        (each.container_port, each.protocol)
        for pod in pods
        for container in pod.spec.containers
        for each in container.ports
    }
    if not named or (target, port.protocol) in named:
        return None
    texts = [f"{each}/{protocol}" for each, protocol in sorted(named)]
    return Finding(
        id="target-port-closed",
        severity=Severity.WARNING,
        object=service_title(service),
        evidence=(
            (
                f"spec.ports[{number}].targetPort is {target}/{port.protocol}, but the containers"
                f" of {pod_title(pods[0])}{' and others' * (len(pods) > 1)} name only"
                f" {listed(texts)}"
            ),
        ),
        remedy=_port_remedy(service, number, {each for each, own in named if own == port.protocol}),
        sure=Sureness.LIKELY,  # what containers name is only informative
        service=key_of(service),
    )


def _named(service: Service, number: int, port: ServicePort, pods: Sequence[Pod]) -> Finding | None:
    """Return the finding that Pods have no port of the name that a target port is."""
    lacking = [pod for pod in pods if not members.target_port(port, pod)]
    if not lacking:
        return None
    there = {
        each
        for pod in pods
        for container in pod.spec.containers
        for each in container.ports
        if each.name
    }
    names = sorted({f"{each.name} ({each.container_port}/{each.protocol})" for each in there})
    offered = {each.name for each in there if each.protocol == port.protocol}
    return Finding(
        id="target-port-unnamed",
        severity=Severity.ERROR if len(lacking) == len(pods) else Severity.WARNING,
        object=service_title(service),
        evidence=(
            (
                f"spec.ports[{number}].targetPort: {len(lacking)} of {_what(pods)} have no"
                f" {port.protocol} port named {port.target_port!r}; {pod_title(lacking[0])} is one"
            ),
            f"the names there are: {listed(names) or 'none'}",
        ),
        remedy=(
            "name the port in spec.containers[].ports, or:",
            *_port_remedy(service, number, offered),
        ),
        service=key_of(service),
    )


def _port_remedy(
    service: Service, number: int, offered: Collection[int | str | None]
) -> tuple[str, ...]:
    """Return how to set a target port, if there is only one candidate with it."""
    namespace, name = key_of(service)
    if len(offered) != 1:
        return (
            f"$ kubectl -n {namespace} edit service {name}",
            f"spec.ports[{number}].targetPort is the port that the program listens on",
        )
    change = {"op": "add", "path": f"/spec/ports/{number}/targetPort", "value": next(iter(offered))}
    patch = json.dumps([change], separators=(",", ":"))
    return (
        f"$ kubectl -n {namespace} patch service {name} --type json -p '{patch}'",
        "if that is the right port of the program",
    )


def _what(pods: Sequence[Pod]) -> str:
    """Return how many Pods there are or, if they are those of templates, workloads."""
    return f"{len(pods)} {'Pods' if pods[0].metadata.name else 'workloads'}"


def _with_selector(facts: Facts) -> Iterator[Service]:
    return (each for each in facts.services if members.has_controller(each))


def _runs(pod: Pod) -> bool:
    return not members.is_terminal(pod) and not members.is_terminating(pod)


def _should_be_ready(pod: Pod) -> bool:
    """Tell whether a Pod has been submitted to a cluster, and is to be ready there."""
    return _runs(pod) and bool(pod.status.phase or pod.status.conditions)


def _why_unready(pod: Pod, facts: Facts) -> Iterator[str]:
    told = facts.told.get(object_key(pod), ())
    if not pod.status.pod_ips:
        yield f"it does not run: {listed(told) or pod.status.phase or 'Pending'}"
        return
    probes = [each.readiness_probe for each in pod.spec.containers if each.readiness_probe]
    asked = f"readinessProbe {_described(probes[0])}" if probes else "it has no readinessProbe"
    yield f"{asked}; {listed(told)}" if told else asked


def _described(probe: Probe) -> str:
    if probe.http_get:
        return f"httpGet :{probe.http_get.port}{probe.http_get.path}"
    if probe.tcp_socket:
        return f"tcpSocket :{probe.tcp_socket.port}"
    return "exec or gRPC"


def _matching_elsewhere(service: Service, facts: Facts) -> tuple[str, str] | None:
    """Return a Pod of another namespace that a selector fits, and that namespace."""
    wanted = service.spec.selector.items()
    for pod in (*facts.pods, *(each.pod for each in facts.templates)):
        if wanted <= pod.metadata.labels.items():
            return pod_title(pod), pod.metadata.namespace
    return None


def _closest(service: Service, pods: Sequence[Pod]) -> tuple[dict[str, str], Pod] | None:
    """Return the labels by which a Pod misses a selector least, and the Pod.

    Labels count that are spelled much alike, or have such a value by another key. None if no Pod
    has any.
    """
    wanted = service.spec.selector
    best: tuple[float, dict[str, str], Pod] | None = None
    for pod in pods:
        labels = pod.metadata.labels
        own = {key: value for key, value in labels.items() if key in wanted}
        alike = [1 + SequenceMatcher(None, wanted[key], own[key]).ratio() for key in own]
        if max(alike, default=0) < 1 + _ALIKE:
            own = {key: value for key, value in labels.items() if value in wanted.values()}
            alike = [1.0] * len(own)
        if own and (best is None or sum(alike) > best[0]):
            best = (sum(alike), own, pod)
    return best[1:] if best else None


def _ports(listeners: Sequence[Listener]) -> list[str]:
    return [
        f"{port}/{protocol}"
        for protocol, port in sorted({(each.protocol, each.port) for each in listeners})
    ]


def _pairs(labels: dict[str, str]) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items()))


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"
