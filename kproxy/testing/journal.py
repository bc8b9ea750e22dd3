"""Follows a lab: the objects that it has, and their last changes."""

from __future__ import annotations

import threading
import time
from collections import deque

from kproxy.controlplane.plane import Json, Write
from kproxy.controlplane.registry import document_key
from kproxy.lab import Lab
from kproxy.store import ObjectKey

KEPT = 200  # changes


class Journal:
    """The objects of a lab from now on."""

    def __init__(self, lab: Lab) -> None:
        """Raises BadInput if nothing in the lab follows objects."""
        self._lock = threading.Lock()
        self._documents: dict[ObjectKey, Json] = {}
        self._changes: deque[tuple[float, Write]] = deque(maxlen=KEPT)
        documents = {document_key(each): each for each in lab.follow(self._wrote)}
        with self._lock:  # not before: who writes holds the lab's lock, and then waits for ours
            written = {write.key for _, write in self._changes}
            for key in documents.keys() - written:
                self._documents[key] = documents[key]

    def documents(self) -> dict[ObjectKey, Json]:
        """Return the documents of all objects there are."""
        with self._lock:
            return dict(self._documents)

    def changes(self) -> list[tuple[float, Write]]:
        """Return the last changes, each with the seconds since it."""
        now = time.monotonic()
        with self._lock:
            return [(now - moment, write) for moment, write in self._changes]

    def _wrote(self, write: Write) -> None:
        with self._lock:
            self._changes.append((time.monotonic(), write))
            if write.document is None:
                self._documents.pop(write.key, None)
            else:
                self._documents[write.key] = write.document
