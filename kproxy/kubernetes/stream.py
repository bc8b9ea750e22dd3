"""The JSON of an API server: lists, and the events of a watch. Pure.

Objects are decoded straight into the types of `kproxy.api`, which leave out what a proxy does not
read, such as `managedFields`. As in Go, a null is an absent field: a list of nothing may have one
in the place of its items.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from typing import Any, Generic, TypeVar

import msgspec
from msgspec import Raw, Struct, field

from kproxy.api.conflicts import object_name
from kproxy.api.null_fields import without_null_fields
from kproxy.api.typed_kinds import stored
from kproxy.api.types import KubernetesObject
from kproxy.api.watched_types import TYPES, Watched
from kproxy.typed import decoder

INITIAL_EVENTS_END = "k8s.io/initial-events-end"  # annotation of the bookmark after the last one
CHANGES = ("ADDED", "MODIFIED", "DELETED")
_SHOWN_CHARACTERS = 300
# What decoding raises for what is no such JSON. One is for texts that are not UTF-8.
MALFORMED = (msgspec.MsgspecError, UnicodeDecodeError)
# Of the reasons that decide how to go on; client-go looks at the reason first.
_CODES = {"Expired": 410, "Gone": 410, "InternalError": 500}

_O = TypeVar("_O")


class Event(Struct, Generic[_O], frozen=True):
    """An event of a watch: one of `CHANGES`, BOOKMARK or ERROR."""

    type: str
    object: _O


class Metadata(Struct, frozen=True, rename="camel", gc=False):
    """The part of an object's metadata that a watch is kept by."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    annotations: dict[str, str] = {}


class Head(Struct, frozen=True, gc=False):
    """The beginning of any object."""

    metadata: Metadata = Metadata()


class _ListMetadata(Struct, frozen=True, rename="camel"):
    resource_version: str | None = None
    continue_: str | None = field(default=None, name="continue")


class _Page(Struct, frozen=True):
    kind: str | None = None
    items: list[Raw] | None = None
    metadata: _ListMetadata | None = None


class Page(Struct, frozen=True):
    """A list, or one part of it: `next_page` asks for the next one, "" if it is the last."""

    items: list[Raw]
    version: str
    next_page: str


class _Cause(Struct, frozen=True):
    reason: str = ""


class _Details(Struct, frozen=True, rename="camel"):
    causes: list[_Cause] = []
    retry_after_seconds: int = 0


class Status(Struct, frozen=True):
    """Why the API server refuses something. `code` is that of HTTP, 0 if it is not known."""

    code: int = 0
    reason: str = ""
    message: str = ""
    details: _Details = _Details()

    def __str__(self) -> str:
        text = self.message or self.reason
        if len(text) > _SHOWN_CHARACTERS:
            text = f"{text[:_SHOWN_CHARACTERS]}..."
        return " ".join(filter(None, (str(self.code or ""), " ".join(text.split()))))


class Rejection(Struct, frozen=True, kw_only=True):
    """An object that cannot be accepted, and why. Its last good version stays in force."""

    kind: str
    metadata: Metadata
    problems: tuple[str, ...]

    @property
    def name(self) -> str:
        """Return what messages call the object, such as `Service shop/web`."""
        return object_name(self.kind, self.metadata.namespace, self.metadata.name)


_EVENT = decoder(Event[Raw])
_HEAD = decoder(Head)
_PAGE = decoder(_Page)
_STATUS = decoder(Status)


class Lines:
    """Cuts the bytes of a watch into lines, one for each event."""

    def __init__(self) -> None:
        self._rest = b""

    def take(self, chunk: bytes) -> list[bytes]:
        """Return the lines that are complete now. The rest waits for its end."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        return [line for line in lines if line.strip()]


@cache
def _watched(kind: str) -> tuple[msgspec.json.Decoder[Any], msgspec.json.Decoder[Any]]:
    """Return what decodes an event, and an object, of a kind at once. It refuses what is not
    quite as it should be.
    """
    found: Any = TYPES.get(kind, Raw)
    return decoder(Event[found]), decoder(found)


def events(kind: str, lines: list[bytes]) -> Iterator[Event[Raw] | Event[Watched]]:
    """Yield the events. Raises one of `MALFORMED` at the first line that is none.

    Most are read once, object and all; what is wrong with others is found part by part.
    """
    decode_event = _watched(kind)[0].decode
    for line in lines:
        try:
            event = decode_event(line)
            usual = event.type in CHANGES
        except MALFORMED:
            usual = False
        yield event if usual else _EVENT.decode(line)


def item(kind: str, data: Raw) -> Raw | Watched:
    """Return an item of a list, decoded if that is possible at once."""
    try:
        found: Raw | Watched = _watched(kind)[1].decode(data)
    except MALFORMED:
        return data
    return found


def head(data: Raw | bytes | Watched) -> Metadata:
    """Return the metadata of an object. Raises one of `MALFORMED` if it has none.

    Without annotations if the object is decoded.
    """
    if isinstance(data, Watched):
        found = data.metadata
        return Metadata(found.name, found.namespace, found.uid, found.resource_version)
    return _decoded(_HEAD, data).metadata


def page(body: bytes) -> Page:
    """Return a list. Raises one of `MALFORMED` if it is none."""
    found = _PAGE.decode(body)
    if not (found.kind or "").endswith("List"):  # which would else be taken for a list of nothing
        raise msgspec.ValidationError(f"its kind is {found.kind or 'missing'}")
    metadata = found.metadata or _ListMetadata()
    return Page(found.items or [], metadata.resource_version or "", metadata.continue_ or "")


def status(data: Raw | bytes, code: int = 0) -> Status:
    """Return an answer that refuses. If it does not say its code, that is `code`, or its reason's.

    A text that is no Status, such as that of a proxy on the way, becomes the message.
    """
    try:
        found = _decoded(_STATUS, data)
    except MALFORMED:
        found = Status(message=bytes(data)[:_SHOWN_CHARACTERS].decode("utf-8", "replace"))
    if found.code:
        return found
    return msgspec.structs.replace(found, code=code or _CODES.get(found.reason, 0))


def decode(kind: str, data: Raw | Watched, metadata: Metadata) -> KubernetesObject | Rejection:
    """Return an object as kube-proxy reads it, or why it cannot be accepted."""
    obj, problems = stored(kind, data)
    if problems:
        return Rejection(
            kind=kind, metadata=metadata, problems=tuple(each.at("") for each in problems)
        )
    return obj


def retry_after_s(text: str, now: datetime | None = None) -> float:
    """Return the seconds of a Retry-After header: a number, or a date. 0 if it is neither."""
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    from email.utils import parsedate_to_datetime

    try:
        at = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return 0.0
    if at.tzinfo is None:  # which HTTP does not allow, and its dates are of UTC
        at = at.replace(tzinfo=UTC)
    return max(0.0, (at - (now or datetime.now(UTC))).total_seconds())


def _decoded(decoder_: msgspec.json.Decoder[_O], data: Raw | bytes) -> _O:
    """Return JSON as a type. Nulls are looked for only where something is wrong."""
    try:
        return decoder_.decode(data)
    except msgspec.ValidationError:
        return decoder_.decode(msgspec.json.encode(without_null_fields(msgspec.json.decode(data))))
