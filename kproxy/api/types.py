"""The Kubernetes objects a service proxy reads, as far as it reads them; and Ingress, for labs.

Attributes are the Kubernetes fields in snake_case (`external_traffic_policy` for
`externalTrafficPolicy`); fields that kproxy does not read are dropped while decoding. Instances are
frozen, compare by value (which is how a change is recognised), and hold Kubernetes' defaults for
absent fields. Those of Services and their endpoints hold any text where Kubernetes' types do, so
that the control plane sees what a user wrote. `kproxy.api.manifests` decodes and validates them.
Source: https://kubernetes.io/docs/reference/kubernetes-api/
"""

from __future__ import annotations

from typing import Literal

from msgspec import field

from kproxy.api.base_types import (
    HEADLESS_LABEL as HEADLESS_LABEL,
)
from kproxy.api.base_types import (
    PROXY_NAME_LABEL as PROXY_NAME_LABEL,
)
from kproxy.api.base_types import (
    SERVICE_NAME_LABEL as SERVICE_NAME_LABEL,
)
from kproxy.api.base_types import (
    TRIGGER_TIME as TRIGGER_TIME,
)
from kproxy.api.base_types import (
    Base,
)
from kproxy.api.base_types import (
    Metadata as Metadata,
)
from kproxy.api.base_types import (
    ObjectReference as ObjectReference,
)
from kproxy.api.base_types import (
    OwnerReference as OwnerReference,
)
from kproxy.api.base_types import (
    Protocol as Protocol,
)
from kproxy.api.base_types import (
    Unread as Unread,
)
from kproxy.api.service_cidr_types import Condition as Condition
from kproxy.api.service_cidr_types import IPAddress as IPAddress
from kproxy.api.service_cidr_types import IPAddressSpec as IPAddressSpec
from kproxy.api.service_cidr_types import ParentReference as ParentReference
from kproxy.api.service_cidr_types import ServiceCIDR as ServiceCIDR
from kproxy.api.service_cidr_types import ServiceCIDRSpec as ServiceCIDRSpec
from kproxy.api.service_cidr_types import ServiceCIDRStatus as ServiceCIDRStatus
from kproxy.api.workload_types import (
    NO_ROLLING_UPDATE as NO_ROLLING_UPDATE,
)
from kproxy.api.workload_types import (
    Container as Container,
)
from kproxy.api.workload_types import (
    ContainerPort as ContainerPort,
)
from kproxy.api.workload_types import (
    Deployment as Deployment,
)
from kproxy.api.workload_types import (
    DeploymentSpec as DeploymentSpec,
)
from kproxy.api.workload_types import (
    DeploymentStatus as DeploymentStatus,
)
from kproxy.api.workload_types import (
    DeploymentStrategy as DeploymentStrategy,
)
from kproxy.api.workload_types import (
    HTTPGetAction as HTTPGetAction,
)
from kproxy.api.workload_types import (
    LabelSelector as LabelSelector,
)
from kproxy.api.workload_types import (
    Lifecycle as Lifecycle,
)
from kproxy.api.workload_types import (
    LifecycleHandler as LifecycleHandler,
)
from kproxy.api.workload_types import (
    Pod as Pod,
)
from kproxy.api.workload_types import (
    PodCondition as PodCondition,
)
from kproxy.api.workload_types import (
    PodIP as PodIP,
)
from kproxy.api.workload_types import (
    PodSpec as PodSpec,
)
from kproxy.api.workload_types import (
    PodStatus as PodStatus,
)
from kproxy.api.workload_types import (
    PodTemplateSpec as PodTemplateSpec,
)
from kproxy.api.workload_types import (
    Probe as Probe,
)
from kproxy.api.workload_types import (
    RollingUpdateDeployment as RollingUpdateDeployment,
)
from kproxy.api.workload_types import (
    SleepAction as SleepAction,
)
from kproxy.api.workload_types import (
    TCPSocketAction as TCPSocketAction,
)

# --- Service -------------------------------------------------------------------------------------


class ServicePort(Base, frozen=True, kw_only=True):
    name: str = ""
    protocol: str = "TCP"
    port: int = 0
    target_port: int | str | None = None
    node_port: int = 0
    app_protocol: str | None = None


class ClientIPConfig(Base, frozen=True, kw_only=True):
    timeout_seconds: int = 10800


class SessionAffinityConfig(Base, frozen=True, kw_only=True):
    client_ip: ClientIPConfig | None = field(default=None, name="clientIP")


class ServiceSpec(Base, frozen=True, kw_only=True):
    type: str = "ClusterIP"
    selector: dict[str, str] = field(default_factory=dict)
    ports: tuple[ServicePort, ...] = ()
    cluster_ip: str = field(default="", name="clusterIP")
    cluster_ips: tuple[str, ...] = field(default=(), name="clusterIPs")
    ip_families: tuple[str, ...] = ()
    ip_family_policy: str | None = None
    external_ips: tuple[str, ...] = field(default=(), name="externalIPs")
    external_name: str = ""
    external_traffic_policy: str | None = None  # None: not applicable
    internal_traffic_policy: str | None = None  # None: Cluster, or not applicable
    health_check_node_port: int = 0
    load_balancer_source_ranges: tuple[str, ...] = ()
    load_balancer_class: str | None = None
    load_balancer_ip: str = field(default="", name="loadBalancerIP")
    allocate_load_balancer_node_ports: bool | None = None  # None: not of type LoadBalancer
    publish_not_ready_addresses: bool = False
    session_affinity: str = "None"
    session_affinity_config: SessionAffinityConfig | None = None
    traffic_distribution: str | None = None


class PortStatus(Base, frozen=True, kw_only=True):
    port: int = 0
    protocol: str = ""
    error: str | None = None


class LoadBalancerIngress(Base, frozen=True, kw_only=True):
    ip: str = ""
    hostname: str = ""
    ip_mode: str | None = None  # None: VIP, if there is an address
    ports: tuple[PortStatus, ...] = ()


class LoadBalancerStatus(Base, frozen=True, kw_only=True):
    ingress: tuple[LoadBalancerIngress, ...] = ()


class ServiceStatus(Base, frozen=True, kw_only=True):
    load_balancer: LoadBalancerStatus = LoadBalancerStatus()


class Service(Base, frozen=True, kw_only=True):
    metadata: Metadata = Metadata()
    spec: ServiceSpec = ServiceSpec()
    status: ServiceStatus = ServiceStatus()


# --- EndpointSlice (discovery.k8s.io/v1) ---------------------------------------------------------


class EndpointConditions(Base, frozen=True, kw_only=True):
    """Conditions. None is "unknown": true for ready and serving, false for terminating."""

    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


class NamedHint(Base, frozen=True, kw_only=True):
    name: str = ""


class EndpointHints(Base, frozen=True, kw_only=True):
    for_zones: tuple[NamedHint, ...] = ()
    for_nodes: tuple[NamedHint, ...] = ()


class Endpoint(Base, frozen=True, kw_only=True):
    addresses: tuple[str, ...] = ()
    conditions: EndpointConditions = EndpointConditions()
    hostname: str | None = None
    target_ref: ObjectReference | None = None
    node_name: str | None = None
    zone: str | None = None
    hints: EndpointHints | None = None


class EndpointPort(Base, frozen=True, kw_only=True):
    name: str = ""
    protocol: str = "TCP"
    port: int | None = None
    app_protocol: str | None = None


class EndpointSlice(Base, frozen=True, kw_only=True):
    metadata: Metadata = Metadata()
    address_type: str = ""
    endpoints: tuple[Endpoint, ...] = ()
    ports: tuple[EndpointPort, ...] = ()


# --- Endpoints (v1) ------------------------------------------------------------------------------


class EndpointAddress(Base, frozen=True, kw_only=True):
    ip: str = ""
    hostname: str = ""
    node_name: str | None = None
    target_ref: ObjectReference | None = None


class EndpointSubset(Base, frozen=True, kw_only=True):
    addresses: tuple[EndpointAddress, ...] = ()
    not_ready_addresses: tuple[EndpointAddress, ...] = ()
    ports: tuple[EndpointPort, ...] = ()


class Endpoints(Base, frozen=True, kw_only=True):
    metadata: Metadata = Metadata()
    subsets: tuple[EndpointSubset, ...] = ()


# --- Ingress (networking.k8s.io/v1) --------------------------------------------------------------


class ServiceBackendPort(Base, frozen=True, kw_only=True):
    """A port, by either name or number."""

    name: str = ""
    number: int = 0


class IngressServiceBackend(Base, frozen=True, kw_only=True):
    name: str = ""
    port: ServiceBackendPort = ServiceBackendPort()


class TypedLocalObjectReference(Base, frozen=True, kw_only=True):
    kind: str = ""
    name: str = ""


class IngressBackend(Base, frozen=True, kw_only=True):
    """The target of a path: either a Service or a resource."""

    service: IngressServiceBackend | None = None
    resource: TypedLocalObjectReference | None = None


class HTTPIngressPath(Base, frozen=True, kw_only=True):
    path: str = ""
    path_type: Literal["Exact", "Prefix", "ImplementationSpecific"]
    backend: IngressBackend


class HTTPIngressRuleValue(Base, frozen=True, kw_only=True):
    paths: tuple[HTTPIngressPath, ...] = ()


class IngressRule(Base, frozen=True, kw_only=True):
    host: str = ""
    http: HTTPIngressRuleValue | None = None


class IngressTLS(Base, frozen=True, kw_only=True):
    hosts: tuple[str, ...] = ()


class IngressSpec(Base, frozen=True, kw_only=True):
    ingress_class_name: str | None = None
    default_backend: IngressBackend | None = None
    rules: tuple[IngressRule, ...] = ()
    tls: tuple[IngressTLS, ...] = ()


class Ingress(Base, frozen=True, kw_only=True):
    metadata: Metadata = Metadata()
    spec: IngressSpec = IngressSpec()


# --- Node ----------------------------------------------------------------------------------------


class NodeAddress(Base, frozen=True, kw_only=True):
    type: str
    address: str


class Taint(Base, frozen=True, kw_only=True):
    key: str
    value: str = ""
    effect: str = ""


class NodeSpec(Base, frozen=True, kw_only=True):
    pod_cidr: str = field(default="", name="podCIDR")
    pod_cidrs: tuple[str, ...] = field(default=(), name="podCIDRs")
    taints: tuple[Taint, ...] = ()
    unschedulable: bool = False
    external_id: str = field(default="", name="externalID")


class NodeCondition(Base, frozen=True, kw_only=True):
    type: str
    status: str


class ResourceList(Base, frozen=True, kw_only=True):
    cpu: int | float | str = ""  # a quantity such as 4, 0.5 or "3920m"; "" if it is not known
    pods: int | float | str = ""  # how many; "" for any number


class NodeStatus(Base, frozen=True, kw_only=True):
    addresses: tuple[NodeAddress, ...] = ()
    conditions: tuple[NodeCondition, ...] = ()
    capacity: ResourceList = ResourceList()
    allocatable: ResourceList = ResourceList()


class Node(Base, frozen=True, kw_only=True):
    metadata: Metadata = Metadata()
    spec: NodeSpec = NodeSpec()
    status: NodeStatus = NodeStatus()


KubernetesObject = (
    Service
    | EndpointSlice
    | Endpoints
    | ServiceCIDR
    | IPAddress
    | Ingress
    | Node
    | Pod
    | Deployment
)
