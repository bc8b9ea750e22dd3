"""The plane of a lab: an API server's writes, which its control plane brings into effect later.

create, update, delete -> stored, followers are told, answered
                              |
                              +-> a little later, many at once: pods, proxies, DNS

A single write is brought into effect some milliseconds later, when it seems to be the last one.
While more come without a pause, that is about once a second, and rarer if it takes long.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from kproxy.controlplane.document_verbs import DocumentVerbs
from kproxy.controlplane.plane import DELETE, DeleteOptions, Json, Write
from kproxy.controlplane.registry import document_key
from kproxy.lab.cluster.shared_cluster import SharedCluster
from kproxy.store import ObjectKey

_QUIET_S = 0.01  # after the last write: clients pause for some ms between the objects of a manifest
_QUIET_SHARE = 0.1  # of the time that writes have come without such a pause: it may be an accident
_MOST_QUIET_S = 0.1
_LATEST_S = 1.0  # after the first one; kube-proxy, too, syncs once a second (minSyncPeriod)
_LATEST_SHARE = 2  # of what it took last: the more there is, the rarer
_MOST_LATEST_S = 5.0


class LabPlane:
    """A `Plane` over a lab's cluster. `wake` is called with the first write since `taken`."""

    def __init__(
        self,
        cluster: SharedCluster,
        wake: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._verbs = DocumentVerbs(cluster)
        self.lock = cluster.lock
        self._wake = wake
        self._clock = clock
        self._first: float | None = None  # by the clock; guarded by the lock
        self._last = 0.0
        self._began = 0.0  # the writes that came since without a pause
        self._took_s = 0.0  # to bring the former ones into effect
        self._goes_on = False  # more were written meanwhile
        self._created: set[ObjectKey] = set()

    def create(self, document: Json, *, dry_run: bool = False) -> tuple[Json, tuple[str, ...]]:
        """Store a new object; return its document as stored, and warnings. Raises Refused."""
        with self.lock:
            found = self._verbs.create(document, dry_run=dry_run)
            self._wrote(dry_run=dry_run)
            if not dry_run:
                self._created.add(document_key(found[0]))
        return found

    def update(
        self, document: Json, *, version: str = "", subresource: str = "", dry_run: bool = False
    ) -> tuple[Json, tuple[str, ...]]:
        """Replace an object's document; return it as stored, and warnings. Raises Refused."""
        with self.lock:
            found = self._verbs.update(
                document, version=version, subresource=subresource, dry_run=dry_run
            )
            self._wrote(dry_run=dry_run)
        return found

    def delete(self, key: ObjectKey, options: DeleteOptions = DELETE) -> Json:
        """Delete an object; return its document as it was, or as it is while it ends."""
        with self.lock:
            found = self._verbs.delete(key, options)
            self._wrote(dry_run=options.dry_run)
            if not options.dry_run:
                self._created.discard(key)
        return found

    def get(self, key: ObjectKey) -> Json | None:
        with self.lock:
            return self._verbs.get(key)

    def of_kind(self, kind: str) -> list[Json]:
        with self.lock:
            return self._verbs.of_kind(kind)

    def follow(self, listener: Callable[[Write], None]) -> tuple[list[Json], int]:
        """Return all documents and the revision now; tell `listener` of every later write."""
        with self.lock:
            return self._verbs.follow(listener)

    def now(self) -> str:
        """Return the time as objects bear it: RFC 3339 in UTC, whole seconds."""
        return self._verbs.now()

    def pause_s(self) -> float:
        """Return how long to wait for more writes before bringing them into effect."""
        with self.lock:
            if self._first is None:
                return 0.0
            latest_s = min(max(_LATEST_S, _LATEST_SHARE * self._took_s), _MOST_LATEST_S)
            return min(self._first + latest_s, self._last + self._quiet_s()) - self._clock()

    def take_created(self) -> set[ObjectKey]:
        """Return the keys of what was created since the last call; some may be deleted again."""
        with self.lock:
            found, self._created = self._created, set()
        return found

    @property
    def is_written(self) -> bool:
        """True if more is written than what is, or was, brought into effect."""
        return self._first is not None

    def last_write(self) -> float:
        """Return when something was written last, by the clock."""
        return self._last

    @contextmanager
    def taken(self) -> Iterator[None]:
        """In the block, what is written so far is brought into effect; later writes wake again."""
        start = self._clock()
        with self.lock:
            self._first = None
        yield
        with self.lock:
            self._took_s = self._clock() - start
            self._goes_on = self._first is not None

    def _quiet_s(self) -> float:
        """Return how long nothing must be written until what is written counts as all there is."""
        lasted_s = self._last - self._began
        took_s = self._took_s if self._goes_on else 0
        return min(max(_QUIET_S, _QUIET_SHARE * lasted_s, took_s), _MOST_QUIET_S)

    def _wrote(self, *, dry_run: bool) -> None:
        if dry_run:
            return
        now = self._clock()
        if now - self._last > self._quiet_s():
            self._began = now
        self._last = now
        if self._first is None:
            self._first = now
            self._wake()
