"""The warnings of the API server about Pods and templates of Pods, in its words.

Source: pkg/api/pod/warnings.go and pkg/api/node/util.go of Kubernetes v1.36
"""

from __future__ import annotations

from collections.abc import Iterator

from kproxy.api.names import MAX_LABEL
from kproxy.api.types import ContainerPort, Metadata, PodSpec

_ANNOTATIONS = {
    "scheduler.alpha.kubernetes.io/critical-pod": (
        'non-functional in v1.16+; use the "priorityClassName" field instead'
    ),
    "security.alpha.kubernetes.io/sysctls": (
        'non-functional in v1.11+; use the "sysctls" field instead'
    ),
    "security.alpha.kubernetes.io/unsafe-sysctls": (
        'non-functional in v1.11+; use the "sysctls" field instead'
    ),
}
_NODE_LABELS = {
    "beta.kubernetes.io/arch": ("v1.14", "kubernetes.io/arch"),
    "beta.kubernetes.io/os": ("v1.14", "kubernetes.io/os"),
    "beta.kubernetes.io/instance-type": ("v1.17", "node.kubernetes.io/instance-type"),
    "failure-domain.beta.kubernetes.io/region": ("v1.17", "topology.kubernetes.io/region"),
    "failure-domain.beta.kubernetes.io/zone": ("v1.17", "topology.kubernetes.io/zone"),
}


def name_warnings(name: str, used: str) -> Iterator[str]:
    """Yield the warning about a valid name that is no DNS label; `used`: where DNS needs one."""
    faults = [f"must be no more than {MAX_LABEL} characters"] if len(name) > MAX_LABEL else []
    if "." in name:
        faults.append("must not contain dots")
    if faults:
        told = "which can result in surprising behavior; a DNS label is recommended"
        yield f"metadata.name: this is used in {used}, {told}: [{' '.join(faults)}]"


def template_warnings(path: str, metadata: Metadata, spec: PodSpec) -> Iterator[str]:
    """Yield the warnings about a Pod; `path` is "", or that of a template with a dot behind it."""
    for key in spec.node_selector:
        if key in _NODE_LABELS:
            since, instead = _NODE_LABELS[key]
            told = f'deprecated since {since}; use "{instead}" instead'
            yield f"{path}spec.nodeSelector[{key}]: {told}"
    for key, told in _ANNOTATIONS.items():
        if key in metadata.annotations:
            yield f"{path}metadata.annotations[{key}]: {told}"
    seen: dict[tuple[int, str], list[tuple[str, ContainerPort]]] = {}
    for i, container in enumerate(spec.containers):
        for j, port in enumerate(container.ports):
            field = f"{path}spec.containers[{i}].ports[{j}]"
            if port.host_ip and not port.host_port:
                yield f"{field}: hostIP set without hostPort: {_struct(port)}"
            others = seen.setdefault((port.container_port, port.protocol), [])
            for other_field, other in others:
                if kind := _conflict(port, other):
                    yield f"{field}: {kind} port definition with {other_field}"
            others.append((field, port))
    if spec.termination_grace_period_seconds < 0:
        told = "must be >= 0; negative values are invalid and will be treated as 1"
        yield f"{path}spec.terminationGracePeriodSeconds: {told}"


def _conflict(port: ContainerPort, other: ContainerPort) -> str:
    """Return how two definitions of one port disturb each other; "" if they do not."""
    if (port.host_ip, port.host_port) == (other.host_ip, other.host_port):
        return "duplicate"
    if not port.host_port or not other.host_port:
        return "overlapping"
    if port.host_port == other.host_port and bool(port.host_ip) != bool(other.host_ip):
        return "dangerously ambiguous"
    return ""


def _struct(port: ContainerPort) -> str:
    """Return the port as Go prints the API server's struct."""
    return (
        f"{{Name:{port.name} HostPort:{port.host_port} ContainerPort:{port.container_port}"
        f" Protocol:{port.protocol} HostIP:{port.host_ip}}}"
    )
