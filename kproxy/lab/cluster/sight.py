"""Describes what there is to a caller who waited in vain: workloads and endpoints, in lines."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from kproxy.api.types import Deployment, EndpointSlice, Pod, Service
from kproxy.controlplane.cluster import Cluster
from kproxy.controlplane.members import is_ready, is_terminating
from kproxy.lab.names import host_name
from kproxy.store import ObjectKey, service_of


def described(condition: Callable[[], object]) -> str:
    """Return a condition's source if that is one line, and where it is written."""
    code = getattr(condition, "__code__", None)
    if code is None:
        return repr(condition)
    where = f"{Path(code.co_filename).name}:{code.co_firstlineno}"
    try:
        text = " ".join(inspect.getsource(code).split())
    except OSError:  # typed at a prompt
        return where
    return f"{text} ({where})" if code.co_name == "<lambda>" else f"{code.co_name} ({where})"


def sight(cluster: Cluster, warnings: Mapping[ObjectKey, tuple[str, ...]]) -> Iterator[str]:
    """Yield a line for each Deployment, Pod and Service of users, then the warnings."""
    for deployment in cluster.objects(Deployment):
        status, wanted = deployment.status, deployment.spec.replicas
        yield (
            f"Deployment {_name(deployment)}: {status.ready_replicas} of {wanted} Pods ready, "
            f"{status.updated_replicas} of the newest template"
        )
    for pod in cluster.objects(Pod):
        yield f"Pod {_name(pod)}: {_state(pod)}"
    for service in cluster.objects(Service):
        key = (service.metadata.namespace, service.metadata.name)
        slices = [each for each in cluster.objects(EndpointSlice) if service_of(each) == key]
        endpoints = [endpoint for each in slices for endpoint in each.endpoints]
        ready = sum(each.conditions.ready is not False for each in endpoints)
        yield f"Service {_name(service)}: {ready} of {len(endpoints)} endpoints ready"
    for (kind, namespace, name), texts in warnings.items():
        for text in texts:
            yield f"Warning: {kind} {host_name(name, namespace or 'default')}: {text}"


def _name(obj: Deployment | Pod | Service) -> str:
    return host_name(obj.metadata.name, obj.metadata.namespace)


def _state(pod: Pod) -> str:
    where = f"on {pod.spec.node_name}" if pod.spec.node_name else "on no node"
    if is_terminating(pod):
        return f"terminating, {where}"
    if not pod.status.pod_ips:
        return f"{pod.status.phase or 'Pending'}, {where}"
    return f"{'ready' if is_ready(pod) else 'not ready'}, {where}"
