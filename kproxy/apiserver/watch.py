"""A watch of one client: which events it is told, in which order, and when it is given up."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime

from msgspec.json import encode

from kproxy.apiserver.conversion import told
from kproxy.apiserver.read_model import Collection, Entry, Event
from kproxy.apiserver.rendering import Rendering
from kproxy.apiserver.selectors import Selection
from kproxy.apiserver.status import status_of
from kproxy.controlplane.plane import Refused

MOST_WAITING_BYTES = 8 << 20  # that a client has not read
_PIECE_BYTES = 128 << 10


class Watcher:
    """Makes the text of a watch, piece by piece; what has not been taken yet is bounded.

    Belongs to the thread of the read model. `wake` is called when there is more to take.
    """

    def __init__(
        self,
        rendering: Rendering,
        selected: Selection,
        namespace: str,
        *,
        bookmarks: bool,
        clock: Callable[[], datetime],
    ) -> None:
        self._rendering = rendering
        self._selected = selected
        self._namespace = namespace
        self.bookmarks = bookmarks
        self._clock = clock
        self._first: Iterator[bytes] = iter(())
        self._waiting: deque[bytes] = deque()
        self._bytes = 0
        self._headed = True
        self._collection: Collection | None = None
        self.wake: Callable[[], None] = _nothing
        self.ended = False  # after what is left to take there is nothing more
        self.dropped = False  # the client reads too slowly: the connection is to be cut

    def follow(
        self,
        collection: Collection,
        initial: Iterable[Entry] = (),
        since: Iterable[Event] = (),
        marker: int | None = None,
    ) -> None:
        """Tell of objects there are and of events so far, then of what is written from now on.

        `marker`: a bookmark of this revision ends the initial events.
        """
        self._collection = collection
        collection.listeners[self._tell] = None
        self._first = self._beginning(list(initial), list(since), marker)

    def take(self) -> bytes:
        """Return the next text to send, b"" if there is none now. It is some 100 KiB at most, but
        for a single event that is larger.
        """
        pieces: list[bytes] = []
        size = 0
        for line in self._first:
            pieces.append(line)
            size += len(line)
            if size >= _PIECE_BYTES:
                return b"".join(pieces)
        while self._waiting and size < _PIECE_BYTES:
            line = self._waiting.popleft()
            pieces.append(line)
            size += len(line)
            self._bytes -= len(line)
            self._headed = False
        return b"".join(pieces)

    def mark(self, revision: int) -> None:
        """Add a bookmark, if the client wants any."""
        if self.bookmarks and not self.ended:
            self._add(self._rendering.bookmark(revision, False, self._headed))

    def fail(self, refused: Refused) -> None:
        """End the watch with an event that says why."""
        event = {"type": "ERROR", "object": status_of(refused)}
        self._add(encode(event) + b"\n")
        self.close()

    def close(self) -> None:
        """Tell of no more events."""
        self.ended = True
        if self._collection is not None:
            self._collection.listeners.pop(self._tell, None)
        self.wake()

    def _beginning(
        self, initial: list[Entry], since: list[Event], marker: int | None
    ) -> Iterator[bytes]:
        for entry in initial:
            if self._wants(entry):
                yield self._rendering.line("ADDED", entry, self._clock(), self._headed)
                self._headed = False
        if marker is not None and self.bookmarks:
            yield self._rendering.bookmark(marker, True, self._headed)
            self._headed = False
        for event in since:
            if line := self._line(event):
                yield line
                self._headed = False

    def _tell(self, event: Event) -> None:
        if line := self._line(event):
            self._add(line)

    def _line(self, event: Event) -> bytes:
        """Return what an event is to this watcher, which sees only what it selects."""
        before = event.former is not None and self._wants(event.former)
        after = event.kind != "DELETED" and self._wants(event.entry)
        if not before and not after:
            return b""
        kind = "MODIFIED" if before and after else "ADDED" if after else "DELETED"
        gone_from_view = kind == "DELETED" and event.kind != "DELETED"
        # Only the first Table of a watch has columns; all that wait for it may have them.
        return self._rendering.event(event, kind, gone_from_view, self._clock(), self._headed)

    def _wants(self, entry: Entry) -> bool:
        if self._namespace and entry.key[1] != self._namespace:
            return False
        if not self._selected:
            return True
        return self._selected.matches(told(entry.document, self._rendering.resource))

    def _add(self, line: bytes) -> None:
        self._waiting.append(line)
        self._bytes += len(line)
        if self._bytes > MOST_WAITING_BYTES and not self.dropped:
            self.dropped = True
            self._waiting.clear()
            self._first = iter(())
            self.close()
        self.wake()


def _nothing() -> None:
    pass
