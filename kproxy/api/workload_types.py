"""Pods and Deployments, which only labs run, as far as kproxy reads them; import them from
`kproxy.api.types`.
"""

from __future__ import annotations

from typing import Literal

from msgspec import field

from kproxy.api.base_types import Base, Metadata, Protocol, Unread
from kproxy.api.pod_parts import (
    Affinity,
    EnvVar,
    HostAlias,
    LocalObjectReference,
    PodDNSConfig,
    Quantity,
    ResourceRequirements,
    SecurityContext,
    Toleration,
    TopologySpreadConstraint,
    Volume,
)

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
    http_headers: tuple[Unread, ...] = ()


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
    sleep: SleepAction | None = None  # a Pod that is to run has this one
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
    restart_policy: str | None = None  # of init containers: "Always" makes it a sidecar
    env: tuple[EnvVar, ...] = ()
    resources: ResourceRequirements = ResourceRequirements()
    security_context: SecurityContext = SecurityContext()


class PodSpec(Base, frozen=True, kw_only=True):
    node_name: str = ""
    node_selector: dict[str, str] = field(default_factory=dict)
    host_network: bool = False
    hostname: str = ""
    subdomain: str = ""
    termination_grace_period_seconds: int = 30
    restart_policy: Literal["Always", "OnFailure", "Never"] = "Always"
    dns_policy: Literal["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"] | None = None
    dns_config: PodDNSConfig | None = None
    host_aliases: tuple[HostAlias, ...] = ()
    affinity: Affinity | None = None
    tolerations: tuple[Toleration, ...] = ()
    topology_spread_constraints: tuple[TopologySpreadConstraint, ...] = ()
    readiness_gates: tuple[Unread, ...] = ()
    init_containers: tuple[Container, ...] = ()
    scheduler_name: str = ""
    scheduling_gates: tuple[Unread, ...] = ()
    containers: tuple[Container, ...] = ()
    volumes: tuple[Volume, ...] = ()
    image_pull_secrets: tuple[LocalObjectReference, ...] = ()
    overhead: dict[str, Quantity] = field(default_factory=dict)
    security_context: SecurityContext = SecurityContext()


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
    metadata: Metadata = Metadata()
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
    metadata: Metadata = Metadata()
    spec: DeploymentSpec = DeploymentSpec()
    status: DeploymentStatus = DeploymentStatus()
