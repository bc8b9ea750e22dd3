"""A running lab: build it, feed it objects, ask it what is where, take it down."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TypeVar

from kproxy.api.decode import load
from kproxy.api.types import EndpointSlice, KubernetesObject, Service
from kproxy.errors import BadInput
from kproxy.lab.built import BuiltLab
from kproxy.lab.cluster.pod_handle import PodHandle
from kproxy.lab.objects import selected, slices_for
from kproxy.lab.proxies import SyncReports
from kproxy.store import ObjectKey, object_key

Objects = Iterable[KubernetesObject]
log = logging.getLogger("kproxy")
_T = TypeVar("_T", bound=KubernetesObject)


class Lab(BuiltLab):
    """A cluster of network namespaces with a proxy on each node. A context manager.

    It exists inside the `with` block only; leaving the block, or an error on the way in, removes
    all of it. Several labs, also with the same addresses, do not notice each other.
    The lab's own Node and Pod objects are in the proxies' stores from the start.

    `hosts` holds everything by name (router included); `nodes`, `pods`, `clients` and `balancers`
    are its parts. Where there is a control plane (`LabSpec.control_plane`), it runs the pods, those
    of the spec, too, and they come and go.

    Beside those of `BuiltLab` these are the verbs for objects; `LabSpec.control_plane` decides what
    becomes of these. What only a control plane can do raises BadInput without one, and everything
    does if there are no proxies either, or if the lab is not up.
    """

    def apply(self, objects: Objects | str | Path) -> SyncReports:
        """Add or alter objects (given, or in a manifest file or folder) and sync all nodes.

        Returns when every node has its rules, with its reports by node name, and load balancers
        have theirs. With a control plane also when all Pods run that can, and are ready if they
        have no probe or it succeeds at once; without one, objects are taken as they are.
        Raises BadInput; nothing is changed then. Raises what `NodeProxy.sync` raises; all nodes
        have had their turn then.
        """
        return self._parts.objects.apply(_objects(objects))

    def delete(self, objects: Iterable[ObjectKey] | Objects | str | Path) -> SyncReports:
        """Remove objects, by (kind, namespace, name) or as `apply` takes them, and sync all nodes.

        A Pod that terminates gracefully goes on after that for as long as it wants to. Raises
        BadInput if a control plane has no such object; nothing is changed then.
        """
        given = _objects(objects) if isinstance(objects, str | Path) else objects
        keys = [each if isinstance(each, tuple) else object_key(each) for each in given]
        return self._parts.objects.delete(keys)

    def replace(self, objects: Objects | str | Path) -> SyncReports:
        """Make `objects` all there is besides the lab's own nodes and pods, and sync all nodes."""
        return self._parts.objects.replace(_objects(objects))

    def scale(self, name: str, replicas: int, *, namespace: str = "default") -> SyncReports:
        """Let a Deployment have so many Pods. Returns when they are as with `apply`.

        Raises BadInput if there is no such Deployment, or no control plane.
        """
        return self._parts.objects.scale(namespace, name, replicas)

    def pod(self, name: str, *, namespace: str = "default") -> PodHandle:
        """A pod of the control plane, to be tampered with. Raises BadInput if none runs so."""
        return self._parts.objects.pod(namespace, name)

    def get(self, kind: str, name: str, *, namespace: str = "default") -> KubernetesObject:
        """An object as the control plane has stored it: with what was allocated, and its status.

        `namespace` of a Node is "". Raises BadInput if there is none, or no control plane.
        """
        return self._parts.objects.get((kind, namespace, name))

    def objects(self, kind: type[_T]) -> list[_T]:
        """All objects of a kind that the control plane has, by namespace and name."""
        return self._parts.objects.objects(kind)

    @property
    def warnings(self) -> Mapping[ObjectKey, tuple[str, ...]]:
        """What may surprise about objects of the control plane; it goes away with its cause."""
        return self._parts.objects.warnings

    def wait_for(self, comes_true: Callable[[], bool], *, timeout_s: float = 30) -> bool:
        """Whether something comes true in time. It is asked whenever an object has changed.

        Raises what has gone wrong meanwhile, and BadInput without a control plane.
        """
        return self._parts.objects.wait_for(comes_true, timeout_s)

    def slices(self, service: Service) -> tuple[EndpointSlice, ...]:
        """The EndpointSlices of a Service: all pods that its selector matches, ready."""
        return slices_for(service, selected(service, self.pods.values()))


def _objects(given: Objects | str | Path) -> Objects:
    if not isinstance(given, str | Path):
        return given
    decoded = load([Path(given)])
    if decoded.problems:
        raise BadInput(list(decoded.problems))
    for notice in decoded.notices:
        log.warning(notice)
    return decoded.objects
