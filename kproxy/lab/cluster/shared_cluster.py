"""A cluster that several threads use: each call is made under one lock.

So who waits for proxies or pods holds up nobody who only reads or writes objects.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, TypeVar

from kproxy.api.types import KubernetesObject, Pod, PodStatus, Service
from kproxy.controlplane.cluster import Cluster
from kproxy.controlplane.cluster_warnings import Texts
from kproxy.controlplane.events import Told
from kproxy.controlplane.plane import Json
from kproxy.store import ObjectKey, Update

_T = TypeVar("_T", bound=KubernetesObject)
_AT_ONCE = 10  # Services under one lock: less than a millisecond


class SharedCluster(Cluster):
    """A `Cluster` for any thread. `lock` is for who makes several calls in one."""

    def __init__(self, service_cidrs: Sequence[str], **options: Any) -> None:
        self.lock = threading.RLock()
        super().__init__(service_cidrs, **{"now": now, **options})

    def apply(self, objects: Iterable[KubernetesObject]) -> Mapping[ObjectKey, Texts]:
        with self.lock:
            return super().apply(objects)

    def refusals(self, objects: Iterable[KubernetesObject]) -> list[str]:
        with self.lock:
            return super().refusals(objects)

    def delete(self, keys: Iterable[ObjectKey], now: str) -> None:
        with self.lock:
            super().delete(keys, now)

    def replace(
        self, objects: Iterable[KubernetesObject], others: Sequence[ObjectKey], now: str
    ) -> Mapping[ObjectKey, Texts]:
        with self.lock:
            return super().replace(objects, others, now)

    def scale(self, namespace: str, name: str, replicas: int) -> None:
        with self.lock:
            super().scale(namespace, name, replicas)

    def publish_api(
        self, addresses: Sequence[str], port: int, root_ca: Mapping[str, str]
    ) -> list[KubernetesObject]:
        with self.lock:
            return super().publish_api(addresses, port, root_ca)

    def describe_node(self, name: str, facts: Callable[[Json, str], Json]) -> None:
        with self.lock:
            super().describe_node(name, facts)

    def set_pod_status(self, key: ObjectKey, status: PodStatus) -> None:
        with self.lock:
            super().set_pod_status(key, status)

    def pod_stopped(self, key: ObjectKey) -> None:
        with self.lock:
            super().pod_stopped(key)

    def tell(self, told: Told) -> None:
        with self.lock:
            super().tell(told)

    def reconcile(self, now: str, rest: Callable[[], None] = lambda: None) -> bool:
        """Run all controllers; the lock is free now and then meanwhile, while `rest` is called."""
        before = self.documents.revision
        while self.reconcile_some(now, _AT_ONCE):
            rest()
        return self.documents.revision != before

    def reconcile_some(self, now: str, services: int = 1000) -> bool:
        with self.lock:
            return super().reconcile_some(now, services)

    def take_changes(self) -> Update:
        with self.lock:
            return super().take_changes()

    def object(self, key: ObjectKey) -> KubernetesObject | None:
        with self.lock:
            return super().object(key)

    def objects(self, kind: type[_T]) -> list[_T]:
        with self.lock:
            return super().objects(kind)

    def exists(self, key: ObjectKey) -> bool:
        with self.lock:
            return super().exists(key)

    def pods_to_run(self) -> list[Pod]:
        with self.lock:
            return super().pods_to_run()

    def services_of(self, pod: Pod) -> list[Service]:
        with self.lock:
            return super().services_of(pod)

    @property
    def warnings(self) -> Mapping[ObjectKey, Texts]:
        with self.lock:
            return super().warnings


def now() -> str:
    """Return the time as objects bear it: RFC 3339 in UTC, whole seconds."""
    return _text(int(time.time()))


@lru_cache(maxsize=1)  # a write asks for it several times
def _text(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
