"""Services, Pods and Nodes in short, and a cluster that holds what the controllers write."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from random import Random
from typing import Any

from kproxy.address import Family
from kproxy.api.types import (
    Container,
    ContainerPort,
    EndpointSlice,
    Metadata,
    Node,
    NodeCondition,
    NodeStatus,
    Pod,
    PodCondition,
    PodIP,
    PodSpec,
    PodStatus,
    ResourceList,
    Service,
    ServicePort,
    ServiceSpec,
)
from kproxy.controlplane.endpoint_slices import Changes, reconcile

HTTP = ServicePort(name="http", port=80, target_port=8080)
NAMED = ServicePort(name="http", port=80, target_port="web")


def node(name: str, zone: str = "", cpu: str = "4", *, ready: bool = True, **labels: str) -> Node:
    zones = {"topology.kubernetes.io/zone": zone} if zone else {}
    return Node(
        metadata=Metadata(name=name, namespace="", labels=zones | labels),
        status=NodeStatus(
            conditions=(NodeCondition(type="Ready", status=str(ready)),),
            allocatable=ResourceList(cpu=cpu),
        ),
    )


NODES = (node("node-a", "zone-a"), node("node-b", "zone-b"))


def service(
    *ports: ServicePort,
    families: tuple[Family, ...] = (Family.IPV4,),
    annotations: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
    deleted: bool = False,
    **spec: Any,
) -> Service:
    """Return `web` in `default`, which selects `app: web`; its port is `http` by default."""
    return Service(
        metadata=Metadata(
            name="web",
            labels=dict(labels or {}),
            annotations=dict(annotations or {}),
            deletion_timestamp="2026-01-01T00:00:00Z" if deleted else None,
        ),
        spec=ServiceSpec(
            **{
                "selector": {"app": "web"},
                "cluster_ip": "10.96.0.10",
                "ip_families": families,
                "ports": ports or (HTTP,),
                **spec,
            }
        ),
    )


def pod(
    name: str,
    *ips: str,
    node: str = "node-a",
    ready: bool = True,
    terminating: bool = False,
    phase: str = "Running",
    port: int = 0,
    hostname: str = "",
    subdomain: str = "",
    namespace: str = "default",
    app: str = "web",
) -> Pod:
    """Return a Pod. `port` is its container port named `web`; 0 if it has none."""
    return Pod(
        metadata=Metadata(
            name=name,
            namespace=namespace,
            labels={"app": app, "tier": "front"},
            deletion_timestamp="2026-01-01T00:00:00Z" if terminating else None,
        ),
        spec=PodSpec(
            node_name=node,
            hostname=hostname,
            subdomain=subdomain,
            containers=(
                Container(
                    name="main",
                    ports=(ContainerPort(name="web", container_port=port),) if port else (),
                ),
            ),
        ),
        status=PodStatus(
            phase=phase,
            pod_ip=ips[0] if ips else "",
            pod_ips=tuple(PodIP(ip=ip) for ip in ips),
            conditions=(PodCondition(type="Ready", status=str(ready)),),
        ),
    )


def numbered(count: int, **how: Any) -> list[Pod]:
    """Return Pods `web-0`, `web-1` and so on, with an address of each family."""
    return [pod(f"web-{i}", *ips_of(i), **how) for i in range(count)]


def ips_of(i: int) -> tuple[str, str]:
    return f"10.244.{i // 250}.{i % 250 + 1}", f"fd00:10:244::{i + 1:x}"


class Cluster:
    """The slices of one Service; `sync` runs the controller and keeps what it writes."""

    def __init__(self, most: int = 100, slices: Iterable[EndpointSlice] = ()) -> None:
        self.most = most
        self.slices = {each.metadata.name: each for each in slices}
        self.random = Random(1)

    def sync(
        self, of: Service, pods: Iterable[Pod], nodes: Iterable[Node] = NODES, **options: Any
    ) -> Changes:
        changes = reconcile(
            of,
            pods,
            nodes,
            self.slices.values(),
            random=self.random,
            **{"most": self.most, **options},
        )
        for each in changes.create:
            assert each.metadata.name not in self.slices
        for each in (*changes.update, *changes.delete):
            assert each.metadata.name in self.slices
        for each in (*changes.create, *changes.update):
            self.slices[each.metadata.name] = each
        for each in changes.delete:
            del self.slices[each.metadata.name]
        return changes

    def sizes(self) -> list[int]:
        return sorted((len(each.endpoints) for each in self.slices.values()), reverse=True)


def counts(changes: Changes) -> tuple[int, int, int]:
    """Return how many slices are created, updated, deleted."""
    return len(changes.create), len(changes.update), len(changes.delete)
