"""Changes during the tours of some examples, by their names."""

from __future__ import annotations

import http.client
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from msgspec.structs import replace

from kproxy.address import Family
from kproxy.api.manifests import load
from kproxy.api.types import Deployment, Service
from kproxy.errors import TimedOut
from kproxy.lab import Lab
from kproxy.lab.names import host_name
from kproxy.probe.prober import Prober
from kproxy.tour import lookups, objects, traffic
from kproxy.tour.part import Part, Table

Step = Callable[[Lab, Prober, Path], Iterator[Part]]
_TIMEOUT_S = 30


def _scale(lab: Lab, prober: Prober, _manifest: Path) -> Iterator[Part]:
    lab.scale("web", 3)
    yield traffic.ask_again(lab, prober, "After kubectl scale deployment web --replicas 3")


def _flip_readiness(lab: Lab, prober: Prober, _manifest: Path) -> Iterator[Part]:
    pod = lab.pod("web-1")
    pod.fail_readiness()
    problems = ["web-1 is ready"] if pod.ready else []
    yield traffic.ask_again(
        lab, prober, "web-1 fails its probe: /healthz is 503", problems=problems
    )
    yield lookups.look_up(lab)
    pod.pass_readiness()
    problems = [] if pod.ready else ["web-1 is not ready"]
    yield traffic.ask_again(lab, prober, "web-1 passes its probe again", problems=problems)


def _empty_zone(lab: Lab, prober: Prober, _manifest: Path) -> Iterator[Part]:
    zone = lab.pods[objects.SHELL].zone
    here = [
        pod
        for pod in objects.pods(lab)
        if lab.pods[host_name(pod.metadata.name, pod.metadata.namespace)].zone == zone
    ]
    for pod in here:
        lab.pod(pod.metadata.name).fail_readiness()
    names = ", ".join(pod.metadata.name for pod in here)
    yield traffic.ask_again(lab, prober, f"No pod of the zone {zone} is ready: not {names}")


def _roll(lab: Lab, prober: Prober, manifest: Path) -> Iterator[Part]:
    former = {pod.metadata.name for pod in objects.pods(lab)}
    lab.apply(
        [_relabelled(each) for each in load([manifest]).objects if isinstance(each, Deployment)]
    )
    yield traffic.ask_again(
        lab, prober, "A new template: the former pods terminate, and still serve"
    )
    yield _once_removed(lab, prober, former, "After their preStop hooks they are removed")
    former = {pod.metadata.name for pod in objects.pods(lab)}
    lab.scale("web", 0)
    yield traffic.ask_again(lab, prober, "Scaled to 0: those that terminate are better than none")
    yield _once_removed(lab, prober, former, "And then there are none")


def _correct_selector(lab: Lab, prober: Prober, _manifest: Path) -> Iterator[Part]:
    service = lab.get("Service", "web")
    assert isinstance(service, Service)  # it was applied so
    lab.apply([replace(service, spec=replace(service.spec, selector={"app": "web"}))])
    problems = [f"{key}: {text}" for key, texts in lab.warnings.items() for text in texts]
    yield traffic.ask_again(lab, prober, "With the right selector", problems=problems)


def _ask_health(lab: Lab, _prober: Prober, _manifest: Path) -> Iterator[Part]:
    """Ask each node's health check node port, like a load balancer."""
    client = next(iter(lab.clients.values()))
    rows, problems = [], []
    for service in objects.services(lab):
        port = service.spec.health_check_node_port
        with_endpoint = {
            endpoint.node_name
            for each in objects.slices(lab, service)
            for endpoint in each.endpoints
        }
        for name, node in lab.nodes.items():
            with client.namespace.entered():
                status = _status(node.addresses[Family.IPV4], port)
            if status != (200 if name in with_endpoint else 503):
                problems.append(f"{name} says {status}")
            rows.append((name, f"http://{node.addresses[Family.IPV4]}:{port}/", str(status)))
    table = Table(header=("node", "asked by outside", "status"), rows=tuple(rows))
    yield Part(title="The health check node port", tables=[table], problems=problems)


STEPS: Mapping[str, Step] = {
    "cluster-ip": _scale,
    "external-local": _ask_health,
    "readiness": _flip_readiness,
    "rolling-update": _roll,
    "topology": _empty_zone,
    "wrong-selector": _correct_selector,
}


def _once_removed(lab: Lab, prober: Prober, names: set[str], title: str) -> Part:
    problems = []
    try:
        lab.wait_for(
            lambda: not names & {pod.metadata.name for pod in objects.pods(lab)},
            timeout_s=_TIMEOUT_S,
        )
    except TimedOut:
        problems = [f"still there after {_TIMEOUT_S} s: {', '.join(sorted(names))}"]
    return traffic.ask_again(lab, prober, title, problems=problems)


def _relabelled(deployment: Deployment) -> Deployment:
    template = deployment.spec.template
    labels = {**template.metadata.labels, "version": "2"}
    template = replace(template, metadata=replace(template.metadata, labels=labels))
    return replace(deployment, spec=replace(deployment.spec, template=template))


def _status(address: str, port: int) -> int:
    """Return the status of an HTTP request from the namespace of the calling thread."""
    connection = http.client.HTTPConnection(address, port, timeout=_TIMEOUT_S)
    connection.request("GET", "/")
    try:
        return connection.getresponse().status
    finally:
        connection.close()
