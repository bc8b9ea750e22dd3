"""The cost of one Pod's change on the wire, with Endpoints and with EndpointSlices.

Every watcher, such as each node's kube-proxy, gets the whole of every object that changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import msgspec
from msgspec.structs import replace

from kproxy.address import Family
from kproxy.api.types import (
    Container,
    Endpoints,
    EndpointSlice,
    Metadata,
    Node,
    Pod,
    PodCondition,
    PodIP,
    PodSpec,
    PodStatus,
    Service,
    ServicePort,
    ServiceSpec,
)
from kproxy.controlplane.endpoint_slices import reconcile
from kproxy.controlplane.endpoints import MOST_ADDRESSES, endpoints_for

SIZES = (1_000, 5_000)  # pods of one Service
PODS_PER_NODE = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Bytes of JSON that one Pod's change sends to one node, and how many nodes there are."""

    pods: int
    nodes: int
    endpoints_bytes: int
    endpoint_slices_bytes: int


def cost(pods: int, *, most_addresses: int = MOST_ADDRESSES) -> Cost:
    """Return the cost for a Service with `pods` Pods, one of which is no longer ready.

    Above `most_addresses` the Endpoints object is truncated: cheaper, but incomplete.
    """
    count = max(1, pods // PODS_PER_NODE)
    nodes = [Node(metadata=Metadata(name=f"node-{i}", namespace="")) for i in range(count)]
    before = [_pod(i, nodes[i % count].metadata.name, ready=True) for i in range(pods)]
    after = [_pod(0, nodes[0].metadata.name, ready=False), *before[1:]]
    slices = reconcile(_SERVICE, before, nodes, (), random=Random(0)).create
    changes = reconcile(_SERVICE, after, nodes, slices, random=Random(0))
    endpoints = endpoints_for(_SERVICE, after, most=most_addresses)
    return Cost(
        pods=pods,
        nodes=count,
        endpoints_bytes=wire_bytes(endpoints) if endpoints else 0,
        endpoint_slices_bytes=sum(
            map(wire_bytes, (*changes.create, *changes.update, *changes.delete))
        ),
    )


def table(sizes: Sequence[int] = SIZES) -> list[str]:
    """Return the lines of a Markdown table of the bytes to one node and to all.

    Sizes above the limit of Endpoints have two rows, with Endpoints truncated and not truncated.
    """
    rows = [
        "| pods | nodes | addresses in Endpoints | Endpoints | to all | slices | to all | ratio |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for pods in sizes:
        for most in sorted({max(pods, MOST_ADDRESSES), MOST_ADDRESSES}):
            found = cost(pods, most_addresses=most)
            cells = (
                f"{pods:,}",
                f"{found.nodes:,}",
                f"{min(pods, most):,}",
                _size(found.endpoints_bytes),
                _size(found.endpoints_bytes * found.nodes),
                _size(found.endpoint_slices_bytes),
                _size(found.endpoint_slices_bytes * found.nodes),
                f"{found.endpoints_bytes / found.endpoint_slices_bytes:.0f}",
            )
            rows.append(f"| {' | '.join(cells)} |")
    return rows


def wire_bytes(obj: Endpoints | EndpointSlice) -> int:
    """Return the object's length in bytes as JSON without empty fields, as the API server sends."""
    version = "v1" if isinstance(obj, Endpoints) else "discovery.k8s.io/v1"
    head = {"kind": type(obj).__name__, "apiVersion": version}
    return len(msgspec.json.encode(head | _filled(msgspec.to_builtins(obj))))


def _filled(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _filled(each) for key, each in value.items() if each or each is False}
    return [_filled(each) for each in value] if isinstance(value, list | tuple) else value


def _size(count: int) -> str:
    return f"{count / 1e6:,.1f} MB" if count >= 1e6 else f"{count / 1e3:,.1f} kB"


_SERVICE = Service(
    metadata=Metadata(name="web"),
    spec=ServiceSpec(
        selector={"app": "web"},
        cluster_ip="10.96.0.10",
        ip_families=(Family.IPV4,),
        ports=(ServicePort(name="http", port=80, target_port=8080),),
    ),
)
_POD = Pod(
    metadata=Metadata(name="web", labels={"app": "web"}),
    spec=PodSpec(containers=(Container(name="main"),)),
)


def _pod(number: int, node_name: str, *, ready: bool) -> Pod:
    ip = f"10.{244 + number // 62500}.{number // 250 % 250}.{number % 250 + 1}"
    # A ReplicaSet's names: its own name with the hash of its template, and five characters.
    return replace(
        _POD,
        metadata=replace(_POD.metadata, name=f"web-7d4b9c6f5d-{number:05d}"),
        spec=replace(_POD.spec, node_name=node_name),
        status=PodStatus(
            phase="Running",
            pod_ip=ip,
            pod_ips=(PodIP(ip=ip),),
            conditions=(PodCondition(type="Ready", status=str(ready)),),
        ),
    )
