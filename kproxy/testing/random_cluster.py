"""Random clusters that change step by step, for what must hold after any history. Pure."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address
from random import Random
from typing import Literal

from msgspec.structs import replace

from kproxy.address import Family
from kproxy.api.types import (
    ClientIPConfig,
    Endpoint,
    EndpointConditions,
    EndpointHints,
    EndpointPort,
    EndpointSlice,
    KubernetesObject,
    LoadBalancerIngress,
    LoadBalancerStatus,
    Metadata,
    NamedHint,
    Node,
    NodeAddress,
    NodeStatus,
    Protocol,
    Service,
    ServicePort,
    ServiceSpec,
    ServiceStatus,
    SessionAffinityConfig,
)
from kproxy.store import SERVICE_NAME_LABEL, ObjectKey, object_key

NODES = ("node-0", "node-1", "node-2")
ZONES = ("zone-a", "zone-b")
FAMILIES = ((Family.IPV4,), (Family.IPV6,), (Family.IPV4, Family.IPV6))
CONDITIONS = (
    EndpointConditions(ready=True, serving=True, terminating=False),
    EndpointConditions(ready=True, serving=True, terminating=False),
    EndpointConditions(ready=False, serving=True, terminating=True),
    EndpointConditions(ready=False, serving=False, terminating=False),
)


# name, port of the Service, port of its endpoints, protocol
PORTS: tuple[tuple[str, int, int, Protocol], ...] = (
    ("http", 80, 8080, "TCP"),
    ("dns", 53, 5353, "UDP"),
    ("sig", 36, 3636, "SCTP"),
)


class RandomCluster:
    """Objects of a cluster with a handful of Services; `edit` changes one of them.

    The same seed gives the same history. All objects are such as an API server would accept (no
    address and no node port belongs to two Services) and as kproxy decodes them: with canonical
    addresses.
    """

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)
        self._made = 0
        self.objects: dict[ObjectKey, KubernetesObject] = {}
        for name in NODES:
            self._put(self._node(name))

    def edit(self) -> tuple[ObjectKey, KubernetesObject | None]:
        """Change one object. Returns its key, and the object that is there now, None if deleted."""
        services = [o for o in self.objects.values() if isinstance(o, Service)]
        slices = [o for o in self.objects.values() if isinstance(o, EndpointSlice)]
        choices: list[tuple[int, Callable[[], KubernetesObject | ObjectKey]]] = [
            (4 if len(services) < 12 else 0, self._new_service),
            (1, lambda: self._node(self._random.choice(NODES))),
        ]
        if services:
            some = self._random.choice(services)
            choices += [
                (4, lambda: self._altered_service(some)),
                (1, lambda: object_key(some)),
                (5, lambda: self._slice(some.metadata.name)),
            ]
        if slices:
            one = self._random.choice(slices)
            choices += [
                (1, lambda: object_key(one)),
                (5, lambda: self._slice(one.metadata.labels[SERVICE_NAME_LABEL], one)),
            ]
        weights, makers = zip(*choices, strict=True)
        result = self._random.choices(makers, weights)[0]()
        if isinstance(result, tuple):
            del self.objects[result]
            return result, None
        return self._put(result), result

    def _put(self, obj: KubernetesObject) -> ObjectKey:
        self.objects[object_key(obj)] = obj
        return object_key(obj)

    def _maybe(self, chance: float) -> bool:
        return self._random.random() < chance

    def _node(self, name: str) -> Node:
        number = NODES.index(name)
        labels = {"topology.kubernetes.io/zone": self._random.choice(ZONES)}
        return Node(
            metadata=Metadata(name=name, labels=labels if self._maybe(0.8) else {}),
            status=NodeStatus(
                addresses=(
                    NodeAddress(type="InternalIP", address=f"192.168.10.1{number}"),
                    NodeAddress(type="InternalIP", address=f"fd00:192::1{number}"),
                )
            ),
        )

    def _new_service(self) -> Service:
        self._made += 1
        n = self._made
        families = self._random.choice(FAMILIES)
        addresses = {"IPv4": f"10.96.{n // 200}.{n % 200 + 1}", "IPv6": f"fd00:10:96::{n:x}"}
        cluster_ips = tuple(addresses[family] for family in families)
        bare = Service(
            metadata=Metadata(name=f"svc-{n}", namespace=self._random.choice(("default", "shop"))),
            spec=ServiceSpec(
                ip_families=families, cluster_ip=cluster_ips[0], cluster_ips=cluster_ips
            ),
        )
        return self._altered_service(bare)

    def _altered_service(self, service: Service) -> Service:
        pick = self._random.choice
        n = int(service.metadata.name.removeprefix("svc-"))
        kind: Literal["ClusterIP", "NodePort", "LoadBalancer"] = pick(
            ("ClusterIP", "NodePort", "LoadBalancer")
        )
        exposed = kind != "ClusterIP"
        vips = (f"203.0.113.{n % 250}", f"fd00:203::{n:x}") if self._maybe(0.7) else ()
        affinity = pick(("None", "None", "ClientIP"))
        spec = replace(
            service.spec,
            type=kind,
            ports=tuple(
                ServicePort(
                    name=name,
                    port=port,
                    protocol=protocol,
                    node_port=30000 + n * 3 + i if exposed else 0,
                )
                for i, (name, port, _, protocol) in enumerate(
                    self._random.sample(PORTS, k=self._random.randint(1, 3))
                )
            ),
            external_ips=(f"198.51.100.{n % 250}",) if self._maybe(0.3) else (),
            external_traffic_policy=pick(("Cluster", "Local")),
            internal_traffic_policy=pick(("Cluster", "Cluster", "Local")),
            health_check_node_port=31000 + n if kind == "LoadBalancer" else 0,
            load_balancer_source_ranges=pick(
                ((), ("203.0.113.0/24",), ("192.168.0.0/16", "fd00::/8"), ("0.0.0.0/0",))
            ),
            session_affinity=affinity,
            session_affinity_config=SessionAffinityConfig(
                client_ip=ClientIPConfig(timeout_seconds=pick((10, 10800)))
            )
            if affinity == "ClientIP"
            else None,
        )
        balancer = LoadBalancerStatus(ingress=tuple(LoadBalancerIngress(ip=ip) for ip in vips))
        status = ServiceStatus(
            load_balancer=balancer if kind == "LoadBalancer" else LoadBalancerStatus()
        )
        return replace(service, spec=spec, status=status)

    def _slice(self, service: str, former: EndpointSlice | None = None) -> EndpointSlice:
        namespace = next(
            (o.metadata.namespace for o in self.objects.values() if o.metadata.name == service),
            "default",
        )
        family = former.address_type if former else self._random.choice(("IPv4", "IPv6"))
        hinted = self._maybe(0.3)
        return EndpointSlice(
            metadata=former.metadata
            if former
            else Metadata(
                name=f"{service}-{family.lower()}-{self._random.randint(0, 1)}",
                namespace=namespace,
                labels={SERVICE_NAME_LABEL: service},
            ),
            address_type=family,
            ports=tuple(
                EndpointPort(name=name, port=port, protocol=protocol)
                for name, _, port, protocol in PORTS
            ),
            endpoints=tuple(
                self._endpoint(family, hinted) for _ in range(self._random.randint(0, 4))
            ),
        )

    def _endpoint(self, family: str, hinted: bool) -> Endpoint:
        node, host = self._random.randrange(len(NODES)), self._random.randint(2, 30)
        address = f"10.244.{node}.{host}" if family == "IPv4" else f"fd00:10:244:{node}::{host:x}"
        return Endpoint(
            addresses=(str(ip_address(address)),),
            node_name=NODES[node],
            conditions=self._random.choice(CONDITIONS),
            hints=EndpointHints(for_zones=(NamedHint(name=self._random.choice(ZONES)),))
            if hinted
            else None,
        )
