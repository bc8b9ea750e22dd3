"""The API: every request is answered here, from paths and credentials to objects."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from msgspec.json import encode

from kproxy.apiserver import reviews, schemas
from kproxy.apiserver.bodies import body_document, completed
from kproxy.apiserver.discovery import discovery, version
from kproxy.apiserver.negotiation import JSON
from kproxy.apiserver.openapi_v2 import CONTENT_TYPE, openapi_v2_protobuf
from kproxy.apiserver.read_model import ReadModel
from kproxy.apiserver.reads import Reader, rendering_of
from kproxy.apiserver.request import ANONYMOUS, Answer, Outcome, Request, Upgrade, Watch, Work
from kproxy.apiserver.resources import RESOURCES
from kproxy.apiserver.routes import Route, route, segments_of
from kproxy.apiserver.scales import scale_of
from kproxy.apiserver.status import UNAUTHORIZED, no_resource, not_allowed, not_found, refusal
from kproxy.apiserver.warning_headers import of_refusal, of_resource, warning_headers
from kproxy.apiserver.writes import Writer, is_scale
from kproxy.controlplane.plane import Plane, Refused

_HEALTH = ("healthz", "livez", "readyz")
_OPEN = (*_HEALTH, "version")  # to everybody
_SMALL_BYTES = 16 << 10
_STREAMS = ("attach", "exec", "log", "portforward")
_WRITES = ("create", "update", "patch")


class ApiServer:
    """Answers requests about the objects of a control plane.

    It belongs to one thread but for what it returns as Work, which another one may run.
    """

    def __init__(
        self,
        plane: Plane,
        *,
        clock: Callable[[], datetime],
        address: str = "",
        wake: Callable[[], None] = lambda: None,
        identify: reviews.Identify = lambda _: None,
    ) -> None:
        """`clock` returns the time with its zone, `address` is what discovery tells of itself.
        `identify` tells whose a token is, None if it is nobody's.

        `wake` is called in any thread when `catch_up` should be.
        """
        self._plane = plane
        self._address = address
        self._model = ReadModel(plane, wake)
        self._reader = Reader(self._model, clock)
        self._writer = Writer(plane, clock)
        self._clock = clock
        self._identify = identify

    @property
    def revision(self) -> int:
        """Return the revision that reads are answered with."""
        return self._model.revision

    def catch_up(self) -> None:
        """Take in what was written, and tell watchers."""
        self._model.catch_up()

    def close(self) -> None:
        """Take in no more of what is written; nobody asks any longer."""
        self._model.close()

    def admits(self, request: Request) -> bool:
        """Tell whether whoever asks may have an answer; the body need not be known yet."""
        if request.user == ANONYMOUS:
            segments = segments_of(request.path)
            return bool(segments) and segments[0] in _OPEN
        return request.user is not None

    def handle(self, request: Request) -> Outcome:
        """Answer a request, or return what is to be done for the answer. Does not raise Refused."""
        self._model.catch_up()
        try:
            return self._handled(request)
        except Refused as refused:
            return refusal(refused)

    def _handled(self, request: Request) -> Outcome:
        if not self.admits(request):
            raise UNAUTHORIZED
        segments = segments_of(request.path)
        first = segments[0] if segments else ""
        match first:
            case "healthz" | "livez" | "readyz":
                return Answer(200, b"ok", "text/plain; charset=utf-8")
            case "version":
                return Answer(200, encode(version()))
            case "openapi":
                return _openapi(request, segments[1:])
            case "api" | "apis":
                return self._api(request, segments)
            case "":
                paths = ("/api", "/api/v1", "/apis", *(f"/{each}" for each in _HEALTH))
                return Answer(200, encode({"paths": [*paths, "/openapi/v3"]}))
        return _NO_PAGE

    def _api(self, request: Request, segments: list[str]) -> Outcome:
        if len(segments) <= (2 if segments[0] == "api" else 3):
            if request.method not in ("GET", "HEAD"):
                raise not_allowed()
            return discovery(request, segments, self._address)
        found = route(segments)
        outcome = self._resource(request, found)
        warnings = of_resource(found.resource)
        return _warned(outcome, warnings) if warnings else outcome

    def _resource(self, request: Request, found: Route) -> Outcome:
        resource, part = found.resource, found.subresource
        verb = _verb(request, found)
        if resource.absent and verb in _WRITES:
            refused = Refused(resource.absent, status=405, reason="MethodNotAllowed")
            return refusal(refused)._replace(headers=warning_headers(of_refusal(resource)))
        if verb not in (part.verbs if part else resource.verbs):
            raise not_allowed()
        if resource.kind in reviews.KINDS:
            return self._review(request, found)
        if part and part.name in _STREAMS:
            return self._stream(request, found)
        match verb:
            case "get" if is_scale(found):
                return self._scale(request, found)
            case "get":
                return self._reader.get(request, found)
            case "list":
                return self._reader.collection(request, found)
            case "watch":
                return self._reader.watch(request, found)
            case "deletecollection":
                entries = self._reader.selected(request, found)
                return _work(lambda: self._writer.delete_many(request, found, entries))
        is_small = len(request.body) <= _SMALL_BYTES
        return _work(lambda: self._write(verb, request, found), is_small=is_small)

    def _write(self, verb: str, request: Request, found: Route) -> Answer:
        if found.subresource and found.subresource.name == "eviction":
            return self._writer.evict(request, found)
        match verb:
            case "create":
                return self._writer.create(request, found)
            case "update":
                return self._writer.update(request, found)
            case "patch":
                return self._writer.patch(request, found)
        return self._writer.delete(request, found)

    def _review(self, request: Request, found: Route) -> Answer:
        document = completed(body_document(request), found)
        user = request.user or ANONYMOUS
        made = reviews.review(document, user, self._plane.now(), self._identify)
        rendering = rendering_of(request, found.resource)
        return Answer(201, rendering.document(made, self._clock()), rendering.media.content_type)

    def _scale(self, request: Request, found: Route) -> Answer:
        rendering = rendering_of(request, found.resource)
        key = (found.resource.kind, found.namespace, found.name)
        entry = self._model.collection(key[0]).objects.get(key)
        if entry is None:
            raise not_found(found.resource.group, found.resource.plural, found.name)
        body = rendering.document(scale_of(entry.document), self._clock())
        return Answer(200, body, rendering.media.content_type)

    def _stream(self, request: Request, found: Route) -> Upgrade:
        key = (found.resource.kind, found.namespace, found.name)
        if key not in self._model.collection(key[0]).objects:
            raise not_found(found.resource.group, found.resource.plural, found.name)
        assert found.subresource is not None
        return Upgrade(found.subresource.name, key, request.query)


_NO_PAGE = Answer(404, b"404 page not found\n", "text/plain; charset=utf-8")


def _verb(request: Request, found: Route) -> str:
    match request.method:
        case "GET" | "HEAD":
            watch = found.watch or request.flag("watch")
            if watch and found.subresource is None:
                return "watch"
            return "get" if found.name else "list"
        case "POST":
            return "create" if bool(found.name) == bool(found.subresource) else ""
        case "PUT" if found.name:
            return "update"
        case "PATCH" if found.name:
            return "patch"
        case "DELETE":
            return "delete" if found.name else "deletecollection"
    return ""


def _work(run: Callable[[], Answer], *, is_small: bool = False) -> Work:
    def answered() -> Answer:
        try:
            return run()
        except Refused as refused:
            return refusal(refused)

    return Work(answered, is_small)


def _warned(outcome: Outcome, warnings: tuple[str, ...]) -> Outcome:
    more = warning_headers(warnings)
    match outcome:
        case Answer() | Watch():
            kept = tuple(each for each in outcome.headers if each not in more)
            return outcome._replace(headers=kept + more)
        case Work():

            def run() -> Answer:
                answer = outcome.run()
                kept = tuple(each for each in answer.headers if each not in more)
                return answer._replace(headers=kept + more)

            return outcome._replace(run=run)
    return outcome


def _openapi(request: Request, segments: list[str]) -> Answer:
    match segments:
        case ["v3"]:
            return Answer(200, encode(schemas.openapi_v3_index()))
        case ["v3", ("api" | "apis") as root, *rest]:
            group_version = "/".join(rest)
            known = {each.api_version for each in RESOURCES}
            if group_version not in known or ("/" in group_version) is (root == "api"):
                raise no_resource()
            # Its address has a hash of it: a client may keep it for ever.
            headers = (
                (("Cache-Control", "public, max-age=31536000, immutable"),)
                if request.parameter("hash")
                else ()
            )
            return Answer(200, schemas.openapi_v3(group_version), JSON, headers)
        case ["v2"]:
            return Answer(200, openapi_v2_protobuf(), CONTENT_TYPE)
    raise no_resource()
