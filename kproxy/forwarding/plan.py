"""The plan: what a node must do with service traffic, independent of Kubernetes and the kernel.

Nouns, all values, all frozen:

- `ServicePortName`: the identity of a service port (namespace, name, port name, protocol).
- `Endpoint`: one address and port that may answer.
- `Frontend`: one address and port that clients connect to, and how to treat them.
- `ServicePlan`: the frontends of one service port over its two pools of endpoints.
- `NodeSettings`: what is the same for all services of a node in one IP family.
- `Plan`: all service plans of one node in one family; `Delta`: those that are new or different.

Readers: the backends, the oracle, the explanations. All policy is decided before; a backend
never needs to read a Service's spec.
Addresses are canonical text (as `ipaddress` prints them) and were checked where they entered.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import NamedTuple

from msgspec import Struct

from kproxy.address import Family, host_port
from kproxy.versions import NEWEST_RELEASED, Version


class ServicePortName(NamedTuple):
    """Identity of a service port. `protocol` is TCP, UDP or SCTP; `port` is "" when unnamed."""

    namespace: str
    name: str
    port: str
    protocol: str

    @property
    def service(self) -> tuple[str, str]:
        return (self.namespace, self.name)

    def __str__(self) -> str:
        """Return `namespace/name:port`, or `namespace/name` if unnamed, without the protocol.

        It goes into comments and chain name hashes. Source: kube-proxy types.go, ServicePortName.
        """
        return f"{self.namespace}/{self.name}" + (f":{self.port}" if self.port else "")


# Plans are msgspec structs, not dataclasses: 50,000 endpoints are built at a cold start, and a
# frozen dataclass costs about six times as much to build.
class Endpoint(Struct, frozen=True, gc=False):
    address: str
    port: int
    node: str = ""
    local: bool = False  # on this node
    ready: bool = True
    serving: bool = True
    terminating: bool = False
    zone_hints: tuple[str, ...] = ()
    node_hints: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return `ip:port`, or `[ip]:port` for IPv6. Endpoints are sorted by this text."""
        return host_port(self.address, self.port)


class FrontendKind(enum.Enum):
    CLUSTER_IP = "cluster-ip"
    EXTERNAL_IP = "external-ip"
    LOAD_BALANCER = "load-balancer"
    NODE_PORT = "node-port"


class Pool(enum.Enum):
    CLUSTER = "cluster"
    LOCAL = "local"


class OnEmpty(enum.Enum):
    """The treatment of new connections when the frontend's pool has no endpoint."""

    REJECT = "reject"  # no endpoint anywhere: tell the client at once
    DROP = "drop"  # only this node has none: a load balancer may still send here for a moment


class Masquerade(enum.Enum):
    """The packets that get this node's address as source."""

    ALWAYS = "always"
    OFF_CLUSTER = "off-cluster"  # only sources that the local detector does not take for local pods
    NEVER = "never"


class Frontend(Struct, frozen=True, gc=False, kw_only=True):
    """One address and port of a service port.

    `address` is "" for a node port (it stands for every node port address of the node). With
    `short_circuit` (external frontends with externalTrafficPolicy Local) local pods and processes
    of this node use the cluster pool instead; the latter are masqueraded. Only `source_ranges`
    (CIDRs, and single addresses) may connect; if empty, all sources may.
    """

    kind: FrontendKind
    address: str
    port: int
    pool: Pool
    on_empty: OnEmpty
    masquerade: Masquerade
    short_circuit: bool = False
    source_ranges: tuple[str, ...] = ()


class ServicePlan(Struct, frozen=True, gc=False, kw_only=True):
    """One service port in one family.

    `frontends` are in the order cluster IP, external IPs, load balancer VIPs, node port.
    `cluster` and `local` are the pools, sorted by `str(endpoint)`; a pool that no frontend uses is
    empty. `reachable` is every endpoint of either pool. `has_endpoints` means that some endpoint is
    usable somewhere in the cluster, even if neither pool has one. `affinity_timeout_s` is 0 without
    session affinity.
    `cached_endpoints` counts all known endpoints in any condition (it decides large-cluster mode);
    `cached_local` are those on this node (the hairpin set of ipvs mode). A health check node port
    answers with `local_addresses`: the number of addresses of ready endpoints on this node, at any
    port of the EndpointSlices, whether the Service has it or not.
    Source: kube-proxy topology.go, CategorizeEndpoints.
    """

    name: ServicePortName
    family: Family
    frontends: tuple[Frontend, ...]
    cluster: tuple[Endpoint, ...] = ()
    local: tuple[Endpoint, ...] = ()
    reachable: tuple[Endpoint, ...] = ()
    has_endpoints: bool = False
    cached_endpoints: int = 0
    cached_local: tuple[Endpoint, ...] = ()
    internal_local: bool = False  # internalTrafficPolicy Local
    external_local: bool = False  # externalTrafficPolicy Local, where it applies
    externally_accessible: bool = False
    affinity_timeout_s: int = 0
    health_check_node_port: int = 0
    local_addresses: int = 0  # 0 without a health check node port

    @property
    def protocol(self) -> str:
        return self.name.protocol

    @property
    def cluster_ip(self) -> Frontend:
        return self.frontends[0]

    def pool(self, frontend: Frontend) -> tuple[Endpoint, ...]:
        return self.local if frontend.pool is Pool.LOCAL else self.cluster

    def serves(self, frontend: Frontend) -> bool:
        """Tell whether a client from outside (for a cluster IP: any client) finds an endpoint."""
        return self.has_endpoints and (frontend.pool is Pool.CLUSTER or bool(self.local))


class DetectLocal(enum.Enum):
    CIDR = "cidr"  # detectLocalMode ClusterCIDR or NodeCIDR
    BRIDGE = "bridge"
    PREFIX = "prefix"  # interface name prefix


class LocalDetector(Struct, frozen=True):
    """A node's test for packets of local pods. `value` is a CIDR, interface name or prefix."""

    mode: DetectLocal
    value: str


class NodePortAddresses(Struct, frozen=True):
    """The node's addresses that answer node ports: those in `cidrs`, or all if that is empty."""

    cidrs: tuple[str, ...] = ()

    @property
    def match_all(self) -> bool:
        return not self.cidrs


class LoopbackNodePorts(enum.Enum):
    """The fate of new connections from this node to a node port on a loopback address, in a mode
    whose rules do not translate them.
    """

    IGNORED = "ignored"  # they are no business of the proxy
    REJECTED = "rejected"
    SERVED = "served"  # TCP by the proxy's own process, on 127.0.0.1 or ::1; others are rejected


class BackendOptions(Struct, frozen=True, kw_only=True, rename="camel"):
    """A mode's own options. A mode that has some defines a subclass; every field has a default.

    Its `__post_init__` refuses invalid values with a ValueError that says why.
    """


class NodeSettings(Struct, frozen=True, kw_only=True):
    """Settings for all services of one node in one family. `node_ip` and `zone` may be ""."""

    family: Family
    node_name: str
    node_ip: str = ""
    zone: str = ""
    detector: LocalDetector | None = None
    masquerade_all: bool = False
    masquerade_bit: int = 14
    node_port_addresses: NodePortAddresses = NodePortAddresses()
    localhost_node_ports: bool = False  # effective value: always false for IPv6
    loopback_node_ports: LoopbackNodePorts = LoopbackNodePorts.IGNORED
    allow_external_ips: bool = True  # feature gate AllowServiceExternalIPs
    service_cidrs: tuple[str, ...] = ()  # effective: always empty in iptables and ipvs mode
    options: BackendOptions = BackendOptions()  # the mode's own
    emulate: Version = NEWEST_RELEASED

    @property
    def masquerade_mark(self) -> int:
        return 1 << self.masquerade_bit


class Plan(Struct, frozen=True, kw_only=True, weakref=True):
    """All service ports of one node in one family: a value, which later changes do not alter."""

    settings: NodeSettings
    services: Mapping[ServicePortName, ServicePlan]
    cached_endpoints: int = 0

    @property
    def family(self) -> Family:
        return self.settings.family

    @property
    def large_cluster(self) -> bool:
        """Tell whether kube-proxy leaves comments out of the chains of services: above 1000.

        Source: iptables/proxier.go, largeClusterEndpointsThreshold.
        """
        return self.cached_endpoints > 1000


class Delta(Struct, frozen=True, kw_only=True):
    """The difference from the plan of the last successful sync.

    `before` maps each changed service port to its former plan, None if it is new; a name that
    is missing from the new plan was removed. With `full` everything is to be written.
    """

    full: bool = False
    before: Mapping[ServicePortName, ServicePlan | None] = {}

    def __bool__(self) -> bool:
        return self.full or bool(self.before)
