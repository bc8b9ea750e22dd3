"""Times of a control plane: `python -m kproxy.bench.control_plane SIZE` prints a result as JSON.

They are measured in a lab of both families, from the call until every node's kernel has its rules:

- apply: Pods that have their addresses, and the Services that select them, of one or both families
- start: a Deployment with a Pod for each node: namespaces, cables, servers, readiness probes
- flip: one of these Pods, of a Service, fails its readiness probe, or passes it again
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from typing import Literal

from kproxy.api.types import (
    Container,
    ContainerPort,
    Deployment,
    DeploymentSpec,
    HTTPGetAction,
    KubernetesObject,
    LabelSelector,
    Metadata,
    Pod,
    PodCondition,
    PodIP,
    PodSpec,
    PodStatus,
    PodTemplateSpec,
    Probe,
    Service,
    ServicePort,
    ServiceSpec,
)
from kproxy.backend import load
from kproxy.bench.results import ControlPlaneResult, ControlPlaneSize, p99
from kproxy.bench.subject import backend_options
from kproxy.kernel.measurement import answer
from kproxy.kernel.running import on_uml
from kproxy.lab import Lab, LabSpec, NodeSpec

_Policy = Literal["SingleStack", "RequireDualStack"]

_FIRST = (ip_address("10.245.0.1"), ip_address("fd00:245::1"))  # of Pods that no kubelet runs
_PORT = 8080
_WEB = {"app": "web"}


def measure(size: ControlPlaneSize) -> ControlPlaneResult:
    """Measure in this process, which should be a new one. Raises KproxyError."""
    nodes = [f"node-{number}" for number in range(1, size.nodes + 1)]
    spec = LabSpec(
        name="bench",
        nodes=tuple(NodeSpec(name=name) for name in nodes),
        control_plane=True,
        emulate=size.emulate,
    )
    options = backend_options(load(size.mode), size.variant)
    with Lab(spec, size.mode, options=options) as lab:
        start_s = _seconds(lambda: lab.apply(_small(size.nodes)))
        pod = lab.pod("web-1")
        flips_s = [
            _seconds(flip)
            for _ in range(size.flips)
            for flip in (pod.fail_readiness, pod.pass_readiness)
        ]
        large: list[KubernetesObject] = [*_services(size), *_pods(size, nodes)]
        apply_s = _seconds(lambda: lab.apply(large))
    return ControlPlaneResult(
        size=size,
        user_mode_linux=on_uml(),
        apply_s=apply_s,
        start_s=start_s,
        flip_median_s=statistics.median(flips_s),
        flip_p99_s=p99(flips_s),
        flip_max_s=max(flips_s),
    )


def _seconds(task: Callable[[], object]) -> float:
    start = time.perf_counter()
    task()
    return time.perf_counter() - start


def _small(replicas: int) -> list[KubernetesObject]:
    probe = Probe(http_get=HTTPGetAction(path="/ready", port=_PORT))
    return [_service("web", _WEB, "RequireDualStack"), _deployment("web", _WEB, replicas, probe)]


def _services(size: ControlPlaneSize) -> Iterator[Service]:
    for number in range(size.services):
        policy: _Policy = "RequireDualStack" if size.dual_stack else "SingleStack"
        yield _service(f"service-{number}", _labels(number), policy)


def _pods(size: ControlPlaneSize, nodes: list[str]) -> Iterator[Pod]:
    for number in range(size.pods):
        ips = tuple(PodIP(ip=str(first + number)) for first in _FIRST)
        yield Pod(
            metadata=Metadata(name=f"pod-{number}", labels=_labels(number % size.services)),
            spec=PodSpec(node_name=nodes[number % len(nodes)], containers=(_container(),)),
            status=PodStatus(
                phase="Running",
                pod_ip=ips[0].ip,
                pod_ips=ips,
                conditions=(PodCondition(type="Ready", status="True"),),
            ),
        )


def _labels(number: int) -> dict[str, str]:
    return {"app": f"app-{number}"}


def _service(name: str, selector: dict[str, str], policy: _Policy) -> Service:
    return Service(
        metadata=Metadata(name=name),
        spec=ServiceSpec(
            selector=selector,
            ip_family_policy=policy,
            ports=(ServicePort(port=80, target_port=_PORT),),
        ),
    )


def _deployment(name: str, labels: dict[str, str], replicas: int, probe: Probe) -> Deployment:
    template = PodTemplateSpec(
        metadata=Metadata(labels=labels), spec=PodSpec(containers=(_container(probe),))
    )
    return Deployment(
        metadata=Metadata(name=name),
        spec=DeploymentSpec(
            replicas=replicas, selector=LabelSelector(match_labels=labels), template=template
        ),
    )


def _container(probe: Probe | None = None) -> Container:
    ports = (ContainerPort(container_port=_PORT),)
    return Container(name="answer", ports=ports, readiness_probe=probe)


if __name__ == "__main__":
    answer(measure, ControlPlaneSize)
