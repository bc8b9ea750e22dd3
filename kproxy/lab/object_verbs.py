"""The verbs for the objects of a lab: one interface, with a control plane or without.

ObjectVerbs   the interface
NoObjects     a lab that is not up, or that has neither proxies nor a control plane
PlainObjects  without a control plane: objects are taken as they are
ControlPlane  `kproxy.lab.cluster.control_plane`
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, NoReturn, Protocol, TypeVar

from kproxy.api.types import Deployment, KubernetesObject
from kproxy.errors import BadInput
from kproxy.lab.following import Followers
from kproxy.lab.hosts import LabPod
from kproxy.lab.proxies import NO_PROXIES, SyncReports
from kproxy.store import ObjectKey, Store, Update

if TYPE_CHECKING:
    from kproxy.controlplane.cluster import Cloud
    from kproxy.lab.cluster.pod_handle import PodHandle

_T = TypeVar("_T", bound=KubernetesObject)


class ObjectVerbs(Protocol):
    """The verbs, as `Lab` describes them. Each raises BadInput if a lab cannot do it.

    `admits` tells whether objects are judged as submitted ones; else they are taken as stored.
    """

    admits: bool

    def apply(self, objects: Iterable[KubernetesObject], /) -> SyncReports: ...

    def refusals(self, objects: Iterable[KubernetesObject], /) -> list[str]:
        """Return why `apply` would refuse some of these objects."""

    def delete(self, keys: Iterable[ObjectKey], /) -> SyncReports: ...

    def replace(self, objects: Iterable[KubernetesObject], /) -> SyncReports: ...

    def scale(self, namespace: str, name: str, replicas: int, /) -> SyncReports: ...

    def pod(self, namespace: str, name: str, /) -> PodHandle: ...

    def get(self, key: ObjectKey, /) -> KubernetesObject: ...

    def objects(self, kind: type[_T], /) -> list[_T]: ...

    def wait_for(self, comes_true: Callable[[], bool], timeout_s: float, /) -> bool: ...

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

    scale = pod = get = objects = wait_for = _refuse

    def refusals(self, _: Iterable[KubernetesObject]) -> list[str]:
        return []


class NoObjects(_WithoutControlPlane):
    """The verbs of a lab where nothing follows objects: all are refused."""

    def _refuse_objects(self, *_: object) -> NoReturn:
        raise BadInput([NO_PROXIES])

    apply = delete = replace = _refuse_objects


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

    def apply(self, objects: Iterable[KubernetesObject]) -> SyncReports:
        wanted = tuple(objects)
        if workloads := [each for each in wanted if isinstance(each, Deployment)]:
            raise BadInput(
                [f"Deployment {each.metadata.name}: this lab cannot run it" for each in workloads],
                remedy="a lab with a control plane: LabSpec(control_plane=True, ...)",
            )
        return self._write(Update(upserts=_as_read(wanted)))

    def delete(self, keys: Iterable[ObjectKey]) -> SyncReports:
        return self._write(Update(deletes=tuple(keys)))

    def replace(self, objects: Iterable[KubernetesObject]) -> SyncReports:
        return self._write(self._store.replacement([*self._own, *_as_read(objects)]))

    def _write(self, update: Update) -> SyncReports:
        admitted = self._cloud.admit(update)
        self._store.apply(admitted)
        return self._followers.follow(admitted)


def _as_read(objects: Iterable[KubernetesObject]) -> tuple[KubernetesObject, ...]:
    from kproxy.api.manifests import as_read  # a lab whose objects have not come needs none of it

    return tuple(map(as_read, objects))
