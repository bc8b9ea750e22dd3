"""The specs of workloads as far as their controllers read them in documents."""

from __future__ import annotations

from msgspec import field

from kproxy.api.base_types import Base
from kproxy.api.types import PodTemplateSpec


class Requirement(Base, frozen=True, kw_only=True):
    key: str
    operator: str
    values: tuple[str, ...] = ()


class Selector(Base, frozen=True, kw_only=True):
    match_labels: dict[str, str] = field(default_factory=dict)
    match_expressions: tuple[Requirement, ...] = ()


class RollingUpdate(Base, frozen=True, kw_only=True):
    partition: int = 0
    max_unavailable: int | str = 1
    max_surge: int | str = 0


class UpdateStrategy(Base, frozen=True, kw_only=True):
    type: str = ""
    rolling_update: RollingUpdate = RollingUpdate()


class Ordinals(Base, frozen=True, kw_only=True):
    start: int = 0


class WorkloadSpec(Base, frozen=True, kw_only=True):
    """The spec of a ReplicaSet, StatefulSet or DaemonSet; of a Deployment, what it has of it."""

    replicas: int = 1
    selector: Selector = Selector()
    template: PodTemplateSpec = PodTemplateSpec()
    update_strategy: UpdateStrategy = UpdateStrategy()
    ordinals: Ordinals = Ordinals()
    service_name: str = ""
    min_ready_seconds: int = 0
    pod_management_policy: str = ""
    revision_history_limit: int = 10
