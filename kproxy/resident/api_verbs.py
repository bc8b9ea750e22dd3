"""Writing objects by requests to a lab's API: one for each object, over HTTPS."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from kproxy.api.types import KubernetesObject
from kproxy.apiserver.resources import RESOURCES
from kproxy.controlplane.plane import Json
from kproxy.controlplane.registry import document_key
from kproxy.errors import BadInput
from kproxy.lab.object_verbs import ObjectVerbs
from kproxy.lab.proxies import SyncReports
from kproxy.resident.api_client import ApiClient, Refusal
from kproxy.resident.document_plane import document_of
from kproxy.resident.kubeconfig import Access
from kproxy.store import ObjectKey, Update, object_key

MANAGER = "kproxy-lab"
_RESOURCES = {each.kind: each for each in reversed(RESOURCES)}
_APPLY = "application/apply-patch+yaml"
_MERGE = "application/merge-patch+json"

of_objects = logging.getLogger("kproxy.warnings")  # as those of a lab that is not asked over HTTPS


class Requests:
    """Requests about objects, by any thread. What the server refuses is raised as Refusal."""

    def __init__(self, access: Access) -> None:
        self._client = ApiClient(access, self._warn)
        self._lock = threading.Lock()  # the client has one connection
        self._about = ""

    def apply(self, document: Json) -> None:
        """Write the fields of a document, as `kubectl apply --server-side --force-conflicts`."""
        query = {"fieldManager": MANAGER, "force": "true"}
        self._ask("PATCH", document_key(document), query=query, body=document, content_type=_APPLY)

    def put(self, document: Json, *, new: bool) -> None:
        """Create an object, or replace it by a document."""
        query = {"fieldManager": MANAGER}
        self._ask("POST" if new else "PUT", document_key(document), query=query, body=document)

    def delete(self, key: ObjectKey) -> None:
        self._ask("DELETE", key, body={"propagationPolicy": "Background"})

    def scale(self, key: ObjectKey, replicas: int) -> None:
        body = {"spec": {"replicas": replicas}}
        self._ask("PATCH", key, part="/scale", body=body, content_type=_MERGE)

    def close(self) -> None:
        self._client.close()

    def _ask(self, method: str, key: ObjectKey, part: str = "", **how: Any) -> None:
        path = path_of(key)
        if method == "POST":
            path = path.rpartition("/")[0]
        with self._lock:
            self._about = f"{key[0]} {key[2]}"
            self._client.ask(method, path + part, **how)

    def _warn(self, text: str) -> None:
        of_objects.warning("%s: %s", self._about, text)


class ObjectWriter:
    """Writes the objects of a lab that has no control plane, as they are."""

    def __init__(self, requests: Requests) -> None:
        self._requests = requests
        self._written: dict[ObjectKey, KubernetesObject] = {}

    def write(self, update: Update) -> None:
        """Write what is new or another than before, and delete what is there. Raises BadInput."""
        _carry_out(
            *(partial(self._delete, key) for key in update.deletes),
            *(partial(self._put, each) for each in update.upserts),
        )

    def _delete(self, key: ObjectKey) -> None:
        if key in self._written:
            self._requests.delete(key)
            del self._written[key]

    def _put(self, obj: KubernetesObject) -> None:
        former = self._written.get(object_key(obj))
        if former != obj:
            self._requests.put(document_of(obj), new=former is None)
            self._written[object_key(obj)] = obj


class ApiVerbs:
    """The verbs of a control plane, of which those that write are requests to its API.

    Where one of several objects is refused, the others are written, as by kubectl.
    """

    def __init__(self, inner: ObjectVerbs, requests: Requests) -> None:
        self._inner, self._requests = inner, requests
        self._written: set[ObjectKey] = set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def apply(
        self, objects: Iterable[KubernetesObject], documents: Iterable[Json] = ()
    ) -> SyncReports:
        whole = sorted(documents, key=lambda each: each["kind"] != "Namespace")
        _carry_out(*(partial(self._apply, each) for each in (*whole, *map(document_of, objects))))
        return self._settled()

    def delete(self, keys: Iterable[ObjectKey]) -> SyncReports:
        _carry_out(*(partial(self._delete, key) for key in keys))
        return self._settled()

    def replace(
        self, objects: Iterable[KubernetesObject], documents: Iterable[Json] = ()
    ) -> SyncReports:
        wanted, whole = tuple(objects), tuple(documents)
        others = self._written - {*map(object_key, wanted), *map(document_key, whole)}
        self.delete(key for key in others if self._inner.plane.get(key))
        self._written -= others
        return self.apply(wanted, whole)

    def scale(self, namespace: str, name: str, replicas: int) -> SyncReports:
        key = ("Deployment", namespace, name)
        _carry_out(partial(self._requests.scale, key, replicas))
        return self._settled()

    def _apply(self, document: Json) -> None:
        self._requests.apply(document)
        self._written.add(document_key(document))

    def _delete(self, key: ObjectKey) -> None:
        self._requests.delete(key)
        self._written.discard(key)

    def _settled(self) -> SyncReports:
        """Return when what was written is in force: a verb without objects waits for that."""
        return self._inner.apply(())


def path_of(key: ObjectKey) -> str:
    """Return the path of an object."""
    kind, namespace, name = key
    resource = _RESOURCES[kind]
    root = f"/apis/{resource.api_version}" if resource.group else f"/api/{resource.version}"
    within = f"/namespaces/{namespace}" if resource.namespaced else ""
    return f"{root}{within}/{resource.plural}/{name}"


def _carry_out(*steps: Callable[[], None]) -> None:
    """Carry out all steps. Raises BadInput, with all that the server has refused."""
    refused = []
    for step in steps:
        try:
            step()
        except Refusal as refusal:
            refused.append(str(refusal))
    if refused:
        raise BadInput(refused)
