"""A running lab: build it, apply objects, look at its hosts and state, remove it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from kproxy.api.types import EndpointSlice, KubernetesObject, Service
from kproxy.errors import BadInput
from kproxy.lab import left_out
from kproxy.lab.built import BuiltLab
from kproxy.lab.left_out import AllLeftOut
from kproxy.lab.objects import selected, slices_for
from kproxy.store import ObjectKey, object_key

if TYPE_CHECKING:
    from kproxy.api.manifests import Skipped
    from kproxy.controlplane.plane import Json, Plane, Write
    from kproxy.lab.cluster.pod_handle import PodHandle
    from kproxy.lab.pods.access import LabPods, ServiceAccount
    from kproxy.lab.pods.environment import Documents
    from kproxy.lab.proxies import SyncReports

Objects = Iterable[KubernetesObject]
log = logging.getLogger("kproxy")
of_objects = logging.getLogger("kproxy.warnings")  # of what `Lab.warnings` holds, too
_T = TypeVar("_T", bound=KubernetesObject)


class Lab(BuiltLab):
    """A cluster of network namespaces with a proxy on each node. A context manager.

    It exists only inside the `with` block; leaving the block, or an error on the way in, removes
    all of it. Several labs, even with the same addresses, do not affect each other.
    The lab's own Node and Pod objects are in the proxies' stores from the start.

    `hosts` holds all hosts by name (router included); `nodes`, `pods`, `clients` and `balancers`
    are its parts. A control plane (`LabSpec.control_plane`) runs the pods, also those of the spec,
    and so pods are added and removed while the lab runs.

    The methods here are the verbs for objects; the others are those of `BuiltLab`. A verb that
    needs a control plane raises BadInput without one; all verbs do if there are no proxies either,
    or if the lab is not up.
    """

    def apply(self, objects: Objects | str | Path) -> SyncReports:
        """Add or change objects (given, or in a manifest file or folder) and sync all nodes.

        Returns the reports by node name when all nodes and load balancers have their rules. With a
        control plane, all Pods that can run do so by then, and are ready unless they have a probe
        that does not succeed at once; without one, objects are taken as they are.
        Raises BadInput; nothing has changed then. Raises what `NodeProxy.sync` raises, after a sync
        of all nodes was tried.
        """
        given = self._given(objects, judge=self._parts.objects.refusals)
        reports = self._parts.objects.apply(given.objects, given.documents)
        self._note_left_out(given)
        return reports

    def delete(self, objects: Iterable[ObjectKey] | Objects | str | Path) -> SyncReports:
        """Remove objects, by (kind, namespace, name) or as `apply` takes them, and sync all nodes.

        A Pod that terminates gracefully may still run after that. Raises BadInput if a control
        plane has no such object; nothing has changed then.
        """
        skipped: tuple[Skipped, ...] = ()
        if isinstance(objects, str | Path):
            given = self._given(objects)
            keys, skipped = given.keys(), given.skipped
        else:
            keys = [each if isinstance(each, tuple) else object_key(each) for each in objects]
        reports = self._parts.objects.delete(keys)
        for key in (*keys, *(each.key for each in skipped)):
            self._left_out.pop(key, None)
        return reports

    def replace(self, objects: Objects | str | Path) -> SyncReports:
        """Make `objects` all there is besides the lab's own nodes and pods, and sync all nodes.

        A Namespace goes when nothing of them is in it.
        """
        given = self._given(objects, judge=self._parts.objects.refusals)
        reports = self._parts.objects.replace(given.objects, given.documents)
        self._left_out.clear()
        self._note_left_out(given)
        return reports

    def scale(self, name: str, replicas: int, *, namespace: str = "default") -> SyncReports:
        """Set a Deployment's replica count. Returns when its Pods are as described in `apply`.

        Raises BadInput if there is no such Deployment, or no control plane.
        """
        return self._parts.objects.scale(namespace, name, replicas)

    def settle(self) -> SyncReports:
        """Return when all that was written so far, also through an API, is in effect on all nodes.

        The other verbs do this by themselves. Raises what syncing raises.
        """
        return self._parts.objects.apply(())

    def pod(self, name: str, *, namespace: str = "default") -> PodHandle:
        """Return a handle of a control plane's pod. Raises BadInput if no such pod runs."""
        return self._parts.objects.pod(namespace, name)

    def pod_access(
        self,
        documents: Documents,
        *,
        api_server: tuple[str, int] | None = None,
        service_account: ServiceAccount = lambda _: {},
    ) -> LabPods:
        """Return what an API needs to run commands in pods, read their logs and connect to them.

        `documents`: the stored object of a key, or None. `api_server`: address and port by which
        pods reach the API. `service_account`: file name -> text of a Pod's service account, for
        /var/run/secrets/kubernetes.io/serviceaccount. Raises BadInput without a control plane.
        """
        return self._parts.objects.pod_access(documents, api_server, service_account)

    def get(self, kind: str, name: str, *, namespace: str = "default") -> KubernetesObject:
        """Return an object as the control plane has stored it: with what was allocated, and status.

        `namespace` of a Node is "". Raises BadInput if there is no such object, or no control
        plane.
        """
        return self._parts.objects.get((kind, namespace, name))

    def objects(self, kind: type[_T]) -> list[_T]:
        """Return all objects of a kind that the control plane has, by namespace and name."""
        return self._parts.objects.objects(kind)

    def follow(self, listener: Callable[[Write], None]) -> list[Json]:
        """Return the documents of all objects, and tell `listener` of every later write, in order.

        A document is the JSON of an object. The listener is called within the write: it must
        neither raise nor call the lab. Without a control plane there is only one; the last asked.
        """
        return self._parts.objects.follow(listener)

    @property
    def plane(self) -> Plane:
        """The control plane as an API server needs it: documents, each write told, any thread.

        A write is answered once it is stored; pods and proxies follow. Raises BadInput without a
        control plane.
        """
        return self._parts.objects.plane

    def publish_api(
        self, addresses: Sequence[str], port: int, root_ca: Mapping[str, str]
    ) -> SyncReports:
        """Let pods find an API server: the Service `kubernetes` leads to `addresses` and `port`.

        `root_ca` is the data of the ConfigMap `kube-root-ca.crt` of every namespace.
        Raises BadInput without a control plane.
        """
        return self._parts.objects.publish_api(addresses, port, root_ca)

    @property
    def warnings(self) -> Mapping[ObjectKey, tuple[str, ...]]:
        """Warnings by object; each disappears with its cause. They are those of the control plane,
        and what is `left_out`.
        """
        found = dict(self._parts.objects.warnings)
        for key, left in self.left_out.items():
            found[key] = (*found.get(key, ()), *map(str, left))
        return found

    @property
    def left_out(self) -> AllLeftOut:
        """Return what manifests ask for and a lab does not do: whole objects (a NetworkPolicy), and
        fields of those that it has (a hostPort).
        """
        return {key: left for key, left in self._left_out.items() if left}

    def wait_for(self, comes_true: Callable[[], bool], *, timeout_s: float = 30) -> bool:
        """Wait until `comes_true` returns true, called whenever an object has changed.

        Returns True. Raises TimedOut after the timeout, with what there was instead; an error of
        the control plane's thread that happened meanwhile; BadInput without a control plane.
        """
        return self._parts.objects.wait_for(comes_true, timeout_s)

    def catch_up(self) -> None:
        """Do the same as `settle`, as far as kernels allow it; a failure is for the next verb."""
        self._parts.objects.settle()

    def slices(self, service: Service) -> tuple[EndpointSlice, ...]:
        """Return the EndpointSlices of a Service: all pods that its selector matches, ready."""
        return slices_for(service, selected(service, self.pods.values()))

    def _complete(self, undo: ExitStack) -> None:
        if self._others:
            self._parts.proxies.on_synced = self._others.start(self, undo)
        if self._source:
            verbs, follow = self._source.start(self, self._parts.objects, undo)
            self._parts.proxies.on_synced = follow
            self._parts = replace(self._parts, objects=verbs)

    def _note_left_out(self, given: _Given) -> None:
        """Keep what is left out of objects that were applied, and log what is new."""
        ingress = any(pod.runs for pod in self.spec.pods)
        found = left_out.of_kinds(given.skipped)
        for obj in given.objects:
            found[object_key(obj)] = left_out.of_object(obj, ingress=ingress)
        new = {key: left for key, left in found.items() if self._left_out.get(key) != left}
        self._left_out |= found
        for line in left_out.lines(new):
            of_objects.warning(line)

    def _given(
        self,
        given: Objects | str | Path,
        judge: Callable[[Objects, Sequence[Json]], list[str]] = lambda *_: [],
    ) -> _Given:
        """Return objects, or those of a file.

        Raises BadInput with all that is wrong, also with what `judge` says of the other objects.
        """
        if not isinstance(given, str | Path):
            return _Given(tuple(given))
        from kproxy.api.manifests import load  # a lab that is given objects needs none of it

        decoded = load([Path(given)], stored=not self._parts.objects.admits)
        found = _Given(decoded.objects, decoded.skipped)
        if decoded.problems:
            raise BadInput([*decoded.problems, *judge(found.objects, found.documents)])
        of_kinds = {each.notice for each in decoded.skipped}  # the lab says it in its own words
        for notice in decoded.notices:
            if notice not in of_kinds:
                log.warning(notice)
        return found


class _Given(NamedTuple):
    """The objects that a caller gave to a verb. `skipped` are those of kinds without a type."""

    objects: tuple[KubernetesObject, ...]
    skipped: tuple[Skipped, ...] = ()

    @property
    def documents(self) -> tuple[Json, ...]:
        """Return those without a type that a control plane takes."""
        return tuple(each.document for each in self.skipped if each.document)

    def keys(self) -> list[ObjectKey]:
        from kproxy.controlplane.registry import document_key  # as late as the control plane

        return [*map(object_key, self.objects), *map(document_key, self.documents)]
