"""Objects, lists and events as text, in each form that a client may ask for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

import msgspec
from msgspec.json import encode

from kproxy.apiserver.conversion import told
from kproxy.apiserver.negotiation import Form, Media
from kproxy.apiserver.read_model import Entry, Event
from kproxy.apiserver.resources import Resource
from kproxy.apiserver.tables import partial, row, table
from kproxy.controlplane.plane import Json

_FIRST = ("kind", "apiVersion", "metadata")


class Rendering(NamedTuple):
    """How a client wants to see objects: of which resource, in which form.

    `include`: of the object in a row of a Table: None, Metadata or Object.
    """

    resource: Resource
    media: Media
    include: str = "Metadata"

    def document(self, document: Json, now: datetime) -> bytes:
        """Return one object as asked for."""
        match self.media.form:
            case Form.TABLE:
                version = {"resourceVersion": document["metadata"].get("resourceVersion", "")}
                return encode(self._table([self._row(document, now)], version, document["kind"]))
            case Form.METADATA:
                return encode(partial(document, self.media.version))
        return _yaml(document) if self.media.yaml else encoded(document)

    def entry(self, entry: Entry, now: datetime) -> bytes:
        """Return one stored object as asked for."""
        if self.media.form is Form.OBJECT and not self.media.yaml:
            return self._text(entry)
        return self.document(told(entry.document, self.resource), now)

    def many(self, entries: Sequence[Entry], metadata: Json, now: datetime) -> bytes:
        """Return a list; `metadata` has its version, and how to go on with it."""
        match self.media.form:
            case Form.TABLE:
                rows = (self._row(told(each.document, self.resource), now) for each in entries)
                return encode(self._table(rows, metadata, self.resource.kind))
            case Form.METADATA:
                version = self.media.version
                items = [partial(each.document, version) for each in entries]
                return encode(
                    {
                        "kind": "PartialObjectMetadataList",
                        "apiVersion": f"meta.k8s.io/{version}",
                        "metadata": metadata,
                        "items": items,
                    }
                )
        kind, version = self.resource.kind, self.resource.api_version
        head = {"kind": f"{kind}List", "apiVersion": version, "metadata": metadata}
        if self.media.yaml:
            items = [_without_kind(told(each.document, self.resource)) for each in entries]
            return _yaml({**head, "items": items})
        # Items of a list do not repeat their kind: what each begins with is cut off.
        start = len(encode({"kind": kind, "apiVersion": version}))
        text = b",{".join([self._text(each)[start:] for each in entries])
        return encode(head)[:-1] + b',"items":[' + (b"{" + text if text else b"") + b"]}"

    def event(self, event: Event, kind: str, former: bool, now: datetime, headed: bool) -> bytes:
        """Return a line of a watch. Text that many watchers want alike is made once.

        `kind` is what the event is to this watcher. `former`: it tells of the object as it was
        before, because it is no longer among those watched.
        """
        headed = headed and self.media.form is Form.TABLE
        stamp = now.replace(microsecond=0) if self.media.form is Form.TABLE else None
        key = (self.resource.api_version, self.media, self.include, kind, former, headed)
        known, text = event.lines.get(key, (None, b""))
        if not text or known != stamp:
            entry = event.entry
            if former and event.former is not None:
                before = event.former.document
                metadata = {**before["metadata"], "resourceVersion": str(event.revision)}
                entry = Entry(entry.key, {**before, "metadata": metadata}, event.revision)
            text = self.line(kind, entry, now, headed)
            event.lines[key] = (stamp, text)
        return text

    def line(self, kind: str, entry: Entry, now: datetime, headed: bool = True) -> bytes:
        """Return a line of a watch that tells of an object."""
        if self.media.form is Form.TABLE:
            document = told(entry.document, self.resource)
            version = {"resourceVersion": str(entry.revision)}
            body = encode(
                self._table([self._row(document, now)], version, document["kind"], headed)
            )
        else:
            body = self.entry(entry, now)
        return b'{"type":"' + kind.encode() + b'","object":' + body + b"}\n"

    def bookmark(self, revision: int, initial_end: bool, headed: bool) -> bytes:
        """Return a bookmark; `initial_end` marks the end of the initial events."""
        metadata: Json = {"resourceVersion": str(revision), "creationTimestamp": None}
        if initial_end:
            metadata["annotations"] = {"k8s.io/initial-events-end": "true"}
        version = self.media.version
        about = {"kind": self.resource.kind, "apiVersion": self.resource.api_version}
        obj: Json = {**about, "metadata": metadata}
        match self.media.form:
            case Form.TABLE:
                cells = [None] * len(self._table((), {}, self.resource.kind)["columnDefinitions"])
                row = {"cells": cells, "object": partial(obj, version)}
                listed = {"resourceVersion": str(revision)}
                obj = self._table([row], listed, self.resource.kind, headed)
            case Form.METADATA:
                obj = partial(obj, version)
        return encode({"type": "BOOKMARK", "object": obj}) + b"\n"

    def _text(self, entry: Entry) -> bytes:
        version = self.resource.api_version
        text = entry.text.get(version)
        if text is None:
            text = entry.text[version] = encoded(told(entry.document, self.resource))
        return text

    def _row(self, document: Json, now: datetime) -> Json:
        return row(document, now, self.include, self.media.version)

    def _table(self, rows: Iterable[Json], metadata: Json, kind: str, headed: bool = True) -> Json:
        return table(kind, rows, metadata, self.media.version, headed=headed)


def encoded(document: Json) -> bytes:
    """Return a document as JSON that begins with its kind and API version."""
    first = {key: document[key] for key in _FIRST if key in document}
    return encode(first | {key: value for key, value in document.items() if key not in _FIRST})


def _without_kind(document: Json) -> Json:
    return {key: value for key, value in document.items() if key not in ("kind", "apiVersion")}


def _yaml(document: Json) -> bytes:
    return msgspec.yaml.encode(document)
