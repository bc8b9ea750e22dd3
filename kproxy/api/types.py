"""The Kubernetes objects a service proxy reads, as far as it reads them; and Ingress, for labs.

Attributes are the Kubernetes fields in snake_case (`external_traffic_policy` for
`externalTrafficPolicy`); fields that kproxy does not read are dropped while decoding. Instances are
frozen, compare by value (which is how a change is recognised), and hold Kubernetes' defaults for
absent fields. `kproxy.api.decode` decodes and validates them.
Source: https://kubernetes.io/docs/reference/kubernetes-api/
"""

from __future__ import annotations

from typing import Literal

from msgspec import field

from kproxy.address import Family
from kproxy.api.base_types import SERVICE_NAME_LABEL as SERVICE_NAME_LABEL
from kproxy.api.base_types import Base
from kproxy.api.base_types import Metadata as Metadata
from kproxy.api.base_types import ObjectReference as ObjectReference
from kproxy.api.base_types import OwnerReference as OwnerReference
from kproxy.api.base_types import Protocol as Protocol
from kproxy.api.base_types import Unread as Unread
from kproxy.api.service_cidr_types import Condition as Condition
from kproxy.api.service_cidr_types import IPAddress as IPAddress
from kproxy.api.service_cidr_types import IPAddressSpec as IPAddressSpec
from kproxy.api.service_cidr_types import ParentReference as ParentReference
from kproxy.api.service_cidr_types import ServiceCIDR as ServiceCIDR
from kproxy.api.service_cidr_types import ServiceCIDRSpec as ServiceCIDRSpec
from kproxy.api.service_cidr_types import ServiceCIDRStatus as ServiceCIDRStatus

# --- Service -------------------------------------------------------------------------------------


class ServicePort(Base, frozen=True, kw_only=True):
    name: str = ""
    protocol: Protocol = "TCP"
    port: int
    target_port: int | str | None = None
    node_port: int = 0
    app_protocol: str | None = None


class ClientIPConfig(Base, frozen=True, kw_only=True):
    timeout_seconds: int = 10800


class SessionAffinityConfig(Base, frozen=True, kw_only=True):
    client_ip: ClientIPConfig | None = field(default=None, name="clientIP")


class ServiceSpec(Base, frozen=True, kw_only=True):
    type: Literal["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"] = "ClusterIP"
    selector: dict[str, str] = field(default_factory=dict)
    ports: tuple[ServicePort, ...] = ()
    cluster_ip: str = field(default="", name="clusterIP")
    cluster_ips: tuple[str, ...] = field(default=(), name="clusterIPs")
    ip_families: tuple[Family, ...] = ()
    ip_family_policy: Literal["SingleStack", "PreferDualStack", "RequireDualStack"] | None = None
    external_ips: tuple[str, ...] = field(default=(), name="externalIPs")
    external_name: str = ""
    external_traffic_policy: Literal["Cluster", "Local"] | None = None  # None: not applicable
    internal_traffic_policy: Literal["Cluster", "Local"] = "Cluster"
    health_check_node_port: int = 0
    load_balancer_source_ranges: tuple[str, ...] = ()
    load_balancer_class: str | None = None
    load_balancer_ip: str = field(default="", name="loadBalancerIP")
    allocate_load_balancer_node_ports: bool | None = None  # None: not of type LoadBalancer
    publish_not_ready_addresses: bool = False
    session_affinity: Literal["None", "ClientIP"] = "None"
    session_affinity_config: SessionAffinityConfig | None = None
    traffic_distribution: Literal["PreferClose", "PreferSameZone", "PreferSameNode"] | None = None


class LoadBalancerIngress(Base, frozen=True, kw_only=True):
    ip: str = ""
    hostname: str = ""
    ip_mode: Literal["VIP", "Proxy"] = "VIP"


class LoadBalancerStatus(Base, frozen=True, kw_only=True):
    ingress: tuple[LoadBalancerIngress, ...] = ()


class ServiceStatus(Base, frozen=True, kw_only=True):
    load_balancer: LoadBalancerStatus = LoadBalancerStatus()


class Service(Base, frozen=True, kw_only=True):
    metadata: Metadata
    spec: ServiceSpec = ServiceSpec()
    status: ServiceStatus = ServiceStatus()


# --- EndpointSlice (discovery.k8s.io/v1) ---------------------------------------------------------


class EndpointConditions(Base, frozen=True, kw_only=True):
    """Conditions. None is "unknown": true for ready and serving, false for terminating."""

    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


class NamedHint(Base, frozen=True, kw_only=True):
    name: str


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
    protocol: Protocol = "TCP"
    port: int | None = None


class EndpointSlice(Base, frozen=True, kw_only=True):
    metadata: Metadata
    address_type: Literal["IPv4", "IPv6", "FQDN"]
    endpoints: tuple[Endpoint, ...] = ()
    ports: tuple[EndpointPort, ...] = ()


# --- Endpoints (v1) ------------------------------------------------------------------------------


class EndpointAddress(Base, frozen=True, kw_only=True):
    ip: str
    hostname: str = ""
    node_name: str | None = None
    target_ref: ObjectReference | None = None


class EndpointSubset(Base, frozen=True, kw_only=True):
    addresses: tuple[EndpointAddress, ...] = ()
    not_ready_addresses: tuple[EndpointAddress, ...] = ()
    ports: tuple[EndpointPort, ...] = ()


class Endpoints(Base, frozen=True, kw_only=True):
    metadata: Metadata
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
    metadata: Metadata
    spec: IngressSpec = IngressSpec()


# --- Node ----------------------------------------------------------------------------------------


class NodeAddress(Base, frozen=True, kw_only=True):
    type: str
    address: str


class Taint(Base, frozen=True, kw_only=True):
    key: str
    effect: str = ""


class NodeSpec(Base, frozen=True, kw_only=True):
    pod_cidr: str = field(default="", name="podCIDR")
    pod_cidrs: tuple[str, ...] = field(default=(), name="podCIDRs")
    taints: tuple[Taint, ...] = ()


class NodeCondition(Base, frozen=True, kw_only=True):
    type: str
    status: str


class ResourceList(Base, frozen=True, kw_only=True):
    cpu: int | str = ""  # a quantity such as 4, "4" or "3920m"; "" if it is not known


class NodeStatus(Base, frozen=True, kw_only=True):
    addresses: tuple[NodeAddress, ...] = ()
    conditions: tuple[NodeCondition, ...] = ()
    capacity: ResourceList = ResourceList()
    allocatable: ResourceList = ResourceList()


class Node(Base, frozen=True, kw_only=True):
    metadata: Metadata
    spec: NodeSpec = NodeSpec()
    status: NodeStatus = NodeStatus()


# --- Pod -----------------------------------------------------------------------------------------


class ContainerPort(Base, frozen=True, kw_only=True):
    name: str = ""
    container_port: int
    host_port: int = 0
    host_ip: str = field(default="", name="hostIP")
    protocol: Protocol = "TCP"


class HTTPGetAction(Base, frozen=True, kw_only=True):
    path: str = "/"
    port: int | str
    host: str = ""
    scheme: Literal["HTTP", "HTTPS"] = "HTTP"


class TCPSocketAction(Base, frozen=True, kw_only=True):
    port: int | str
    host: str = ""


class Probe(Base, frozen=True, kw_only=True):
    """A Pod that is to run has exactly one of the first two; only the delay may be zero."""

    http_get: HTTPGetAction | None = None
    tcp_socket: TCPSocketAction | None = None
    exec: Unread | None = None
    grpc: Unread | None = None
    initial_delay_seconds: int = 0
    period_seconds: int = 10
    timeout_seconds: int = 1
    success_threshold: int = 1
    failure_threshold: int = 3
    termination_grace_period_seconds: int | None = None


class SleepAction(Base, frozen=True, kw_only=True):
    seconds: int


class LifecycleHandler(Base, frozen=True, kw_only=True):
    """A Pod that is to run has the first."""

    sleep: SleepAction | None = None
    exec: Unread | None = None
    http_get: Unread | None = None
    tcp_socket: Unread | None = None


class Lifecycle(Base, frozen=True, kw_only=True):
    pre_stop: LifecycleHandler | None = None
    post_start: Unread | None = None


class Container(Base, frozen=True, kw_only=True):
    name: str
    image: str = ""
    ports: tuple[ContainerPort, ...] = ()
    readiness_probe: Probe | None = None
    liveness_probe: Probe | None = None
    startup_probe: Probe | None = None
    lifecycle: Lifecycle | None = None


class PodSpec(Base, frozen=True, kw_only=True):
    node_name: str = ""
    node_selector: dict[str, str] = field(default_factory=dict)
    host_network: bool = False
    hostname: str = ""
    subdomain: str = ""
    termination_grace_period_seconds: int = 30
    restart_policy: Literal["Always", "OnFailure", "Never"] = "Always"
    dns_policy: Literal["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"] | None = None
    affinity: Unread | None = None
    topology_spread_constraints: tuple[Unread, ...] = ()
    readiness_gates: tuple[Unread, ...] = ()
    containers: tuple[Container, ...] = ()


class PodIP(Base, frozen=True, kw_only=True):
    ip: str


class PodCondition(Base, frozen=True, kw_only=True):
    type: str
    status: str


class PodStatus(Base, frozen=True, kw_only=True):
    phase: str = ""
    pod_ip: str = field(default="", name="podIP")
    pod_ips: tuple[PodIP, ...] = field(default=(), name="podIPs")
    conditions: tuple[PodCondition, ...] = ()


class Pod(Base, frozen=True, kw_only=True):
    metadata: Metadata
    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()


# --- Deployment (apps/v1) ------------------------------------------------------------------------


class LabelSelector(Base, frozen=True, kw_only=True, omit_defaults=True):
    match_labels: dict[str, str] = field(default_factory=dict)
    match_expressions: tuple[Unread, ...] = ()


class PodTemplateSpec(Base, frozen=True, kw_only=True):
    metadata: Metadata = Metadata()
    spec: PodSpec = PodSpec()


class RollingUpdateDeployment(Base, frozen=True, kw_only=True):
    """Limits of a rollout: numbers of Pods, or percentages of `replicas` such as "25%"."""

    max_surge: int | str = "25%"
    max_unavailable: int | str = "25%"


NO_ROLLING_UPDATE = RollingUpdateDeployment()  # identifies an absent field by `is`


class DeploymentStrategy(Base, frozen=True, kw_only=True):
    type: Literal["RollingUpdate", "Recreate"] = "RollingUpdate"
    rolling_update: RollingUpdateDeployment = NO_ROLLING_UPDATE


class DeploymentSpec(Base, frozen=True, kw_only=True):
    """With `replicas` None the number stays as it is; a new Deployment gets one."""

    replicas: int | None = None
    selector: LabelSelector = LabelSelector()
    template: PodTemplateSpec = PodTemplateSpec()
    strategy: DeploymentStrategy = DeploymentStrategy()
    min_ready_seconds: int = 0
    revision_history_limit: int = 10
    progress_deadline_seconds: int = 600
    paused: bool = False


class DeploymentStatus(Base, frozen=True, kw_only=True):
    replicas: int = 0
    updated_replicas: int = 0
    ready_replicas: int = 0


class Deployment(Base, frozen=True, kw_only=True):
    metadata: Metadata
    spec: DeploymentSpec = DeploymentSpec()
    status: DeploymentStatus = DeploymentStatus()


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
