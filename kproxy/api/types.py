"""The Kubernetes objects a service proxy reads, as far as it reads them; and Ingress, for labs.

Attributes are the Kubernetes fields in snake_case (`external_traffic_policy` for
`externalTrafficPolicy`); fields that kproxy does not read are dropped while decoding. Instances are
frozen, compare by value (which is how a change is recognised), and hold Kubernetes' defaults for
absent fields. `kproxy.api.decode` decodes and validates them.
Source: https://kubernetes.io/docs/reference/kubernetes-api/
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct, field

from kproxy.address import Family

Protocol = Literal["TCP", "UDP", "SCTP"]
SERVICE_NAME_LABEL = "kubernetes.io/service-name"  # on a slice: the Service it belongs to


class _Object(Struct, frozen=True, kw_only=True, rename="camel", gc=False):
    """Base of all: Kubernetes' spelling in JSON, and no GC overhead (objects hold no cycles)."""


class Unread(_Object, frozen=True, kw_only=True):
    """A value whose contents kproxy does not read, but whose presence it reports."""


class OwnerReference(_Object, frozen=True, kw_only=True):
    kind: str
    name: str


class Metadata(_Object, frozen=True, kw_only=True):
    name: str = ""
    namespace: str = "default"
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    owner_references: tuple[OwnerReference, ...] = ()
    deletion_timestamp: str | None = None


class ObjectReference(_Object, frozen=True, kw_only=True):
    kind: str = ""
    namespace: str = ""
    name: str = ""


# --- Service -------------------------------------------------------------------------------------


class ServicePort(_Object, frozen=True, kw_only=True):
    name: str = ""
    protocol: Protocol = "TCP"
    port: int
    target_port: int | str | None = None
    node_port: int = 0
    app_protocol: str | None = None


class ClientIPConfig(_Object, frozen=True, kw_only=True):
    timeout_seconds: int = 10800


class SessionAffinityConfig(_Object, frozen=True, kw_only=True):
    client_ip: ClientIPConfig | None = field(default=None, name="clientIP")


class ServiceSpec(_Object, frozen=True, kw_only=True):
    type: Literal["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"] = "ClusterIP"
    selector: dict[str, str] = {}
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


class LoadBalancerIngress(_Object, frozen=True, kw_only=True):
    ip: str = ""
    hostname: str = ""
    ip_mode: Literal["VIP", "Proxy"] = "VIP"


class LoadBalancerStatus(_Object, frozen=True, kw_only=True):
    ingress: tuple[LoadBalancerIngress, ...] = ()


class ServiceStatus(_Object, frozen=True, kw_only=True):
    load_balancer: LoadBalancerStatus = LoadBalancerStatus()


class Service(_Object, frozen=True, kw_only=True):
    metadata: Metadata
    spec: ServiceSpec = ServiceSpec()
    status: ServiceStatus = ServiceStatus()


# --- EndpointSlice (discovery.k8s.io/v1) ---------------------------------------------------------


class EndpointConditions(_Object, frozen=True, kw_only=True):
    """Conditions. None is "unknown": true for ready and serving, false for terminating."""

    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


class NamedHint(_Object, frozen=True, kw_only=True):
    name: str


class EndpointHints(_Object, frozen=True, kw_only=True):
    for_zones: tuple[NamedHint, ...] = ()
    for_nodes: tuple[NamedHint, ...] = ()


class Endpoint(_Object, frozen=True, kw_only=True):
    addresses: tuple[str, ...] = ()
    conditions: EndpointConditions = EndpointConditions()
    hostname: str | None = None
    target_ref: ObjectReference | None = None
    node_name: str | None = None
    zone: str | None = None
    hints: EndpointHints | None = None


class EndpointPort(_Object, frozen=True, kw_only=True):
    name: str = ""
    protocol: Protocol = "TCP"
    port: int | None = None


class EndpointSlice(_Object, frozen=True, kw_only=True):
    metadata: Metadata
    address_type: Literal["IPv4", "IPv6", "FQDN"]
    endpoints: tuple[Endpoint, ...] = ()
    ports: tuple[EndpointPort, ...] = ()


# --- Endpoints (v1) ------------------------------------------------------------------------------


class EndpointAddress(_Object, frozen=True, kw_only=True):
    ip: str
    hostname: str = ""
    node_name: str | None = None
    target_ref: ObjectReference | None = None


class EndpointSubset(_Object, frozen=True, kw_only=True):
    addresses: tuple[EndpointAddress, ...] = ()
    not_ready_addresses: tuple[EndpointAddress, ...] = ()
    ports: tuple[EndpointPort, ...] = ()


class Endpoints(_Object, frozen=True, kw_only=True):
    metadata: Metadata
    subsets: tuple[EndpointSubset, ...] = ()


# --- ServiceCIDR (networking.k8s.io/v1) ----------------------------------------------------------


class ServiceCIDRSpec(_Object, frozen=True, kw_only=True):
    cidrs: tuple[str, ...] = ()


class ServiceCIDR(_Object, frozen=True, kw_only=True):
    metadata: Metadata
    spec: ServiceCIDRSpec = ServiceCIDRSpec()


# --- Ingress (networking.k8s.io/v1) --------------------------------------------------------------


class ServiceBackendPort(_Object, frozen=True, kw_only=True):
    """A port, by either name or number."""

    name: str = ""
    number: int = 0


class IngressServiceBackend(_Object, frozen=True, kw_only=True):
    name: str = ""
    port: ServiceBackendPort = ServiceBackendPort()


class TypedLocalObjectReference(_Object, frozen=True, kw_only=True):
    kind: str = ""
    name: str = ""


class IngressBackend(_Object, frozen=True, kw_only=True):
    """The target of a path: either a Service or a resource."""

    service: IngressServiceBackend | None = None
    resource: TypedLocalObjectReference | None = None


class HTTPIngressPath(_Object, frozen=True, kw_only=True):
    path: str = ""
    path_type: Literal["Exact", "Prefix", "ImplementationSpecific"]
    backend: IngressBackend


class HTTPIngressRuleValue(_Object, frozen=True, kw_only=True):
    paths: tuple[HTTPIngressPath, ...] = ()


class IngressRule(_Object, frozen=True, kw_only=True):
    host: str = ""
    http: HTTPIngressRuleValue | None = None


class IngressTLS(_Object, frozen=True, kw_only=True):
    hosts: tuple[str, ...] = ()


class IngressSpec(_Object, frozen=True, kw_only=True):
    ingress_class_name: str | None = None
    default_backend: IngressBackend | None = None
    rules: tuple[IngressRule, ...] = ()
    tls: tuple[IngressTLS, ...] = ()


class Ingress(_Object, frozen=True, kw_only=True):
    metadata: Metadata
    spec: IngressSpec = IngressSpec()


# --- Node ----------------------------------------------------------------------------------------


class NodeAddress(_Object, frozen=True, kw_only=True):
    type: str
    address: str


class Taint(_Object, frozen=True, kw_only=True):
    key: str
    effect: str = ""


class NodeSpec(_Object, frozen=True, kw_only=True):
    pod_cidr: str = field(default="", name="podCIDR")
    pod_cidrs: tuple[str, ...] = field(default=(), name="podCIDRs")
    taints: tuple[Taint, ...] = ()


class NodeCondition(_Object, frozen=True, kw_only=True):
    type: str
    status: str


class ResourceList(_Object, frozen=True, kw_only=True):
    cpu: int | str = ""  # a quantity such as 4, "4" or "3920m"; "" if it is not known


class NodeStatus(_Object, frozen=True, kw_only=True):
    addresses: tuple[NodeAddress, ...] = ()
    conditions: tuple[NodeCondition, ...] = ()
    capacity: ResourceList = ResourceList()
    allocatable: ResourceList = ResourceList()


class Node(_Object, frozen=True, kw_only=True):
    metadata: Metadata
    spec: NodeSpec = NodeSpec()
    status: NodeStatus = NodeStatus()


# --- Pod -----------------------------------------------------------------------------------------


class ContainerPort(_Object, frozen=True, kw_only=True):
    name: str = ""
    container_port: int
    host_port: int = 0
    host_ip: str = field(default="", name="hostIP")
    protocol: Protocol = "TCP"


class HTTPGetAction(_Object, frozen=True, kw_only=True):
    path: str = "/"
    port: int | str
    host: str = ""
    scheme: Literal["HTTP", "HTTPS"] = "HTTP"
    http_headers: tuple[Unread, ...] = ()


class TCPSocketAction(_Object, frozen=True, kw_only=True):
    port: int | str
    host: str = ""


class Probe(_Object, frozen=True, kw_only=True):
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


class SleepAction(_Object, frozen=True, kw_only=True):
    seconds: int


class LifecycleHandler(_Object, frozen=True, kw_only=True):
    sleep: SleepAction | None = None  # a Pod that is to run has this one
    exec: Unread | None = None
    http_get: Unread | None = None
    tcp_socket: Unread | None = None


class Lifecycle(_Object, frozen=True, kw_only=True):
    pre_stop: LifecycleHandler | None = None
    post_start: Unread | None = None


class Container(_Object, frozen=True, kw_only=True):
    name: str
    image: str = ""
    ports: tuple[ContainerPort, ...] = ()
    readiness_probe: Probe | None = None
    liveness_probe: Probe | None = None
    startup_probe: Probe | None = None
    lifecycle: Lifecycle | None = None


class PodSpec(_Object, frozen=True, kw_only=True):
    node_name: str = ""
    node_selector: dict[str, str] = {}
    host_network: bool = False
    hostname: str = ""
    subdomain: str = ""
    termination_grace_period_seconds: int = 30
    restart_policy: Literal["Always", "OnFailure", "Never"] = "Always"
    dns_policy: Literal["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"] | None = None
    dns_config: Unread | None = None
    host_aliases: tuple[Unread, ...] = ()
    affinity: Unread | None = None
    tolerations: tuple[Unread, ...] = ()
    topology_spread_constraints: tuple[Unread, ...] = ()
    readiness_gates: tuple[Unread, ...] = ()
    init_containers: tuple[Unread, ...] = ()
    containers: tuple[Container, ...] = ()


class PodIP(_Object, frozen=True, kw_only=True):
    ip: str


class PodCondition(_Object, frozen=True, kw_only=True):
    type: str
    status: str


class PodStatus(_Object, frozen=True, kw_only=True):
    phase: str = ""
    pod_ip: str = field(default="", name="podIP")
    pod_ips: tuple[PodIP, ...] = field(default=(), name="podIPs")
    conditions: tuple[PodCondition, ...] = ()


class Pod(_Object, frozen=True, kw_only=True):
    metadata: Metadata
    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()


# --- Deployment (apps/v1) ------------------------------------------------------------------------


class LabelSelector(_Object, frozen=True, kw_only=True, omit_defaults=True):
    match_labels: dict[str, str] = {}
    match_expressions: tuple[Unread, ...] = ()


class PodTemplateSpec(_Object, frozen=True, kw_only=True):
    metadata: Metadata = Metadata()
    spec: PodSpec = PodSpec()


class RollingUpdateDeployment(_Object, frozen=True, kw_only=True):
    """Limits of a rollout: numbers of Pods, or percentages of `replicas` such as "25%"."""

    max_surge: int | str = "25%"
    max_unavailable: int | str = "25%"


NO_ROLLING_UPDATE = RollingUpdateDeployment()  # identifies an absent field by `is`


class DeploymentStrategy(_Object, frozen=True, kw_only=True):
    type: Literal["RollingUpdate", "Recreate"] = "RollingUpdate"
    rolling_update: RollingUpdateDeployment = NO_ROLLING_UPDATE


class DeploymentSpec(_Object, frozen=True, kw_only=True):
    """With `replicas` None the number stays as it is; a new Deployment gets one."""

    replicas: int | None = None
    selector: LabelSelector = LabelSelector()
    template: PodTemplateSpec = PodTemplateSpec()
    strategy: DeploymentStrategy = DeploymentStrategy()
    min_ready_seconds: int = 0
    revision_history_limit: int = 10
    progress_deadline_seconds: int = 600
    paused: bool = False


class DeploymentStatus(_Object, frozen=True, kw_only=True):
    replicas: int = 0
    updated_replicas: int = 0
    ready_replicas: int = 0


class Deployment(_Object, frozen=True, kw_only=True):
    metadata: Metadata
    spec: DeploymentSpec = DeploymentSpec()
    status: DeploymentStatus = DeploymentStatus()


KubernetesObject = (
    Service | EndpointSlice | Endpoints | ServiceCIDR | Ingress | Node | Pod | Deployment
)
