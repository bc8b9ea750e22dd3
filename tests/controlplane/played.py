"""A cluster with a simulated kubelet: a scheduled Pod gets an address and becomes ready."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Any

from msgspec import convert
from msgspec.structs import replace

from kproxy.api.types import (
    Deployment,
    EndpointSlice,
    KubernetesObject,
    Metadata,
    Node,
    NodeCondition,
    NodeSpec,
    NodeStatus,
    Pod,
    PodCondition,
    PodIP,
    PodSpec,
    PodStatus,
    ResourceList,
    Service,
    ServiceSpec,
    Taint,
)
from kproxy.controlplane.cluster import Cluster
from kproxy.store import ObjectKey, object_key

NOW = "2026-01-01T00:00:00Z"
V4, V6 = "10.96.0.0/24", "fd00:10:96::/112"
POOL, POOL6 = "203.0.113.0/29", "fd00:203::/125"
WEB = {"app": "web"}
HTTP = {"name": "http", "port": 80, "targetPort": 8080}


def node(
    name: str,
    zone: str = "",
    *,
    ready: bool = True,
    taints: tuple[str, ...] = (),
    pods: str = "",
    **labels: str,
) -> Node:
    zones = {"topology.kubernetes.io/zone": zone} if zone else {}
    own = {"kubernetes.io/hostname": name} | zones | labels
    return Node(
        metadata=Metadata(name=name, namespace="", labels=own),
        spec=NodeSpec(taints=tuple(Taint(key=each, effect="NoSchedule") for each in taints)),
        status=NodeStatus(
            conditions=(NodeCondition(type="Ready", status=str(ready)),),
            allocatable=ResourceList(cpu="4", pods=pods),
        ),
    )


NODES = (node("node-a", "zone-a"), node("node-b", "zone-a"), node("node-c", "zone-b"))


def service(name: str = "web", *, status: str = "", **spec: Any) -> Service:
    """Return a Service from fields in Kubernetes' spelling.

    By default it has port `http` and the selector `app: NAME`. `status` is the address that its
    load balancer has.
    """
    whole = {"ports": [HTTP], "selector": {"app": name}, **spec}
    ingress = {"loadBalancer": {"ingress": [{"ip": status}]}} if status else {}
    told = {"metadata": {"name": name}, "spec": whole, "status": ingress}
    return convert(told, Service, strict=True)


def service_spec(cluster: Cluster, name: str = "web") -> ServiceSpec:
    found = cluster.object(("Service", "default", name))
    assert isinstance(found, Service)
    return found.spec


def pod(
    name: str,
    *ips: str,
    node: str = "",
    labels: Mapping[str, str] | None = None,
    ready: bool = True,
    **spec: Any,
) -> Pod:
    """Return a Pod. With addresses it runs elsewhere."""
    return Pod(
        metadata=Metadata(name=name, labels=dict(WEB if labels is None else labels)),
        spec=replace(convert(spec, PodSpec), node_name=node),
        status=running(*ips, ready=ready) if ips else PodStatus(),
    )


def running(*ips: str, ready: bool = True) -> PodStatus:
    return PodStatus(
        phase="Running",
        pod_ip=ips[0],
        pod_ips=tuple(PodIP(ip=ip) for ip in ips),
        conditions=(PodCondition(type="Ready", status=str(ready)),),
    )


def deployment(
    name: str = "web", replicas: int | None = 3, version: str = "1", **spec: Any
) -> Deployment:
    """Return a Deployment. `version` is a label of its template."""
    labels = {"app": name}
    whole = {
        "replicas": replicas,
        "selector": {"matchLabels": labels},
        "template": {
            "metadata": {"labels": labels | {"version": version}},
            "spec": {"containers": [{"name": "main", "image": "web"}]},
        },
        **spec,
    }
    return convert({"metadata": {"name": name}, "spec": whole}, Deployment, strict=True)


def rolling(surge: int | str, unavailable: int | str) -> dict[str, Any]:
    return {"rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}


class Played:
    """A cluster and its kubelets. With `ready` Pods become ready once they run."""

    def __init__(self, *objects: KubernetesObject, ready: bool = True, **options: Any) -> None:
        defaults: dict[str, Any] = {"service_cidrs": (V4,), "random": Random(1)}
        self.cluster = Cluster(**(defaults | options))
        self.ready = ready
        self._given = 0
        if objects:
            self.apply(*objects)

    def apply(self, *objects: KubernetesObject) -> None:
        self.cluster.apply(objects)
        self.cluster.reconcile(NOW)

    def delete(self, *keys: ObjectKey) -> None:
        self.cluster.delete(keys, NOW)
        self.cluster.reconcile(NOW)

    def start_pods(self) -> int:
        """Start Pods; return how many there were to start."""
        found = self.cluster.pods_to_run()
        for each in found:
            self._given += 1
            ips = f"10.244.{self._given // 250}.{self._given % 250 + 1}", f"fd00::{self._given:x}"
            self.cluster.set_pod_status(object_key(each), running(*ips, ready=self.ready))
        return len(found)

    def stop_pods(self) -> int:
        """Stop the Pods that terminate; return how many there were to stop."""
        found = [
            each
            for each in self.cluster.objects(Pod)
            if each.metadata.deletion_timestamp
            and not (each.metadata.finalizers and each.status.phase == "Succeeded")
        ]
        for each in found:
            self.cluster.pod_stopped(object_key(each))
        return len(found)

    def round(self) -> bool:
        """Run kubelets, then controllers; return whether there was anything to do."""
        worked = self.start_pods() + self.stop_pods()
        return self.cluster.reconcile(NOW) or worked > 0

    def settle(self) -> None:
        while self.round():
            pass

    def set_ready(self, name: str, ready: bool) -> None:
        key = ("Pod", "default", name)
        found = self.cluster.object(key)
        assert isinstance(found, Pod)
        ips = [each.ip for each in found.status.pod_ips]
        self.cluster.set_pod_status(key, running(*ips, ready=ready))
        self.cluster.reconcile(NOW)

    @property
    def pods(self) -> list[str]:
        """Return the names of Pods; one that terminates has a cross."""
        return [
            each.metadata.name + ("†" if each.metadata.deletion_timestamp else "")
            for each in self.cluster.objects(Pod)
        ]

    def told(self, kind: str, name: str = "web") -> tuple[str, ...]:
        """Return the warnings of an object."""
        namespace = "" if kind == "Node" else "default"
        return self.cluster.warnings.get((kind, namespace, name), ())

    def endpoints(self, name: str = "web") -> dict[str, bool]:
        """Return addresses in the IPv4 slices of a Service, and whether they are ready."""
        return {
            endpoint.addresses[0]: bool(endpoint.conditions.ready)
            for each in self.slices(name)
            if each.address_type == "IPv4"
            for endpoint in each.endpoints
        }

    def slices(self, name: str = "web") -> list[EndpointSlice]:
        return [
            each
            for each in self.cluster.objects(EndpointSlice)
            if each.metadata.labels.get("kubernetes.io/service-name") == name
        ]
