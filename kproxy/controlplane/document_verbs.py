"""The verbs of an API over a cluster: documents are created, updated and deleted.

    document -> typed, or judged as it is -> admitted -> stored; controllers run later

`DocumentVerbs` is a `Plane` for one thread at a time.
Source: apiserver pkg/registry/generic/registry/store.go and pkg/registry/rest of Kubernetes
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Any

from kproxy.api.typed_kinds import TYPES
from kproxy.controlplane import refusals, submitted
from kproxy.controlplane.api_kinds import kind_of
from kproxy.controlplane.events import as_core
from kproxy.controlplane.field_errors import invalid_object
from kproxy.controlplane.namespaces import PROTECTED
from kproxy.controlplane.plane import DELETE, DeleteOptions, Json, Write
from kproxy.controlplane.registry import document_key
from kproxy.controlplane.status_updates import with_status
from kproxy.controlplane.status_validation import written_status_problems
from kproxy.errors import BadInput
from kproxy.store import ObjectKey

if TYPE_CHECKING:
    from kproxy.controlplane.cluster import Cluster

_LETTERS = "bcdfghjklmnpqrstvwxz2456789"  # of generated names
_GENERATED = 5
_LONGEST_PREFIX = 63 - _GENERATED
_TRIES = 8


class DocumentVerbs:
    """A `Plane` over a cluster. Not thread-safe."""

    def __init__(self, cluster: Cluster, *, makes_namespaces: bool = False) -> None:
        """With `makes_namespaces`, what is created in a namespace that does not exist makes it."""
        self._cluster = cluster
        self._makes_namespaces = makes_namespaces
        self._documents = cluster.documents
        self._random = Random(1)

    def create(self, document: Json, *, dry_run: bool = False) -> tuple[Json, tuple[str, ...]]:
        """Store a new object; return its document as stored, and warnings. Raises Refused."""
        document = as_core(document)
        key, document = self._named(document)
        self._check_namespace(key, dry_run=dry_run)
        if self._documents.uid(key):
            raise refusals.already_exists(key)
        if kind_of(key[0]).status and key[0] not in ("Node", "Service"):
            document = {name: value for name, value in document.items() if name != "status"}
        metadata = {name: document["metadata"][name] for name in document["metadata"]}
        for each in ("deletionTimestamp", "deletionGracePeriodSeconds"):
            metadata.pop(each, None)
        return self._store(key, {**document, "metadata": metadata}, None, dry_run=dry_run)

    def update(
        self, document: Json, *, version: str = "", subresource: str = "", dry_run: bool = False
    ) -> tuple[Json, tuple[str, ...]]:
        """Replace an object's document; return it as stored, and warnings. Raises Refused."""
        document = as_core(document)
        key = document_key(document)
        former = self._documents.get(key)
        if former is None:
            raise refusals.not_found(key)
        before, wanted = former["metadata"], document["metadata"]
        if version and version != before["resourceVersion"]:
            raise refusals.conflict(key)
        if wanted.get("uid", before["uid"]) != before["uid"]:
            raise refusals.conflict(key, _other_uid(wanted["uid"], before["uid"]))
        metadata = dict(wanted)
        for each in ("deletionTimestamp", "deletionGracePeriodSeconds"):
            metadata.pop(each, None)
            if each in before:
                metadata[each] = before[each]
        document = {**document, "metadata": metadata}
        if subresource == "status":
            document = {**former, "metadata": metadata, "status": document.get("status") or {}}
            return self._store_status(key, document, former, dry_run=dry_run)
        if kind_of(key[0]).status:
            document.pop("status", None)
            if "status" in former:
                document["status"] = former["status"]
        return self._store(key, document, former, dry_run=dry_run)

    def delete(self, key: ObjectKey, options: DeleteOptions = DELETE) -> Json:
        """Delete an object; return its document as it was, or as it is while it ends."""
        former = self._documents.get(key)
        if former is None:
            raise refusals.not_found(key)
        metadata = former["metadata"]
        if options.uid and options.uid != metadata["uid"]:
            raise refusals.conflict(key, _other_uid(options.uid, metadata["uid"]))
        if options.version and options.version != metadata["resourceVersion"]:
            told = f"ResourceVersion in precondition: {options.version}"
            shown = f"ResourceVersion in object meta: {metadata['resourceVersion']}"
            raise refusals.conflict(key, f"Precondition failed: {told}, {shown}")
        if key[0] == "Namespace" and key[2] in PROTECTED:
            raise refusals.forbidden(key, "this namespace may not be deleted")
        if options.dry_run:
            return former
        self._cluster.delete_document(key, options.propagation, options.grace_s)
        return self._documents.get(key) or former

    def get(self, key: ObjectKey) -> Json | None:
        return self._documents.get(key)

    def of_kind(self, kind: str) -> list[Json]:
        """Return the documents of a kind in the order of creation."""
        found = map(self._documents.get, self._documents.keys(kind))
        return [each for each in found if each]

    def follow(self, listener: Callable[[Write], None]) -> tuple[list[Json], int]:
        """Return all documents and the revision now; tell `listener` of every later write."""
        return self._documents.follow(listener)

    def now(self) -> str:
        """Return the time as objects bear it: RFC 3339 in UTC, whole seconds."""
        return self._documents.now()

    # --- storing ---------------------------------------------------------------------------------

    def _store(
        self, key: ObjectKey, document: Json, former: Json | None, *, dry_run: bool
    ) -> tuple[Json, tuple[str, ...]]:
        try:
            if key[0] in TYPES:
                obj = submitted.typed(document, self._documents, former)
                found, told = self._cluster.submit(obj, document, dry_run=dry_run)
            else:
                submitted.judge(document, former)
                told = submitted.warnings(document)
                writes = self._cluster.writes
                store = writes.store_event if key[0] == "Event" else writes.store_document
                found = store(key, document, dry_run=dry_run)
        except BadInput as error:
            raise refusals.refused(error, key) from None
        if former and not dry_run:
            self._cluster.finalized(key)
        return found, told

    def _store_status(
        self, key: ObjectKey, document: Json, former: Json, *, dry_run: bool
    ) -> tuple[Json, tuple[str, ...]]:
        if faults := [*written_status_problems(document, former)]:
            error = invalid_object(key[0], kind_of(key[0]).group, key[2], faults)
            raise refusals.refused(error, key)
        obj = self._cluster.object(key)
        if obj is None:
            return self._cluster.writes.store_document(key, document, dry_run=dry_run), ()
        try:
            found = with_status(obj, document)
            return self._cluster.writes.store(found, document, dry_run=dry_run), ()
        except BadInput as error:
            raise refusals.refused(error, key) from None

    def _named(self, document: Json) -> tuple[ObjectKey, Json]:
        """Return the key of a new object, and its document with a name."""
        metadata = document.get("metadata") or {}
        if not metadata.get("name"):
            prefix = metadata.get("generateName")
            metadata = {**metadata, "name": self._generated(document, prefix) if prefix else ""}
        key = document_key({**document, "metadata": metadata})
        if key[1]:
            metadata = {**metadata, "namespace": key[1]}
        return key, {**document, "metadata": metadata}

    def _generated(self, document: Json, prefix: str) -> str:
        base = prefix[:_LONGEST_PREFIX]
        name = base
        for _ in range(_TRIES):
            name = base + "".join(self._random.choices(_LETTERS, k=_GENERATED))
            metadata = {**document["metadata"], "name": name}
            if not self._documents.uid(document_key({**document, "metadata": metadata})):
                break
        return name

    def _check_namespace(self, key: ObjectKey, *, dry_run: bool) -> None:
        if not key[1]:
            return
        state = self._cluster.namespace_state(key[1])
        if state == "Terminating":
            raise refusals.namespace_ends(key)
        if state:
            return
        if not self._makes_namespaces:
            raise refusals.not_found(("Namespace", "", key[1]))
        if not dry_run:
            metadata = {"name": key[1]}
            self.create({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})


def _other_uid(stated: Any, stored: str) -> str:
    return f"Precondition failed: UID in precondition: {stated}, UID in object meta: {stored}"
