"""The description of a lab as frozen values. `kproxy.lab.validation` checks that it can be built.

    LabSpec
     ├─ nodes: NodeSpec ── pods: PodSpec ── ports: PortSpec
     ├─ clients: ClientSpec        outside the cluster
     ├─ network, profile           names, see `kproxy.lab.models` and `kproxy.lab.profiles`
     ├─ edge: EdgeSpec             public addresses, load balancers
     └─ routes                     CIDRs that the router sends to a node

Names are DNS labels; nodes, pods and clients of a lab share one set of names, so that each name is
unique. `kproxy.lab.names` has the rule for names of interfaces.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from kproxy.address import Family
from kproxy.api.types import Protocol
from kproxy.versions import Version


@dataclass(frozen=True, slots=True, kw_only=True)
class PortSpec:
    """A port that a pod serves. `name` may be the target port of a Service."""

    port: int
    protocol: Protocol = "TCP"
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PodSpec:
    """A pod. `namespace` and `labels` are the Kubernetes ones, for selectors.

    With `host_network` it runs in its node's network namespace and has the node's addresses.
    `runs` is what serves its ports: "" is the server of `kproxy.lab.pods.server`, which answers
    with the client that it saw, "nginx" an ingress (`kproxy.lab.pods.ingress`).
    """

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    ports: tuple[PortSpec, ...] = ()
    namespace: str = "default"
    host_network: bool = False
    runs: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSpec:
    """A node. `config` overrides fields of the lab's KubeProxyConfiguration, spelled and nested
    alike.
    """

    name: str
    zone: str = ""
    pods: tuple[PodSpec, ...] = ()
    config: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSpec:
    """A client outside the cluster. `addresses` has at most one of each family; the next free one
    is used for a family that is missing.
    """

    name: str
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class BalancerSpec:
    """A load balancer on layer 4. `kind` is `shared` by all of a region (its health checks come
    from 100.125.0.0/16, and it forwards only to nodes), or `dedicated` to this VPC.
    """

    name: str
    kind: str = "shared"


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeSpec:
    """The gateway between the cluster and the internet, and the load balancers.

    Node number i has the public address 10+i of the public CIDR (an EIP), load balancer number k
    has 100+k there and 10+k in the balancer CIDR, the DNAT gateway has 200. A dedicated one sends
    its health checks from 100+k of the balancer CIDR.
    """

    balancers: tuple[BalancerSpec, ...] = ()
    public_cidrs: tuple[str, ...] = ("203.0.113.0/24", "2001:db8:203::/64")
    balancer_cidrs: tuple[str, ...] = ("192.168.20.0/24", "fd00:192:20::/64")


@dataclass(frozen=True, slots=True, kw_only=True)
class LabSpec:
    """A cluster and its surroundings.

    Each `..._cidrs` has one CIDR for each family of the lab; those of other families are ignored.
    Node number i (from 1) gets the address 10+i of the node CIDR and subnet i of the pod CIDR, its
    pod number j the address 10+j therein, client number k the address 10+k of the client CIDR; .1
    is always the gateway. IPv6 addresses end in the same digits: 192.168.10.11, fd00:192::11.
    `routes` is CIDR -> name of the node that the router sends it to, for external IPs and VIPs.
    With an `edge`, clients are on the internet, behind its gateway; without one, on the router.

    With `control_plane` the lab allocates addresses and ports, runs Pods and Deployments, makes
    EndpointSlices and answers DNS; else it takes objects as an API server would have stored them.
    `emulate` is the kube-proxy that the proxies behave like; None leaves it to the configuration.
    These fields apply only with a control plane: `load_balancer_cidrs`, for load balancers'
    addresses if there is no `edge`; `node_port_range`, first and last; `upstream`: names outside
    the cluster that its DNS knows -> addresses, or the one name that it is an alias of.
    """

    nodes: tuple[NodeSpec, ...]
    clients: tuple[ClientSpec, ...] = ()
    name: str = "lab"
    families: tuple[Family, ...] = (Family.IPV4, Family.IPV6)
    routes: Mapping[str, str] = field(default_factory=dict)
    node_cidrs: tuple[str, ...] = ("192.168.10.0/24", "fd00:192::/64")
    pod_cidrs: tuple[str, ...] = ("10.244.0.0/16", "fd00:10:244::/56")
    service_cidrs: tuple[str, ...] = ("10.96.0.0/16", "fd00:10:96::/112")
    client_cidrs: tuple[str, ...] = ("198.51.100.0/24", "2001:db8:198::/64")
    network: str = "routed"
    profile: str = "upstream"
    edge: EdgeSpec | None = None
    control_plane: bool = False
    emulate: Version | None = None
    load_balancer_cidrs: tuple[str, ...] = ("192.168.30.0/24", "fd00:192:30::/64")
    node_port_range: tuple[int, int] = (30000, 32767)
    upstream: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def pods(self) -> tuple[PodSpec, ...]:
        return tuple(pod for node in self.nodes for pod in node.pods)

    @property
    def assigns_balancers(self) -> bool:
        """True if the control plane assigns load balancers' addresses, as there is no cloud."""
        return self.control_plane and self.edge is None
