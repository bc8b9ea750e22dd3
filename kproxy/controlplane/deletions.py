"""Deletions: finalizers, and what becomes of the objects that an owner leaves.

    Background   the owner goes at once, its dependents follow
    Foreground   the owner waits, with a finalizer, until its dependents are gone
    Orphan       the owner waits until its dependents have no reference to it any more

An object whose owners have never existed stays; a real cluster deletes it.
Source: pkg/controller/garbagecollector and apiserver pkg/registry/generic/registry/store.go of
Kubernetes
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec.structs import replace

from kproxy.controlplane.namespaces import Namespaces
from kproxy.controlplane.plane import Json
from kproxy.controlplane.stored_documents import owner_key, placeholder
from kproxy.controlplane.writes import Writes
from kproxy.store import ObjectKey

FOREGROUND, ORPHAN = "foregroundDeletion", "orphan"


class Deletions:
    """Deletes objects, and collects what has no owner any more."""

    def __init__(
        self,
        writes: Writes,
        namespaces: Namespaces,
        delete_now: Callable[[ObjectKey, str], None],
    ) -> None:
        """Take `delete_now`, which deletes an object that has no finalizers."""
        self._writes = writes
        self._namespaces = namespaces
        self._registry = writes.registry
        self._documents = writes.registry.documents
        self._delete_now = delete_now

    def delete(self, key: ObjectKey, propagation: str, now: str) -> None:
        """Delete an object: now, or once its finalizers are gone."""
        document = self._documents.get(key)
        if document is None:
            return
        metadata = document["metadata"]
        finalizers = [each for each in metadata.get("finalizers") or () if each not in _OWN]
        dependents = self._documents.dependents(key, metadata["uid"])
        if propagation == "Foreground" and dependents:
            finalizers.append(FOREGROUND)
        elif propagation == "Orphan" and dependents:
            finalizers.append(ORPHAN)
        if key[0] == "Namespace":
            self._mark(key, document, finalizers, now)
        elif key[0] == "Pod":
            if finalizers != (metadata.get("finalizers") or []):
                self._set_finalizers(key, finalizers)
            self._delete_now(key, now)
        elif finalizers:
            self._mark(key, document, finalizers, now)
            self._writes.ending.add(key)
        else:
            self._delete_now(key, now)

    def finalized(self, key: ObjectKey, now: str) -> None:
        """Remove an object that is being deleted if nothing holds it any more."""
        document = self._documents.get(key)
        if document is None or not document["metadata"].get("deletionTimestamp"):
            return
        if document["metadata"].get("finalizers"):
            return
        if key[0] == "Namespace":
            self._writes.namespaces_due.add(key[2])
        elif key[0] == "Pod":
            pod = self._registry.pod(key)
            if pod and not pod.status.pod_ips:
                self._writes.remove(key)
        elif key[0] not in ("ServiceCIDR", "IPAddress"):
            self._delete_now(key, now)

    def reconcile(self, now: str) -> None:
        """Go on with all deletions until nothing is left to do but by others."""
        while True:
            content = self._namespaces.content_to_delete()
            orphaned, self._writes.orphaned = self._writes.orphaned, []
            for key in content:
                self.delete(key, "Background", now)
            for owner, uid in orphaned:
                for key in self._documents.dependents(owner, uid):
                    self._collect(key, owner, uid, now)
            went_on = [self._go_on(key, now) for key in sorted(self._writes.ending)]
            self._namespaces.reconcile()
            if not (content or orphaned or any(went_on) or self._writes.orphaned):
                return

    def _collect(self, key: ObjectKey, owner: ObjectKey, uid: str, now: str) -> None:
        """Delete a dependent of an owner that is gone, unless it has another owner."""
        document = self._documents.get(key)
        if document is None:
            return
        owners = document["metadata"].get("ownerReferences") or ()
        if any(self._exists(key, each) for each in owners):
            self._release(key, owner, uid)
        elif not document["metadata"].get("deletionTimestamp"):
            self.delete(key, "Background", now)

    def _exists(self, key: ObjectKey, reference: Json) -> bool:
        owner = owner_key(key[1], reference["kind"], reference["name"])
        uid = self._documents.uid(owner)
        return bool(uid) and reference["uid"] in (uid, placeholder(owner))

    def _go_on(self, key: ObjectKey, now: str) -> bool:
        """Go on with an object that waits; return whether that changed anything."""
        document = self._documents.get(key)
        if document is None:
            self._writes.ending.discard(key)
            return False
        metadata = document["metadata"]
        finalizers = metadata.get("finalizers") or []
        dependents = self._documents.dependents(key, metadata["uid"])
        if ORPHAN in finalizers:
            for each in dependents:
                self._release(each, key, metadata["uid"])
        elif FOREGROUND in finalizers:
            if held := [each for each in dependents if self._blocks(each, key)]:
                due = [each for each in held if not self._is_ending(each)]
                for each in due:
                    self.delete(each, "Foreground", now)
                return bool(due)
        else:
            self._writes.ending.discard(key)
            return False
        self._set_finalizers(key, [each for each in finalizers if each not in _OWN])
        self._writes.ending.discard(key)
        self.finalized(key, now)
        return True

    def _blocks(self, dependent: ObjectKey, owner: ObjectKey) -> bool:
        document = self._documents.get(dependent)
        owners = document["metadata"].get("ownerReferences") or () if document else ()
        return any(
            each.get("blockOwnerDeletion") and (each["kind"], each["name"]) == (owner[0], owner[2])
            for each in owners
        )

    def _is_ending(self, key: ObjectKey) -> bool:
        document = self._documents.get(key)
        return document is None or bool(document["metadata"].get("deletionTimestamp"))

    # --- writes ----------------------------------------------------------------------------------

    def _mark(self, key: ObjectKey, document: Json, finalizers: Sequence[str], now: str) -> None:
        """Store an object as one that is being deleted."""
        metadata = document["metadata"]
        ended = metadata.get("deletionTimestamp") or now
        if obj := self._registry.get(key):
            meta = replace(obj.metadata, deletion_timestamp=ended, finalizers=tuple(finalizers))
            self._writes.write(replace(obj, metadata=meta))
            return
        metadata = {**metadata, "deletionTimestamp": ended}
        metadata["finalizers"] = list(finalizers)
        marked = {**document, "metadata": {key: each for key, each in metadata.items() if each}}
        if key[0] == "Namespace":
            status = document.get("status") or {}
            marked["status"] = {**status, "phase": "Terminating"}
        if marked != document:
            self._writes.write_document(marked)

    def _set_finalizers(self, key: ObjectKey, finalizers: Sequence[str]) -> None:
        if obj := self._registry.get(key):
            meta = replace(obj.metadata, finalizers=tuple(finalizers))
            self._writes.write(replace(obj, metadata=meta))
        elif document := self._documents.get(key):
            metadata = {**document["metadata"], "finalizers": list(finalizers)}
            self._writes.write_document({**document, "metadata": metadata})

    def _release(self, key: ObjectKey, owner: ObjectKey, uid: str) -> None:
        """Remove the references to an owner from an object."""
        uids = (uid, placeholder(owner))
        if obj := self._registry.get(key):
            kept = tuple(
                each
                for each in obj.metadata.owner_references
                if (each.kind, each.name) != (owner[0], owner[2]) or each.uid not in uids
            )
            self._writes.write(replace(obj, metadata=replace(obj.metadata, owner_references=kept)))
        elif document := self._documents.get(key):
            owners = document["metadata"].get("ownerReferences") or ()
            left = [each for each in owners if each["uid"] not in uids]
            metadata = {**document["metadata"], "ownerReferences": left}
            self._writes.write_document({**document, "metadata": metadata})


_OWN = (FOREGROUND, ORPHAN)
