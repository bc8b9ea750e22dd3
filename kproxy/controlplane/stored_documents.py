"""The documents of a registry: what identifies each object, and one counter of all writes.

typed object, or none -+
submitted document ----+-> stored -> document, built when it is asked for or followed
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from msgspec import Struct

from kproxy.api.types import KubernetesObject, Metadata
from kproxy.controlplane.api_kinds import kind_of
from kproxy.controlplane.document_defaults import defaulted
from kproxy.controlplane.documents import overlaid
from kproxy.controlplane.plane import Json, Write
from kproxy.store import ObjectKey

_COUNTED = ("spec", "endpoints", "ports")  # what a slice has in place of a spec, too
_OMITTED = {"annotations", "finalizers", "labels", "ownerReferences"}  # if there are none
_OWN_GRACE = ("Namespace", "Pod")  # which end in another way than by finalizers alone
Complete = Callable[[ObjectKey, Json, Json], Json]


class _Stored(Struct):
    """One object as stored. `base` is its document as last submitted."""

    uid: str
    created: str
    obj: KubernetesObject | None
    base: Json
    generation: int = 1
    revision: int = 0
    document: Json | None = None  # built from the others; None: not yet
    former: Json = {}  # as built last, before


class Documents:
    """Stored documents by key. A document is built only if somebody follows, or asks for it."""

    def __init__(self, now: Callable[[], str], complete: Complete) -> None:
        """Take the time, and what completes a document, given its key and former version."""
        self.revision = 0  # counts the writes that altered something
        self.now = now
        self._complete = complete
        self._random = Random(0)  # its own: others' numbers do not depend on who has a uid
        self._stored: dict[ObjectKey, _Stored] = {}
        self._of_kind: dict[str, dict[ObjectKey, None]] = {}  # in the order of creation
        self._listeners: list[Callable[[Write], None]] = []
        self._dependents: dict[ObjectKey, dict[ObjectKey, str]] = {}  # by owner: its uid there

    @property
    def followed(self) -> bool:
        return bool(self._listeners)

    def follow(self, listener: Callable[[Write], None]) -> tuple[list[Json], int]:
        """Return all documents and the revision; tell `listener` of every later write."""
        found = [self._document(key, each) for key, each in self._stored.items()]
        self._listeners.append(listener)
        return found, self.revision

    def uid(self, key: ObjectKey) -> str:
        """Return the uid of an object; "" if it does not exist."""
        found = self._stored.get(key)
        return self._uid(found) if found else ""

    def exists(self, key: ObjectKey) -> bool:
        return key in self._stored

    def created(self, key: ObjectKey) -> str:
        return self._stored[key].created

    def get(self, key: ObjectKey) -> Json | None:
        found = self._stored.get(key)
        return self._document(key, found) if found else None

    def keys(self, kind: str = "", namespace: str = "") -> list[ObjectKey]:
        """Return the keys of a kind and a namespace in the order of creation; "" is for all."""
        found = self._of_kind.get(kind, {}) if kind else self._stored
        return [key for key in found if not namespace or key[1] == namespace]

    def dependents(self, owner: ObjectKey, uid: str) -> list[ObjectKey]:
        """Return the objects that have a reference to this owner."""
        found = self._dependents.get(owner, {})
        return [key for key, of in found.items() if of in (uid, placeholder(owner))]

    def has_dependents(self, owner: ObjectKey) -> bool:
        return owner in self._dependents

    def wrote(
        self,
        key: ObjectKey,
        obj: KubernetesObject | None,
        base: Json | None = None,
    ) -> None:
        """Note a write of a typed object, of a document, or of both."""
        self.revision += 1
        found = self._stored.get(key)
        before = found.document if found and self._listeners else None
        if found is None:
            found = _Stored("", self.now(), obj, base or {})
            self._stored[key] = found
            self._of_kind.setdefault(key[0], {})[key] = None
            self._refer(key, obj, found.base)
        else:
            if self._is_other_spec(key, found, obj, base):
                found.generation += 1
            if obj is None or found.obj is None or _differ(obj.metadata, found.obj.metadata):
                self._unrefer(key, found)
                self._refer(key, obj, found.base if base is None else base)
            if base is not None:
                found.base = base
            found.obj = obj
        found.revision = self.revision
        found.former, found.document = found.document or found.former, None
        if self._listeners:
            document = self._document(key, found)
            for listener in self._listeners:
                listener(Write(key, document, before, self.revision))

    def removed(self, key: ObjectKey) -> None:
        """Note that an object is deleted."""
        self.revision += 1
        found = self._stored.pop(key)
        del self._of_kind[key[0]][key]
        self._unrefer(key, found)
        for listener in self._listeners:
            listener(Write(key, None, found.document, self.revision))

    def preview(self, key: ObjectKey, obj: KubernetesObject | None, base: Json) -> Json:
        """Return the document that a write would store; nothing changes."""
        found = self._stored.get(key)
        if found is None:
            trial = _Stored("", self.now(), obj, base)
        else:
            more = int(self._is_other_spec(key, found, obj, base))
            trial = _Stored(
                self._uid(found), found.created, obj, base, found.generation + more, found.revision
            )
            trial.former = found.document or found.former
        return self._document(key, trial)

    # --- building --------------------------------------------------------------------------------

    def _document(self, key: ObjectKey, stored: _Stored) -> Json:
        if stored.document is None:
            stored.document = self._built(key, stored)
            stored.former = {}
        return stored.document

    def _built(self, key: ObjectKey, stored: _Stored) -> Json:
        kind, namespace, name = key
        about = kind_of(kind, stored.base.get("apiVersion", "v1"))
        values = overlaid(stored.obj, stored.base) if stored.obj else stored.base
        metadata = {
            **values.get("metadata", {}),
            "name": name,
            "uid": self._uid(stored),
            "resourceVersion": str(stored.revision),
            "creationTimestamp": stored.created,
        }
        metadata.pop("namespace", None)
        metadata.pop("generation", None)
        for each in _OMITTED & metadata.keys():
            if not metadata[each]:
                del metadata[each]
        if namespace:
            metadata["namespace"] = namespace
        if about.counted:
            metadata["generation"] = stored.generation
        if metadata.get("deletionTimestamp") and kind not in _OWN_GRACE:
            metadata["deletionGracePeriodSeconds"] = 0
        if owners := metadata.get("ownerReferences"):
            metadata["ownerReferences"] = [self._owner(namespace, each) for each in owners]
        head = {"apiVersion": about.api_version, "kind": kind, "metadata": metadata}
        document = defaulted({**head, **values, **head})  # these come first
        return self._complete(key, document, stored.former)

    def _owner(self, namespace: str, reference: Json) -> Json:
        """Return a reference with the uid of its object, if a controller here wrote it."""
        key = owner_key(namespace, reference.get("kind", ""), reference.get("name", ""))
        if reference.get("uid") == placeholder(key) and (uid := self.uid(key)):
            return {**reference, "uid": uid}
        return reference

    def _is_other_spec(
        self, key: ObjectKey, stored: _Stored, obj: KubernetesObject | None, base: Json | None
    ) -> bool:
        """Tell whether a write changes what `metadata.generation` counts."""
        if not kind_of(key[0]).counted:
            return False
        if _is_ending(obj, base) and not _is_ending(stored.obj, stored.base):
            return True
        if base is None:
            return any(getattr(obj, each, 0) != getattr(stored.obj, each, 0) for each in _COUNTED)
        shown = self._document(key, stored)
        if all(base.get(each) is shown.get(each) for each in _COUNTED) and obj is stored.obj:
            return False
        trial = _Stored(self._uid(stored), stored.created, obj, base)
        trial.former = shown
        built = self._built(key, trial)
        return any(built.get(each) != shown.get(each) for each in _COUNTED)

    # --- owners ----------------------------------------------------------------------------------

    def _refer(self, key: ObjectKey, obj: KubernetesObject | None, base: Json) -> None:
        for owner, uid in _owners(key, obj, base):
            self._dependents.setdefault(owner, {})[key] = uid

    def _unrefer(self, key: ObjectKey, stored: _Stored) -> None:
        for owner, _ in _owners(key, stored.obj, stored.base):
            found = self._dependents.get(owner, {})
            found.pop(key, None)
            if not found:
                self._dependents.pop(owner, None)

    def _uid(self, stored: _Stored) -> str:
        """Return the uid of an object, which it gets when somebody asks first."""
        if not stored.uid:
            text = f"{self._random.getrandbits(128):032x}"
            parts = (text[:8], text[8:12], f"4{text[13:16]}", f"a{text[17:20]}", text[20:])
            stored.uid = "-".join(parts)
        return stored.uid


def is_same(one: Json, other: Json) -> bool:
    """Tell whether a write of `one` over `other` changes nothing but versions and times."""
    return _lasting(one) == _lasting(other)


def _lasting(document: Json) -> Json:
    metadata = {**document["metadata"], "resourceVersion": ""}
    if managed := metadata.get("managedFields"):
        metadata["managedFields"] = [{**each, "time": ""} for each in managed]
    return {**document, "metadata": metadata}


def placeholder(owner: ObjectKey) -> str:
    """Return what typed objects have as the uid of an owner of this control plane.

    So they are equal whenever their owners have the same names.
    """
    return f"{owner[1]}/{owner[2]}"


def owner_key(namespace: str, kind: str, name: str) -> ObjectKey:
    """Return the key of an owner of an object in this namespace."""
    return (kind, namespace if kind_of(kind).namespaced else "", name)


def _owners(
    key: ObjectKey, obj: KubernetesObject | None, base: Json
) -> list[tuple[ObjectKey, str]]:
    if obj is not None:
        return [
            (owner_key(key[1], each.kind, each.name), each.uid)
            for each in obj.metadata.owner_references
        ]
    return [
        (owner_key(key[1], each.get("kind", ""), each.get("name", "")), each.get("uid", ""))
        for each in base.get("metadata", {}).get("ownerReferences") or ()
    ]


def _is_ending(obj: KubernetesObject | None, base: Json | None) -> bool:
    if obj is not None:
        return bool(obj.metadata.deletion_timestamp)
    return bool(base and base.get("metadata", {}).get("deletionTimestamp"))


def _differ(one: Metadata, other: Metadata) -> bool:
    return one.owner_references != other.owner_references
