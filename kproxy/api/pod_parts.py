"""Parts of Pods that labs do not run; only the API server's warnings come from them.

They are read as far as those need it: see `kproxy.controlplane.pod_warnings`.
"""

from __future__ import annotations

from msgspec import field

from kproxy.api.base_types import Base, Unread

Quantity = int | float | str


class EnvVar(Base, frozen=True, kw_only=True):
    name: str = ""
    value: str = ""
    value_from: Unread | None = None


class ResourceRequirements(Base, frozen=True, kw_only=True):
    limits: dict[str, Quantity] = field(default_factory=dict)
    requests: dict[str, Quantity] = field(default_factory=dict)


class SecurityContext(Base, frozen=True, kw_only=True):
    """The settings of a Pod, or of a container."""

    seccomp_profile: Unread | None = None
    app_armor_profile: Unread | None = None


class LocalObjectReference(Base, frozen=True, kw_only=True):
    name: str = ""


class HostAlias(Base, frozen=True, kw_only=True):
    ip: str = ""


class PodDNSConfig(Base, frozen=True, kw_only=True):
    nameservers: tuple[str, ...] = ()


# --- volumes -------------------------------------------------------------------------------------


class AtPath(Base, frozen=True, kw_only=True):
    """A source that becomes one file of a volume."""

    path: str = ""


class Items(Base, frozen=True, kw_only=True):
    items: tuple[AtPath, ...] = ()


class VolumeProjection(Base, frozen=True, kw_only=True):
    service_account_token: AtPath | None = None
    config_map: Items | None = None
    secret: Items | None = None
    downward_api: Items | None = field(default=None, name="downwardAPI")
    cluster_trust_bundle: AtPath | None = None


class ProjectedVolumeSource(Base, frozen=True, kw_only=True):
    sources: tuple[VolumeProjection, ...] = ()


class Volume(Base, frozen=True, kw_only=True):
    photon_persistent_disk: Unread | None = None
    git_repo: Unread | None = None
    scale_io: Unread | None = field(default=None, name="scaleIO")
    flocker: Unread | None = None
    storageos: Unread | None = None
    quobyte: Unread | None = None
    glusterfs: Unread | None = None
    cephfs: Unread | None = None
    rbd: Unread | None = None
    projected: ProjectedVolumeSource | None = None


# --- placement -----------------------------------------------------------------------------------


class NodeSelectorRequirement(Base, frozen=True, kw_only=True):
    key: str = ""
    values: tuple[str, ...] = ()


class NodeSelectorTerm(Base, frozen=True, kw_only=True):
    match_expressions: tuple[NodeSelectorRequirement, ...] = ()


class NodeSelector(Base, frozen=True, kw_only=True):
    node_selector_terms: tuple[NodeSelectorTerm, ...] = ()


class PreferredSchedulingTerm(Base, frozen=True, kw_only=True):
    preference: NodeSelectorTerm = NodeSelectorTerm()


class NodeAffinity(Base, frozen=True, kw_only=True):
    required: NodeSelector | None = field(
        default=None, name="requiredDuringSchedulingIgnoredDuringExecution"
    )
    preferred: tuple[PreferredSchedulingTerm, ...] = field(
        default=(), name="preferredDuringSchedulingIgnoredDuringExecution"
    )


class PodAffinityTerm(Base, frozen=True, kw_only=True):
    label_selector: Unread | None = None


class WeightedPodAffinityTerm(Base, frozen=True, kw_only=True):
    pod_affinity_term: PodAffinityTerm = PodAffinityTerm()


class PodAffinity(Base, frozen=True, kw_only=True):
    """The terms of either affinity or anti-affinity."""

    required: tuple[PodAffinityTerm, ...] = field(
        default=(), name="requiredDuringSchedulingIgnoredDuringExecution"
    )
    preferred: tuple[WeightedPodAffinityTerm, ...] = field(
        default=(), name="preferredDuringSchedulingIgnoredDuringExecution"
    )


class Affinity(Base, frozen=True, kw_only=True):
    node_affinity: NodeAffinity | None = None
    pod_affinity: PodAffinity | None = None
    pod_anti_affinity: PodAffinity | None = None


class Toleration(Base, frozen=True, kw_only=True):
    key: str = ""
    operator: str = ""  # Exists, or Equal, the default
    value: str = ""
    effect: str = ""  # any, if it is not stated
    toleration_seconds: int | None = None


class TopologySpreadConstraint(Base, frozen=True, kw_only=True):
    topology_key: str = ""
    label_selector: Unread | None = None
