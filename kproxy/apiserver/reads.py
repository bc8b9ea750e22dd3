"""The verbs get, list and watch, from the read model.

Source: apiserver, pkg/endpoints/handlers/get.go and pkg/storage/cacher
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple

import msgspec
from msgspec.json import decode, encode

from kproxy.apiserver.conversion import told
from kproxy.apiserver.negotiation import JSON, Media, media
from kproxy.apiserver.read_model import Entry, ReadModel
from kproxy.apiserver.rendering import Rendering
from kproxy.apiserver.request import Answer, Request, Watch
from kproxy.apiserver.resources import Resource
from kproxy.apiserver.routes import Route
from kproxy.apiserver.selectors import Selection, selection
from kproxy.apiserver.status import Expired, bad_request, invalid_options, not_found
from kproxy.apiserver.watch import Watcher
from kproxy.controlplane.plane import Json, Refused
from kproxy.store import ObjectKey

_INCLUDES = ("", "None", "Metadata", "Object")
_TOKEN_EXPIRED = (
    "The provided continue parameter is too old to display a consistent list result. You can start"
    " a new list without the continue parameter, or use the continue token in this response to"
    " retrieve the remainder of the results. Continuing with the provided token results in an"
    " inconsistent list - objects that were created, modified, or deleted between the time the"
    " first chunk was returned and now may show up in the list."
)


class Token(NamedTuple):
    """Where a list goes on: after which object, as of which revision; -1 means as of now."""

    revision: int
    after: ObjectKey

    def __str__(self) -> str:
        return urlsafe_b64encode(encode(self)).decode().rstrip("=")


class Reader:
    """Answers reads; belongs to the thread of the read model."""

    def __init__(self, model: ReadModel, clock: Callable[[], datetime]) -> None:
        self._model = model
        self._clock = clock

    def get(self, request: Request, route: Route) -> Answer:
        """Return one object. Raises Refused."""
        resource = route.resource
        rendering = rendering_of(request, resource)
        if asked := version_of(request):
            self._model.check_version(asked)
        key = (resource.kind, route.namespace, route.name)
        entry = self._model.collection(resource.kind).objects.get(key)
        if entry is None:
            raise not_found(resource.group, resource.plural, route.name)
        body = rendering.entry(entry, self._clock())
        return Answer(200, body, rendering.media.content_type)

    def collection(self, request: Request, route: Route) -> Answer:
        """Return a collection, or a page of it. Raises Refused."""
        if request.parameter("sendInitialEvents"):
            message = "sendInitialEvents is forbidden for list"
            raise invalid_options("sendInitialEvents", message)
        rendering = rendering_of(request, route.resource)
        selected = selected_by(request, route)
        limit = _number(request, "limit")
        entries, revision, token = self._entries(request, route.resource)
        if token is not None:
            entries = [each for each in entries if each.key > token.after]
        if route.namespace:
            entries = [each for each in entries if each.key[1] == route.namespace]
        if selected:
            resource = route.resource
            entries = [each for each in entries if selected.matches(told(each.document, resource))]
        metadata: Json = {"resourceVersion": str(revision)}
        if limit and len(entries) > limit:
            left, entries = len(entries) - limit, entries[:limit]
            metadata["continue"] = str(Token(revision, entries[-1].key))
            if not selected:
                metadata["remainingItemCount"] = left
        body = rendering.many(entries, metadata, self._clock())
        return Answer(200, body, rendering.media.content_type)

    def selected(self, request: Request, route: Route) -> list[Entry]:
        """Return the objects that a request names by its selectors. Raises Refused."""
        chosen = selected_by(request, route)
        return [
            each
            for each in self._model.collection(route.resource.kind).in_order()
            if (not route.namespace or each.key[1] == route.namespace)
            and chosen.matches(told(each.document, route.resource))
        ]

    def watch(self, request: Request, route: Route) -> Watch:
        """Open a watch. Raises Refused for parameters that do not fit together."""
        match = request.parameter("resourceVersionMatch")
        initial = request.parameter("sendInitialEvents")
        if initial and match != "NotOlderThan":
            message = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
            raise invalid_options("resourceVersionMatch", message)
        if match and not initial:
            message = (
                "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
            )
            raise invalid_options("resourceVersionMatch", message)
        rendering = rendering_of(request, route.resource)
        selected = selected_by(request, route)
        watcher = Watcher(
            rendering,
            selected,
            route.namespace,
            bookmarks=request.flag("allowWatchBookmarks"),
            clock=self._clock,
        )
        timeout_s = _number(request, "timeoutSeconds") or None
        collection = self._model.collection(route.resource.kind)
        version = version_of(request)
        try:
            if version:
                self._model.check_version(version)
            if request.flag("sendInitialEvents"):
                watcher.follow(collection, collection.in_order(), (), self._model.revision)
            elif initial or version:
                watcher.follow(collection, (), collection.since(version) if version else ())
            else:
                watcher.follow(collection, collection.in_order())
        except Refused as refused:
            watcher.fail(refused)
        self._model.catch_up()  # what was written just before somebody watched has woken nobody
        return Watch(watcher, rendering.media.content_type, timeout_s)

    def _entries(
        self, request: Request, resource: Resource
    ) -> tuple[list[Entry], int, Token | None]:
        """Return the whole collection that a list asks for, its revision, and where to go on."""
        match = request.parameter("resourceVersionMatch")
        version, current = version_of(request), self._model.revision
        collection = self._model.collection(resource.kind)
        if text := request.parameter("continue"):
            if match:
                message = "resourceVersionMatch is forbidden when continue is provided"
                raise invalid_options("resourceVersionMatch", message)
            token = _token(text, resource)
            if version:
                message = "specifying resource version is not allowed when using continue"
                raise bad_request(message)
            if token.revision < 0:
                return collection.in_order(), current, token
            try:
                return collection.at(token.revision), token.revision, token
            except Expired:
                fresh = str(token._replace(revision=-1))
                raise Expired(_TOKEN_EXPIRED, fresh=fresh) from None
        if match and match not in ("Exact", "NotOlderThan"):
            raise invalid_options(
                "resourceVersionMatch",
                f'supported values: "Exact", "NotOlderThan", "": {match}',
                "FieldValueNotSupported",
            )
        if match and not request.parameter("resourceVersion"):
            message = "resourceVersionMatch is forbidden unless resourceVersion is provided"
            raise invalid_options("resourceVersionMatch", message)
        if match == "Exact" and not version:
            message = 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"'
            raise invalid_options("resourceVersionMatch", message)
        if version:
            self._model.check_version(version)
        if match == "Exact":
            return self._model.at(resource.kind, version), version, None
        return collection.in_order(), current, None


def selected_by(request: Request, route: Route) -> Selection:
    """Return what a request selects; a name in its path, too. Raises Refused."""
    fields = request.parameter("fieldSelector")
    if route.name:
        fields = f"metadata.name={route.name}"
    return selection(route.resource, request.parameter("labelSelector"), fields)


def rendering_of(request: Request, resource: Resource) -> Rendering:
    """Return how a client wants to see objects. Raises Refused (400, 406)."""
    include = request.parameter("includeObject")
    if include not in _INCLUDES:
        raise bad_request(f"unknown includeObject value: {include!r}")
    return Rendering(resource, asked_media(request), include or "Metadata")


def asked_media(request: Request) -> Media:
    """Return the form of answer that a client asks for. Raises Refused (406)."""
    return media(request.headers.get("accept", JSON))


def version_of(request: Request) -> int:
    """Return the version that a request names, 0 for none. Raises Refused (400)."""
    text = request.parameter("resourceVersion")
    if not text:
        return 0
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise invalid_options("resourceVersion", f'"{text}": strconv.ParseUint: parsing', "Invalid")
    return int(text)


def _number(request: Request, name: str) -> int:
    text = request.parameter(name, "0") or "0"
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 18):
        raise bad_request(f'strconv.ParseInt: parsing "{text[:100]}": invalid syntax')
    return max(0, int(text))


def _token(text: str, resource: Resource) -> Token:
    try:
        padded = text + "=" * (-len(text) % 4)
        token = decode(urlsafe_b64decode(padded), type=Token)
    except (ValueError, msgspec.DecodeError) as problem:
        raise bad_request(f"continue key is not valid: {problem}") from None
    if token.after[0] != resource.kind:
        raise bad_request("continue key is not valid: it is that of another resource")
    return token
