"""Keeps a copy of one collection of an API server: what to ask next, what an answer changes. Pure.

    ask -> (the caller asks) -> took, page, refused, ended or failed -> ask -> ...

At first everything is read: by a watch list, which is a watch that begins with all objects, or by
lists in pages where the API server cannot do that. Then changes are watched from there on. When a
watch ends, the next one begins where it ended. Only if the API server no longer knows that point
(410) everything is read again; the result is compared with what is known, so that only differences
are passed on.

Source: client-go v1.36 tools/cache/reflector.go, as measured; recorded requests of kube-proxy
"""

from __future__ import annotations

import enum
import random
from collections.abc import Callable, Mapping
from sys import intern

from msgspec import Raw, Struct

from kproxy.api.types import KubernetesObject
from kproxy.api.watched_types import Watched
from kproxy.kubernetes import stream
from kproxy.kubernetes.resources import Resource
from kproxy.kubernetes.stream import Lines, Metadata, Rejection, Status, retry_after_s
from kproxy.store import ObjectKey, Update

PAGE_SIZE = 500
WATCH_MIN_S = 300.0  # kube-proxy asks for watches of 5 to 10 minutes
# After each failure the pause doubles; it begins anew once something succeeds.
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.8, 30.0
# A watch brings a bookmark each minute; one that says nothing for longer hangs.
SILENCE_S = 90.0
# The first events of a watch list come at once, if the API server knows watch lists at all.
INITIAL_SILENCE_S = 30.0
_LONGEST_WAIT_S = 300.0  # that an API server may ask for by Retry-After
_GARBLED_MOST = 3
_DELETED_MOST = 1000
_SHORT_S = 1.0  # a watch that ends sooner, and brought nothing, counts as a failure

_UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND = 401, 403, 404
_GONE, _TOO_MANY, _SERVER_ERROR, _TIMEOUT = 410, 429, 500, 504


class Phase(enum.Enum):
    """The kinds of requests, in the order in which they are made."""

    WATCH_LIST = "watch list"
    LIST = "list"
    WATCH = "watch"


class Ask(Struct, frozen=True, kw_only=True):
    """A request to make after `pause_s`. A watch that says nothing for `silence_s` hangs."""

    path: str
    query: Mapping[str, str]
    watch: bool
    pause_s: float
    silence_s: float


class Received(Struct, frozen=True, kw_only=True):
    """The changes that an answer brings, and the objects in it that cannot be accepted."""

    update: Update = Update()
    rejected: tuple[Rejection, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.update or self.rejected)


NOTHING = Received()


class Reflector:
    """The copy of one collection. It holds the versions of objects, not the objects."""

    def __init__(self, resource: Resource, chance: Callable[[], float] = random.random) -> None:
        """`chance` returns a random number from 0 to 1, for pauses and lengths of watches."""
        self.resource = resource
        self.synced = False  # everything was read once
        self.problem = ""  # why the last request failed; "" if it has not
        self.missing = ""  # why an optional collection counts as empty; "" if it does not
        self._chance = chance
        self._phase = Phase.WATCH_LIST
        self._watch_lists = True
        self._version = ""  # up to where everything is known; "" for the most recent there is
        self._continue = ""
        self._whole = False  # the list is asked for without pages
        self._pause_s = self._wait_s = 0.0
        # To tell what comes late: of known objects everything up to the floor has come, from a
        # list, the watch before, or as a bookmark says. Later versions are kept one by one.
        self._floor = ""
        # All objects, accepted or rejected, with their version, "" for one up to the floor.
        self._known: dict[ObjectKey, str] = {}
        self._deleted: dict[ObjectKey, str] = {}  # the last ones
        self._reported: dict[ObjectKey, str] = {}  # the versions of rejected objects
        self._began_at = 0.0
        self._brought = False  # the present watch has brought something
        self._over = False  # the present watch is of no more use
        self._lines = Lines()
        self._garbled = 0  # answers that could not be read, since one that could
        self._seen: dict[ObjectKey, str] = {}  # while everything is read
        self._objects: dict[ObjectKey, KubernetesObject] = {}

    @property
    def phase(self) -> Phase:
        return self._phase

    @property
    def over(self) -> bool:
        """Tell whether the rest of the present answer is of no use; the caller then ends it."""
        return self._over

    def ask(self, now: float) -> Ask:
        """Return the next request. `now`: seconds on a clock that never goes back."""
        pause_s, self._wait_s = self._wait_s, 0.0
        self._over, self._brought = False, False
        self._began_at = now + pause_s
        self._lines = Lines()
        query = dict(self.resource.selectors)
        if self._phase is Phase.LIST:
            query |= self._page_query()
        else:
            query |= self._watch_query()
        if not self._continue:
            self._seen, self._objects = {}, {}
        self._raise_floor()
        return Ask(
            path=self.resource.path,
            query=query,
            watch=self._phase is not Phase.LIST,
            pause_s=pause_s,
            silence_s=INITIAL_SILENCE_S if self._phase is Phase.WATCH_LIST else SILENCE_S,
        )

    def opened(self) -> None:
        """Note that the API server answers a watch: whatever was wrong is over."""
        self.problem = ""

    def took(self, chunk: bytes) -> Received:
        """Take a part of the answer to a watch; return what it changes."""
        batch = _Batch()
        try:
            for event in stream.events(self.resource.kind, self._lines.take(chunk)):
                data = event.object
                if event.type in stream.CHANGES:
                    self._change(event.type, data, batch)
                elif event.type == "ERROR" and isinstance(data, Raw):
                    self._error(stream.status(data))
                elif event.type == "BOOKMARK" and isinstance(data, Raw):
                    self._bookmark(data, batch)
                if self._over:
                    break
        except stream.MALFORMED as error:
            self._over = True
            self._garble(f"the answer is not what a watch brings: {error}")
        return batch.received()

    def page(self, body: bytes) -> Received:
        """Take the answer to a list; return what it changes once all pages are there."""
        batch = _Batch()
        try:
            found = stream.page(body)
            for data in found.items:
                item = stream.item(self.resource.kind, data)
                self._collect(item, stream.head(item), batch)
        except stream.MALFORMED as error:
            self._fail(f"the answer is not a list: {error}")
            self._continue = ""
            return NOTHING
        self._succeed()
        self._continue = found.next_page
        if not self._continue:
            self._version = found.version
            self._complete(batch)
        return batch.received()

    def refused(self, code: int, headers: Mapping[str, str], body: bytes) -> None:
        """Take an answer other than 200. `headers`: by lower-case name."""
        status = stream.status(body, code)
        nothing_to_keep = self.missing or not self.synced
        if self.resource.optional and nothing_to_keep and code in (_NOT_FOUND, _FORBIDDEN):
            self.synced, self.problem, self.missing = True, "", str(status)
            self._wait_s = LONGEST_PAUSE_S
            return
        self._judge(status)
        asked_s = (
            retry_after_s(headers.get("retry-after", "")) or status.details.retry_after_seconds
        )
        if asked_s and (code == _TOO_MANY or code >= _SERVER_ERROR):
            # All clients of an overloaded server are told the same: they come back one by one.
            asked_s = min(asked_s, _LONGEST_WAIT_S)
            self._wait_s = max(self._wait_s, asked_s * (1 + self._chance() / 2))

    def ended(self, now: float) -> None:
        """Note that a watch has ended as it should. A line without its end is forgotten."""
        if self._over:
            return
        if self._phase is Phase.WATCH_LIST:
            self._fail("a watch ended before it had brought all objects")
        elif not self._brought and now - self._began_at < _SHORT_S:
            self._fail("a watch ended as soon as it began")

    def failed(self, problem: str, *, silent: bool = False) -> None:
        """Note that a request failed on its way. `silent`: connected, but nothing was said."""
        if silent and self._phase is Phase.WATCH_LIST:
            self._use_lists()  # the server may be one that does not know what was asked
        if silent and self._phase is Phase.WATCH:
            return  # the next watch goes on where this one was, at once
        self._continue = ""
        self._fail(problem)

    def _watch_query(self) -> dict[str, str]:
        seconds = round(WATCH_MIN_S * (1 + self._chance()))
        query = {"watch": "true", "allowWatchBookmarks": "true", "timeoutSeconds": str(seconds)}
        if self._phase is Phase.WATCH_LIST:
            query |= {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan"}
        if self._version:
            query["resourceVersion"] = self._version
        return query

    def _page_query(self) -> dict[str, str]:
        query = {} if self._whole else {"limit": str(PAGE_SIZE)}
        if self._continue:
            return {**query, "continue": self._continue}
        if self._whole or self.synced:  # what there is now
            return query
        return {**query, "resourceVersion": "0"}  # what the API server has in memory will do

    def _change(self, event_type: str, data: Raw | Watched, batch: _Batch) -> None:
        self._brought = True
        metadata = stream.head(data)
        if self._phase is Phase.WATCH_LIST and event_type != "DELETED":
            self._succeed()
            self._collect(data, metadata, batch)
            return
        key = self._key(metadata)
        if self._phase is Phase.WATCH_LIST:  # deleted while the objects were on their way
            self._seen.pop(key, None)
            self._objects.pop(key, None)
            return
        self._succeed()
        version = metadata.resource_version
        if _is_older(version, self._last_version(key)):
            return  # a repeated event, or one that a newer one overtook
        if not _is_older(version, self._version):
            self._version = version or self._version
        if event_type == "DELETED":
            self._known.pop(key, None)
            self._deleted[key] = version
            if len(self._deleted) > _DELETED_MOST:
                del self._deleted[next(iter(self._deleted))]
            batch.delete(key)
            return
        self._deleted.pop(key, None)
        obj = stream.decode(self.resource.kind, data, metadata)
        if isinstance(obj, Rejection):
            self._report(key, obj, batch)
        else:
            key = (*key[:2], obj.metadata.name)
            batch.objects[key] = obj
        self._known[key] = version

    def _bookmark(self, data: Raw, batch: _Batch) -> None:
        """Take a bookmark; note the differences if it ends a watch list."""
        metadata = stream.head(data)
        self._brought = True
        self._succeed()
        self._version = metadata.resource_version or self._version
        self._garbled = 0
        self._raise_floor()
        if self._phase is Phase.WATCH_LIST and stream.INITIAL_EVENTS_END in metadata.annotations:
            self._complete(batch)

    def _collect(self, data: Raw | Watched, metadata: Metadata, batch: _Batch) -> None:
        """Keep an object until everything is read. A rejected one counts as present."""
        key = self._key(metadata)
        version = metadata.resource_version
        if _is_older(version, self._seen.get(key, "")):
            return
        obj = stream.decode(self.resource.kind, data, metadata)
        if isinstance(obj, Rejection):
            self._report(key, obj, batch)
        else:
            key = (*key[:2], obj.metadata.name)  # whose text is then kept once
            self._objects[key] = obj
        self._seen[key] = version

    def _report(self, key: ObjectKey, rejection: Rejection, batch: _Batch) -> None:
        """Report a rejection, but a version only once."""
        version = rejection.metadata.resource_version
        if not version or self._reported.get(key) != version:
            batch.rejected.append(rejection)
        self._reported[key] = version

    def _last_version(self, key: ObjectKey) -> str:
        """Return the version that is known of an object; "" if it was never there."""
        version = self._known.get(key)
        return self._deleted.get(key, "") if version is None else version or self._floor

    def _raise_floor(self) -> None:
        """Note that everything up to the present version has come."""
        self._floor = self._version
        for key, version in self._known.items():
            if version:
                self._known[key] = ""

    def _complete(self, batch: _Batch) -> None:
        """Note all objects, and the deletion of those that are gone. Go on to watch."""
        batch.objects |= self._objects
        batch.deletes |= {key: None for key in self._known if key not in self._seen}
        self._known, self._seen, self._objects = self._seen, {}, {}
        self._reported = {key: self._reported[key] for key in self._reported if key in self._known}
        self._raise_floor()
        self._phase, self._continue, self._whole = Phase.WATCH, "", False
        self.synced, self.missing = True, ""

    def _error(self, status: Status) -> None:
        """Take an ERROR event, which ends a watch."""
        self._over = True
        if self._phase is Phase.WATCH_LIST and status.code == _SERVER_ERROR:
            self._use_lists()
            return
        self._judge(status)

    def _judge(self, status: Status) -> None:
        """Decide how to go on after a refusal."""
        too_new = any(each.reason == "ResourceVersionTooLarge" for each in status.details.causes)
        if status.code == _GONE or (status.code == _TIMEOUT and too_new):
            self._begin_again()
        elif self._phase is Phase.WATCH_LIST and _is_final(status.code):
            self._use_lists()
        elif status.code in (400, 422) and self._phase is Phase.WATCH:
            self._fail(f"refused: {status}")
            self._phase = self._first_phase()
        else:
            self._continue = ""
            self._fail(f"refused: {status}")

    def _begin_again(self) -> None:
        """Read everything again: the point from which to go on is no longer known.

        After a restart of the API server all clients do this, which is why they wait.
        """
        self._fail("the API server no longer knows the version to go on from; reading all again")
        self._whole = self._phase is Phase.LIST and bool(self._continue)
        self._version = self._continue = ""
        self._phase = self._first_phase()

    def _garble(self, problem: str) -> None:
        """Go on from the last event that could be read; if that does not help, read all again."""
        self._garbled += 1
        if self._garbled >= _GARBLED_MOST and self._phase is Phase.WATCH:
            self._garbled = 0
            self._begin_again()
        self._fail(problem)

    def _use_lists(self) -> None:
        self._watch_lists = False
        self._phase = Phase.LIST

    def _first_phase(self) -> Phase:
        return Phase.WATCH_LIST if self._watch_lists else Phase.LIST

    def _succeed(self) -> None:
        self.problem, self._pause_s = "", 0.0

    def _fail(self, problem: str) -> None:
        """Wait before the next request, twice as long as after the last failure."""
        self.problem = problem
        self._pause_s = min(self._pause_s * 2 or FIRST_PAUSE_S, LONGEST_PAUSE_S)
        self._wait_s = self._pause_s * (1 + self._chance())

    def _key(self, metadata: Metadata) -> ObjectKey:
        return (self.resource.kind, intern(metadata.namespace), metadata.name)


class _Batch:
    """Collects what one answer, or a part of it, changes."""

    def __init__(self) -> None:
        self.objects: dict[ObjectKey, KubernetesObject] = {}
        self.deletes: dict[ObjectKey, None] = {}
        self.rejected: list[Rejection] = []

    def delete(self, key: ObjectKey) -> None:
        self.objects.pop(key, None)
        self.deletes[key] = None

    def received(self) -> Received:
        if not (self.objects or self.deletes or self.rejected):
            return NOTHING
        update = Update(upserts=tuple(self.objects.values()), deletes=tuple(self.deletes))
        return Received(update=update, rejected=tuple(self.rejected))


def _is_older(version: str, known: str) -> bool:
    """Tell whether a version is older than a known one. Versions that are no numbers never are.

    Source: KEP-5504, which makes resource versions comparable
    """
    if len(version) != len(known):
        return bool(known and len(version) < len(known) and version.isdecimal())
    return version < known and version.isdecimal()


def _is_final(code: int) -> bool:
    """Tell whether asking the same again cannot help."""
    passing = (_UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND, _GONE, _TOO_MANY)
    return 400 <= code < _SERVER_ERROR and code not in passing
