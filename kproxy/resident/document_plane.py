"""The objects of a lab without a control plane, for its API: stored as they are given."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from threading import RLock
from uuid import uuid4

from kproxy.api.types import KubernetesObject
from kproxy.apiserver.resources import RESOURCES
from kproxy.controlplane.documents import overlaid
from kproxy.controlplane.plane import DELETE, DeleteOptions, Json, Refused, Write
from kproxy.controlplane.registry import document_key
from kproxy.store import ObjectKey, Update

_RESOURCES = {each.kind: each for each in reversed(RESOURCES)}
_GIVEN = ("uid", "creationTimestamp", "generation")


class DocumentPlane:
    """A `Plane` that checks nothing but that objects exist, and runs nothing."""

    def __init__(self, objects: Iterable[KubernetesObject]) -> None:
        """Begin with these objects."""
        self.lock = RLock()
        self._documents: dict[ObjectKey, Json] = {}
        self._listeners: list[Callable[[Write], None]] = []
        self._revision = 0
        self.follow_update(Update(upserts=tuple(objects)))

    def follow_update(self, update: Update) -> None:
        """Store and delete what a lab has. What it does not have may be deleted, too."""
        with self.lock:
            for obj in update.upserts:
                self.put(document_of(obj))
            for key in update.deletes:
                if key in self._documents:
                    self.delete(key)

    def put(self, document: Json) -> None:
        """Create or replace a document."""
        if self.get(document_key(document)):
            self.update(document)
        else:
            self.create(document)

    def create(self, document: Json, *, dry_run: bool = False) -> tuple[Json, tuple[str, ...]]:
        key = document_key(document)
        given = {"uid": str(uuid4()), "creationTimestamp": self.now(), "generation": 1}
        made = {**document, "metadata": {**document["metadata"], **given}}
        with self.lock:
            if key in self._documents:
                raise _refused(key, 409, "AlreadyExists", "already exists")
            return (made if dry_run else self._store(key, made)), ()

    def update(
        self, document: Json, *, version: str = "", subresource: str = "", dry_run: bool = False
    ) -> tuple[Json, tuple[str, ...]]:
        key = document_key(document)
        with self.lock:
            former = self._existing(key)
            there = former["metadata"]
            if version not in ("", there["resourceVersion"]):
                raise _refused(key, 409, "Conflict", "has been modified")
            kept = {name: there[name] for name in _GIVEN}
            whole = {**former, "status": document.get("status")} if subresource else document
            made = {**whole, "metadata": {**document["metadata"], **kept}}
            return (made if dry_run else self._store(key, made)), ()

    def delete(self, key: ObjectKey, options: DeleteOptions = DELETE) -> Json:
        with self.lock:
            former = self._existing(key)
            if not options.dry_run:
                del self._documents[key]
                self._tell(key, None, former)
            return former

    def get(self, key: ObjectKey) -> Json | None:
        return self._documents.get(key)

    def of_kind(self, kind: str) -> list[Json]:
        with self.lock:
            return [each for key, each in self._documents.items() if key[0] == kind]

    def follow(self, listener: Callable[[Write], None]) -> tuple[list[Json], int]:
        with self.lock:
            self._listeners.append(listener)
            return [*self._documents.values()], self._revision

    def now(self) -> str:
        return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def _existing(self, key: ObjectKey) -> Json:
        if key not in self._documents:
            raise _refused(key, 404, "NotFound", "not found")
        return self._documents[key]

    def _store(self, key: ObjectKey, document: Json) -> Json:
        former = self._documents.get(key)
        metadata = {**document["metadata"], "resourceVersion": str(self._revision + 1)}
        made = self._documents[key] = {**document, "metadata": metadata}
        self._tell(key, made, former)
        return made

    def _tell(self, key: ObjectKey, document: Json | None, former: Json | None) -> None:
        self._revision += 1
        for listener in self._listeners:
            listener(Write(key, document, former, self._revision))


def document_of(obj: KubernetesObject) -> Json:
    """Return the document of an object, with its kind."""
    resource = _RESOURCES[type(obj).__name__]
    return overlaid(obj, {"apiVersion": resource.api_version, "kind": resource.kind})


def _refused(key: ObjectKey, status: int, reason: str, why: str) -> Refused:
    resource = _RESOURCES[key[0]]
    return Refused(
        f'{resource.full_name} "{key[2]}" {why}',
        status=status,
        reason=reason,
        kind=resource.plural,
        group=resource.group,
        name=key[2],
    )
