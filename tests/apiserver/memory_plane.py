"""A control plane of documents only: nothing is checked but that objects exist."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from threading import RLock
from uuid import uuid4

from kproxy.apiserver.resources import RESOURCES
from kproxy.controlplane.plane import DELETE, DeleteOptions, Json, Refused, Write
from kproxy.store import ObjectKey

START = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)
_RESOURCES = {each.kind: each for each in reversed(RESOURCES)}


class MemoryPlane:
    """Stores documents; Pods, and objects with finalizers, end when they are updated."""

    def __init__(
        self, documents: tuple[Json, ...] = (), clock: Callable[[], datetime] = lambda: START
    ) -> None:
        self.clock = clock
        self.lock = RLock()
        self.documents: dict[ObjectKey, Json] = {}
        self.listeners: list[Callable[[Write], None]] = []
        self.revision = 0
        for each in documents:
            self.create(each)

    def create(self, document: Json, *, dry_run: bool = False) -> tuple[Json, tuple[str, ...]]:
        key = key_of(document)
        with self.lock:
            if key in self.documents:
                raise refused(key, 409, "AlreadyExists", "already exists")
            given = {
                "uid": str(uuid4()),
                "creationTimestamp": self.now(),
                "generation": 1,
            }
            made = {**document, "metadata": {**document["metadata"], **given}}
            if not dry_run:
                made = self._store(key, made)
            return made, ()

    def update(
        self, document: Json, *, version: str = "", subresource: str = "", dry_run: bool = False
    ) -> tuple[Json, tuple[str, ...]]:
        key = key_of(document)
        with self.lock:
            former = self.documents.get(key)
            if former is None:
                raise refused(key, 404, "NotFound", "not found")
            there = former["metadata"]
            if document["metadata"].get("uid") not in (None, "", there["uid"]):
                raise refused(key, 409, "Conflict", "UID in precondition")
            if version and version != there["resourceVersion"]:
                raise refused(key, 409, "Conflict", "the object has been modified")
            kept = {name: there[name] for name in ("uid", "creationTimestamp", "generation")}
            metadata = {**document["metadata"], **kept}
            metadata["resourceVersion"] = there["resourceVersion"]
            if subresource == "status":
                made = {**former, "metadata": metadata, "status": document.get("status", {})}
            else:
                made = {**document, "metadata": metadata}
                if "status" in former:
                    made["status"] = former["status"]
            if made == former or dry_run:
                return made, ()
            return self._store(key, made), ()

    def delete(self, key: ObjectKey, options: DeleteOptions = DELETE) -> Json:
        with self.lock:
            former = self.documents.get(key)
            if former is None:
                raise refused(key, 404, "NotFound", "not found")
            if options.uid not in ("", former["metadata"]["uid"]):
                raise refused(key, 409, "Conflict", "Precondition failed: UID in precondition")
            if not options.dry_run:
                del self.documents[key]
                self._tell(key, None, former)
            return former

    def get(self, key: ObjectKey) -> Json | None:
        return self.documents.get(key)

    def of_kind(self, kind: str) -> list[Json]:
        with self.lock:
            return [each for key, each in self.documents.items() if key[0] == kind]

    def follow(self, listener: Callable[[Write], None]) -> tuple[list[Json], int]:
        with self.lock:
            self.listeners.append(listener)
            return [*self.documents.values()], self.revision

    def now(self) -> str:
        return self.clock().strftime("%Y-%m-%dT%H:%M:%SZ")

    def _store(self, key: ObjectKey, document: Json) -> Json:
        former = self.documents.get(key)
        metadata = {**document["metadata"], "resourceVersion": str(self.revision + 1)}
        made = {**document, "metadata": metadata}
        self.documents[key] = made
        self._tell(key, made, former)
        return made

    def _tell(self, key: ObjectKey, document: Json | None, former: Json | None) -> None:
        self.revision += 1
        for listener in self.listeners:
            listener(Write(key, document, former, self.revision))


def key_of(document: Json) -> ObjectKey:
    metadata = document["metadata"]
    return (document["kind"], metadata.get("namespace", ""), metadata["name"])


def refused(key: ObjectKey, status: int, reason: str, why: str) -> Refused:
    resource = _RESOURCES[key[0]]
    return Refused(
        f'{resource.full_name} "{key[2]}" {why}',
        status=status,
        reason=reason,
        kind=resource.plural,
        group=resource.group,
        name=key[2],
    )
