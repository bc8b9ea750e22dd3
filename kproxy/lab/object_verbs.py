"""The verbs for the objects of a lab: one interface, with a control plane or without.

ObjectVerbs   the interface
NoObjects     a lab that is not up, or that has neither proxies nor a control plane
PlainObjects  without a control plane: objects are taken as they are
ControlPlane  `kproxy.lab.cluster.control_plane`
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import count
from typing import TYPE_CHECKING, NoReturn, Protocol, TypeVar

from kproxy.api.types import Deployment, KubernetesObject
from kproxy.errors import BadInput
from kproxy.lab.following import Followers
from kproxy.lab.hosts import LabPod
from kproxy.lab.proxies import NO_PROXIES, SyncReports
from kproxy.store import ObjectKey, Store, Update, object_key

if TYPE_CHECKING:
    from kproxy.controlplane.cluster import Cloud
    from kproxy.controlplane.plane import Json, Plane, Write
    from kproxy.lab.cluster.pod_handle import PodHandle
    from kproxy.lab.pods.access import LabPods, ServiceAccount
    from kproxy.lab.pods.environment import Documents

_T = TypeVar("_T", bound=KubernetesObject)


class ObjectVerbs(Protocol):
    """The verbs, as `Lab` describes them. Each raises BadInput if a lab cannot do it.

    `admits` tells whether objects are judged as submitted ones; else they are taken as stored.
    """

    admits: bool

    def apply(
        self, objects: Iterable[KubernetesObject], documents: Sequence[Json] = (), /
    ) -> SyncReports:
        """Add or change objects; `documents` are those of kinds that have no type."""

    def refusals(
        self, objects: Iterable[KubernetesObject], documents: Sequence[Json] = (), /
    ) -> list[str]:
        """Return why `apply` would refuse some of these objects."""

    def delete(self, keys: Iterable[ObjectKey], /) -> SyncReports: ...

    def replace(
        self, objects: Iterable[KubernetesObject], documents: Sequence[Json] = (), /
    ) -> SyncReports: ...

    def scale(self, namespace: str, name: str, replicas: int, /) -> SyncReports: ...

    def pod(self, namespace: str, name: str, /) -> PodHandle: ...

    def pod_access(
        self,
        documents: Documents,
        api_server: tuple[str, int] | None,
        service_account: ServiceAccount,
        /,
    ) -> LabPods: ...

    def get(self, key: ObjectKey, /) -> KubernetesObject: ...

    def objects(self, kind: type[_T], /) -> list[_T]: ...

    def wait_for(self, comes_true: Callable[[], bool], timeout_s: float, /) -> bool: ...

    def settle(self) -> None: ...

    def publish_api(
        self, addresses: Sequence[str], port: int, root_ca: Mapping[str, str], /
    ) -> SyncReports: ...

    def follow(self, listener: Callable[[Write], None], /) -> list[Json]: ...

    @property
    def plane(self) -> Plane: ...

    @property
    def pods(self) -> Mapping[str, LabPod]:
        """The pods that run because of objects, by host name."""

    @property
    def warnings(self) -> Mapping[ObjectKey, tuple[str, ...]]: ...


class _WithoutControlPlane:
    """The verbs that need a control plane, without one: they are refused."""

    admits = False
    pods: Mapping[str, LabPod] = {}
    warnings: Mapping[ObjectKey, tuple[str, ...]] = {}

    def _refuse(self, *_: object) -> NoReturn:
        raise BadInput(
            ["this lab has no control plane, or is not up"],
            remedy="LabSpec(control_plane=True, ...)",
        )

    scale = pod = pod_access = get = objects = wait_for = publish_api = _refuse

    @property
    def plane(self) -> Plane:
        self._refuse()

    def settle(self) -> None:
        """Return at once: nothing is written but by the verbs."""

    def refusals(self, _: Iterable[KubernetesObject], _documents: Sequence[Json] = ()) -> list[str]:
        return []


class NoObjects(_WithoutControlPlane):
    """The verbs of a lab where nothing follows objects: all are refused."""

    def _refuse_objects(self, *_: object) -> NoReturn:
        raise BadInput([NO_PROXIES])

    apply = delete = replace = follow = _refuse_objects


class PlainObjects(_WithoutControlPlane):
    """The verbs without a control plane: objects are taken as kube-proxy reads them, but for the
    load balancers' addresses, which are added if there is a cloud.
    """

    def __init__(self, cloud: Cloud, followers: Followers) -> None:
        self._cloud = cloud
        self._followers = followers
        self._store = Store()
        self._own: tuple[KubernetesObject, ...] = ()

    def start(self, own: Iterable[KubernetesObject]) -> None:
        """Apply the lab's own objects, which every `replace` keeps. Raises what syncing raises."""
        self._own = tuple(own)
        self._write(Update(upserts=self._own))

    def apply(
        self, objects: Iterable[KubernetesObject], documents: Sequence[Json] = ()
    ) -> SyncReports:
        wanted = tuple(objects)
        if documents:
            self._refuse()
        if workloads := [each for each in wanted if isinstance(each, Deployment)]:
            raise BadInput(
                [f"Deployment {each.metadata.name}: this lab cannot run it" for each in workloads],
                remedy="a lab with a control plane: LabSpec(control_plane=True, ...)",
            )
        return self._write(Update(upserts=_as_read(wanted)))

    def delete(self, keys: Iterable[ObjectKey]) -> SyncReports:
        return self._write(Update(deletes=tuple(keys)))

    def replace(
        self, objects: Iterable[KubernetesObject], documents: Sequence[Json] = ()
    ) -> SyncReports:
        if documents:
            self._refuse()
        return self._write(self._store.replacement([*self._own, *_as_read(objects)]))

    def follow(self, listener: Callable[[Write], None]) -> list[Json]:
        # Only what follows asks for documents, which belong to control planes.
        from kproxy.controlplane.api_kinds import KINDS
        from kproxy.controlplane.documents import overlaid
        from kproxy.controlplane.plane import Write

        known: dict[ObjectKey, Json] = {}
        revisions, there = count(1), False

        def tell(obj: KubernetesObject, deleted: bool) -> None:
            key = object_key(obj)
            former = known.pop(key, None)
            if not deleted:
                base = {"apiVersion": KINDS[key[0]].api_version, "kind": key[0]}
                known[key] = overlaid(obj, base)
            if there:
                listener(Write(key, known.get(key), former, next(revisions)))

        self._store.watch(tell)
        there = True
        return [*known.values()]

    def _write(self, update: Update) -> SyncReports:
        admitted = self._cloud.admit(update)
        self._store.apply(admitted)
        return self._followers.follow(admitted)


def _as_read(objects: Iterable[KubernetesObject]) -> tuple[KubernetesObject, ...]:
    from kproxy.api.typed_kinds import as_read  # a lab whose objects have not come needs none of it

    return tuple(map(as_read, objects))
