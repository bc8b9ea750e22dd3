"""All objects as last written, with the latest writes of each kind, for get, list and watch.

It belongs to one thread. Writes arrive in any thread and are kept (`note`) until the owner takes
them in (`catch_up`), which it does before every answer: nothing here is locked.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import deque
from collections.abc import Callable
from datetime import datetime
from operator import attrgetter

from kproxy.apiserver.status import Expired, too_large_version, too_old
from kproxy.controlplane.plane import Json, Plane, Write
from kproxy.store import ObjectKey

MOST_WRITES = 4096  # of one kind that a watch can begin with; from half as many on
MOST_KEPT = 256  # writes that nobody waits for
MOST_RENEWALS = 512  # of Leases, which are written all day, whether anybody looks or not


class Entry:
    """An object as stored, and its JSON once somebody has asked for it."""

    __slots__ = ("document", "key", "revision", "text")

    def __init__(self, key: ObjectKey, document: Json, revision: int) -> None:
        self.key = key
        self.document = document
        self.revision = revision
        self.text: dict[str, bytes] = {}  # by API version


class Event:
    """A write of one kind. `entry` is the object as written, or as it was before its deletion."""

    __slots__ = ("entry", "former", "kind", "lines", "revision")

    def __init__(self, kind: str, entry: Entry, former: Entry | None, revision: int) -> None:
        self.kind = kind  # ADDED, MODIFIED, DELETED
        self.entry = entry
        self.former = former
        self.revision = revision
        self.lines: dict[object, tuple[datetime | None, bytes]] = {}  # as text, while it is told


class Collection:
    """The objects of one kind, by namespace and name."""

    def __init__(self, revision: int) -> None:
        self.objects: dict[ObjectKey, Entry] = {}
        self.events: list[Event] = []
        self.forgotten = revision  # writes up to this one are no longer known
        self.listeners: dict[Callable[[Event], None], None] = {}
        self._keys: list[ObjectKey] = []
        self._in_order: list[Entry] | None = None

    def add(self, entry: Entry) -> None:
        if entry.key not in self.objects:
            insort(self._keys, entry.key)
        self.objects[entry.key] = entry
        self._in_order = None

    def remove(self, key: ObjectKey) -> None:
        """Forget an object; one that is not there is no error."""
        if self.objects.pop(key, None) is not None:
            del self._keys[bisect_left(self._keys, key)]
            self._in_order = None

    def in_order(self) -> list[Entry]:
        """Return all objects by namespace and name. The list is not to be changed."""
        if self._in_order is None:
            self._in_order = [self.objects[key] for key in self._keys]
        return self._in_order

    def write(self, write: Write) -> Event:
        former = self.objects.get(write.key)
        if write.document is None:
            before = former.document if former else write.former or {}
            metadata = {**before.get("metadata", {}), "resourceVersion": str(write.revision)}
            entry = Entry(write.key, {**before, "metadata": metadata}, write.revision)
            self.remove(write.key)
            event = Event("DELETED", entry, former, write.revision)
        else:
            entry = Entry(write.key, write.document, write.revision)
            self.add(entry)
            event = Event("MODIFIED" if former else "ADDED", entry, former, write.revision)
        self.events.append(event)
        most = MOST_RENEWALS if write.key[0] == "Lease" else MOST_WRITES
        if len(self.events) > most:
            self.forgotten = self.events[most // 2 - 1].revision
            del self.events[: most // 2]
        return event

    def since(self, revision: int) -> list[Event]:
        """Return the writes after a revision. Raises Expired if they are no longer known."""
        if revision < self.forgotten:
            raise too_old(revision, self.forgotten)
        return self.events[bisect_right(self.events, revision, key=attrgetter("revision")) :]

    def at(self, revision: int) -> list[Entry]:
        """Return all objects as they were at a revision, in order. Raises Expired."""
        later = self.since(revision)
        if not later:
            return self.in_order()
        objects = dict(self.objects)
        for event in reversed(later):
            if event.former is None:
                objects.pop(event.entry.key, None)
            else:
                objects[event.entry.key] = event.former
        return [objects[key] for key in sorted(objects)]


class ReadModel:
    """Every collection, kept up to date by the writes of a control plane."""

    def __init__(self, plane: Plane, wake: Callable[[], None] = lambda: None) -> None:
        """`wake` is called, in any thread, when something should be taken in."""
        self._written: deque[Write] = deque()
        self._wake = wake
        self._closed = False
        self._collections: dict[str, Collection] = {}
        documents, self.revision = plane.follow(self.note)
        self._first = self.revision
        for document in documents:
            metadata = document["metadata"]
            key = (document["kind"], metadata.get("namespace", ""), metadata["name"])
            version = int(metadata.get("resourceVersion", "0"))
            self.collection(key[0]).add(Entry(key, document, version))

    def note(self, write: Write) -> None:
        """Keep a write until the owner's thread takes it in, which it is woken for if somebody
        watches that kind, or if many are kept.
        """
        if self._closed:
            return
        self._written.append(write)
        found = self._collections.get(write.key[0])
        if (found and found.listeners) or len(self._written) >= MOST_KEPT:
            self._wake()

    def close(self) -> None:
        """Take in no more: a control plane may go on without its API."""
        self._closed = True
        self._written.clear()

    def catch_up(self) -> None:
        """Take in all writes so far, and tell the watchers of their kinds."""
        while self._written:
            write = self._written.popleft()
            self.revision = write.revision
            collection = self.collection(write.key[0])
            event = collection.write(write)
            for listener in list(collection.listeners):
                listener(event)
            event.lines.clear()  # who asks for it later is alone

    def collection(self, kind: str) -> Collection:
        found = self._collections.get(kind)
        if found is None:
            found = self._collections[kind] = Collection(self._first)
        return found

    def check_version(self, revision: int) -> None:
        """Raise Refused (504) for a version of the future."""
        if revision > self.revision:
            raise too_large_version(revision, self.revision)

    def at(self, kind: str, revision: int) -> list[Entry]:
        """Return the objects of a kind as of a revision. Raises Expired in the words of lists."""
        try:
            return self.collection(kind).at(revision)
        except Expired:
            message = "The resourceVersion for the provided list is too old."
            raise Expired(message) from None
