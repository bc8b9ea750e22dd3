"""The verbs that write: create, update, patch, delete. They run one after the other.

Source: apiserver, pkg/endpoints/handlers and pkg/registry/generic/registry/store.go
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import NamedTuple

from msgspec.json import encode

from kproxy.apiserver.bodies import (
    body_document,
    completed,
    content_type,
    ink,
    without_nulls,
)
from kproxy.apiserver.conversion import stored, told
from kproxy.apiserver.managed_fields import updated
from kproxy.apiserver.negotiation import JSON
from kproxy.apiserver.patches import fields_twice, keys_twice, patch_of
from kproxy.apiserver.read_model import Entry
from kproxy.apiserver.reads import rendering_of
from kproxy.apiserver.rendering import Rendering
from kproxy.apiserver.request import Answer, Request
from kproxy.apiserver.routes import Route
from kproxy.apiserver.scales import check_scale, scale_of, scaled, workload_of
from kproxy.apiserver.server_side_apply import applied
from kproxy.apiserver.status import bad_request, not_found, success
from kproxy.apiserver.strategic_merge import go_text
from kproxy.apiserver.validation import (
    WriteOptions,
    check_propagation,
    checked,
    dry_run,
    force_without_apply,
    no_manager,
    refuse_patched,
    write_options,
)
from kproxy.apiserver.warning_headers import warning_headers
from kproxy.controlplane.document_defaults import decoded
from kproxy.controlplane.plane import DeleteOptions, Json, Plane, Refused
from kproxy.controlplane.refusals import conflict
from kproxy.store import ObjectKey

_TRIES = 5  # of a patch that others overtake
_RETURNED = ("Namespace", "Node", "Pod", "Service", "ServiceAccount")  # told when deleted
_EVICTIONS = (None, "", "policy/v1", "policy/v1beta1")  # their API versions
_NUMBER = re.compile("-?[0-9]{1,9}")
_HAS_A_VERSION = "resourceVersion should not be set on objects to be created"


class Stored(NamedTuple):
    """A document as a write has stored it, with warnings; `status` is the code of HTTP."""

    document: Json
    warnings: tuple[str, ...] = ()
    status: int = 200


class Writer:
    """Carries out writes; one at a time, so that they are stored in the order they came."""

    def __init__(self, plane: Plane, clock: Callable[[], datetime]) -> None:
        self._plane = plane
        self._clock = clock

    def create(self, request: Request, route: Route) -> Answer:
        """Store a new object. Raises Refused, as all verbs do."""
        rendering = rendering_of(request, route.resource)
        options = write_options(request)
        document, warnings = self._received(request, route, options)
        is_stored = not options.dry_run  # only then does a real server's storage look at it
        if is_stored and document["metadata"].get("resourceVersion") not in (None, "", "0"):
            raise Refused(_HAS_A_VERSION, status=500, reason="")
        return self._told(rendering, self._create(document, options, warnings, route))

    def update(self, request: Request, route: Route) -> Answer:
        """Replace an object, its status or its scale."""
        rendering = rendering_of(request, route.resource)
        options = write_options(request)
        if is_scale(route):
            scale = body_document(request)
            return self._scale(request, route, options, lambda _former: scale)
        document, warnings = self._received(request, route, options)
        former = self._former(route)
        version = document["metadata"].get("resourceVersion") or ""
        document = self._managed(former, document, options, route)
        changed = self._update(document, options, warnings, route, version)
        return self._told(rendering, changed)

    def patch(self, request: Request, route: Route) -> Answer:
        """Change a part of an object, its status or its scale; an apply creates it if need be."""
        rendering = rendering_of(request, route.resource)
        options = write_options(request)
        patch = patch_of(request, _kind(route))
        if patch.applied is None and request.parameter("force"):
            raise force_without_apply()
        if is_scale(route):
            if patch.applied is None:
                return self._scale(request, route, options, patch.change)
            wanted = workload_of(patch.applied, route.name)
            kept = self._apply(request, route, wanted, options)
            return self._told_scale(request, route, kept)
        if patch.applied is not None:
            return self._told(rendering, self._apply(request, route, patch.applied, options))

        twice = () if options.validation == "Ignore" else fields_twice(request)

        def change(former: Json) -> tuple[Json, str]:
            view = told(former, route.resource)
            made = patch.change(view)
            shown = encode(made).decode() if patch.shown is None else go_text(patch.shown)
            refuse_patched(made, shown, options, route.resource, twice)
            return made, _insisted(made, view)

        kept = self._retried(route, options, change, self._managed)
        return self._told(rendering, kept._replace(warnings=twice + kept.warnings))

    def delete(self, request: Request, route: Route) -> Answer:
        """Delete an object."""
        resource = route.resource
        rendering = rendering_of(request, resource)
        options = delete_options(request)
        key = (resource.kind, route.namespace, route.name)
        gone = self._plane.delete(key, options)
        metadata = gone["metadata"]
        if "deletionTimestamp" in metadata or resource.kind in _RETURNED:
            return self._told(rendering, Stored(gone))
        uid = metadata.get("uid", "")
        said = success(resource.plural, resource.group, route.name, uid)
        return Answer(200, encode(said))

    def delete_many(self, request: Request, route: Route, entries: Sequence[Entry]) -> Answer:
        """Delete these objects of a collection; the answer is a list of them."""
        resource = route.resource
        rendering = rendering_of(request, resource)
        options = delete_options(request)
        gone = []
        for entry in entries:
            try:
                document = self._plane.delete(entry.key, options)
            except Refused as refused:
                if refused.status != 404:  # somebody else was faster
                    raise
                continue
            gone.append(Entry(entry.key, document, entry.revision))
        body = rendering.many(gone, {}, self._clock())
        return Answer(200, body, rendering.media.content_type)

    def evict(self, request: Request, route: Route) -> Answer:
        """Delete a Pod by its subresource eviction; there are no budgets to respect."""
        eviction = body_document(request)
        named = eviction.get("kind") or "Eviction"
        if named != "Eviction" or eviction.get("apiVersion") not in _EVICTIONS:
            raise bad_request(f"not a Eviction object: {eviction.get('apiVersion')} {named}")
        metadata, deletion = eviction.get("metadata"), eviction.get("deleteOptions")
        if not isinstance(metadata, dict) or not isinstance(deletion, dict | None):
            raise bad_request("invalid Eviction: metadata and deleteOptions are objects")
        if metadata.get("name") != route.name:
            raise bad_request("name in URL does not match name in Eviction object")
        options = _deletion(deletion or {}, request)
        self._plane.delete((route.resource.kind, route.namespace, route.name), options)
        status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
        return Answer(201, encode({**status, "code": 201}))

    def _received(
        self, request: Request, route: Route, options: WriteOptions
    ) -> tuple[Json, tuple[str, ...]]:
        given = body_document(request)
        # Text that is as short as the object's own has no field twice, and need not be read again.
        is_short = content_type(request) != JSON or ink(encode(given)) == ink(request.body)
        text = b"" if is_short else request.body
        if b"null" in request.body or content_type(request) != JSON:
            given = without_nulls(given)
        return checked(completed(given, route), options, route.resource, text)

    def _create(
        self, document: Json, options: WriteOptions, warnings: tuple[str, ...], route: Route
    ) -> Stored:
        made = self._managed(None, document, options, route)
        kept, more = self._plane.create(stored(made), dry_run=options.dry_run)
        return Stored(kept, warnings + more, 201)

    def _update(
        self,
        document: Json,
        options: WriteOptions,
        warnings: tuple[str, ...],
        route: Route,
        version: str,
    ) -> Stored:
        kept, more = self._plane.update(
            stored(document),
            version=version,
            subresource="status" if _part(route) == "status" else "",
            dry_run=options.dry_run,
        )
        return Stored(kept, warnings + more)

    def _retried(
        self,
        route: Route,
        options: WriteOptions,
        change: Callable[[Json], tuple[Json, str]],
        managed: Callable[[Json | None, Json, WriteOptions, Route], Json],
    ) -> Stored:
        """Update an object with what `change` makes of it, again if somebody is faster.

        Its second value is a version that a client insists on, or "". `managed` notes who did it.
        """
        for attempt in range(_TRIES):
            former = self._former(route)
            changed, insisted = change(former)
            document, warnings = checked(
                completed(without_nulls(changed), route), options, route.resource
            )
            document = managed(former, document, options, route)
            version = insisted or former["metadata"]["resourceVersion"]
            try:
                return self._update(document, options, warnings, route, version)
            except Refused as refused:
                if refused.reason != "Conflict" or insisted or attempt + 1 == _TRIES:
                    raise
        raise AssertionError("a try returns or raises")

    def _apply(self, request: Request, route: Route, wanted: Json, options: WriteOptions) -> Stored:
        if not request.parameter("fieldManager"):
            raise no_manager()
        key: ObjectKey = (route.resource.kind, route.namespace, route.name)
        is_there = self._plane.get(key) is not None
        document = completed(_named(wanted, route.name) if is_there else wanted, route)
        twice = () if options.validation == "Ignore" else fields_twice(request)

        def change(former: Json | None) -> Json:
            made = applied(
                former and told(former, route.resource),
                document,
                manager=options.manager,
                force=options.force,
                now=self._plane.now(),
                subresource=_part(route),
            )
            if twice and options.validation == "Strict":
                raise keys_twice(twice)
            return made

        if not is_there:
            if route.subresource:
                raise not_found(route.resource.group, route.resource.plural, route.name)
            if uid := document["metadata"].get("uid"):
                why = f"the provided object specified uid {uid}, and no existing object was found"
                raise conflict(key, f"uid mismatch: {why}")
            new, warnings = self._plane.create(stored(change(None)), dry_run=options.dry_run)
            return Stored(new, twice + warnings, 201)
        insisted = document["metadata"].get("resourceVersion") or ""
        kept = self._retried(route, options, lambda former: (change(former), insisted), _as_it_is)
        return kept._replace(warnings=twice + kept.warnings)

    def _scale(
        self,
        request: Request,
        route: Route,
        options: WriteOptions,
        change: Callable[[Json], Json],
    ) -> Answer:
        def changed(former: Json) -> tuple[Json, str]:
            scale = scale_of(former)
            made = change(scale)
            check_scale(made, route)
            return scaled(former, made), _insisted(made, scale)

        kept = self._retried(route, options, changed, self._managed)
        return self._told_scale(request, route, kept)

    def _told_scale(self, request: Request, route: Route, kept: Stored) -> Answer:
        rendering = rendering_of(request, route.resource)
        body = rendering.document(scale_of(kept.document), self._clock())
        return Answer(200, body, rendering.media.content_type)

    def _former(self, route: Route) -> Json:
        resource = route.resource
        key: ObjectKey = (resource.kind, route.namespace, route.name)
        former = self._plane.get(key)
        if former is None:
            raise not_found(resource.group, resource.plural, route.name)
        return former

    def _managed(
        self, former: Json | None, document: Json, options: WriteOptions, route: Route
    ) -> Json:
        """Return a document that says who has changed which of its fields, and when. The defaults
        of what somebody has left out are theirs, too.
        """
        found = updated(
            former and told(former, route.resource),
            decoded(document),
            manager=options.manager,
            now=self._plane.now(),
            subresource=_part(route),
        )
        return {**document, "metadata": found["metadata"]}

    def _told(self, rendering: Rendering, kept: Stored) -> Answer:
        document = told(kept.document, rendering.resource)
        body = rendering.document(document, self._clock())
        headers = warning_headers(kept.warnings)
        return Answer(kept.status, body, rendering.media.content_type, headers)


def _insisted(made: Json, former: Json) -> str:
    """Return the version that a changed object states, "" if none or that of the former one."""
    asked = (made.get("metadata") or {}).get("resourceVersion") or ""
    return "" if asked == former["metadata"].get("resourceVersion") else str(asked)


def _named(wanted: Json, name: str) -> Json:
    """Return what is applied to an object with its name, which need not be stated again."""
    metadata = wanted.get("metadata") or {}
    if not isinstance(metadata, dict) or metadata.get("name"):
        return wanted
    return {**wanted, "metadata": {**metadata, "name": name}}


def _kind(route: Route) -> tuple[str, str, str]:
    """Return group, version and kind of what a route is about."""
    part, resource = route.subresource, route.resource
    if part is not None and part.kind:
        return part.group, part.version, part.kind
    return resource.group, resource.version, resource.kind


def _as_it_is(_former: Json | None, document: Json, _options: WriteOptions, _route: Route) -> Json:
    return document


def _part(route: Route) -> str:
    return route.subresource.name if route.subresource else ""


def is_scale(route: Route) -> bool:
    return _part(route) == "scale"


def delete_options(request: Request) -> DeleteOptions:
    """Read how to delete from the body or, without one, the query. Raises Refused (400, 422)."""
    return _deletion(body_document(request) if request.body else {}, request)


def _deletion(body: Json, request: Request) -> DeleteOptions:
    if problem := _options_problem(body):
        raise bad_request(f"invalid DeleteOptions: {problem}")
    conditions = body.get("preconditions") or {}
    policy = body.get("propagationPolicy") or request.parameter("propagationPolicy")
    orphan = body.get("orphanDependents")
    if orphan is None and request.parameter("orphanDependents"):
        orphan = request.flag("orphanDependents")
    check_propagation(policy, orphan)
    grace = body.get("gracePeriodSeconds")
    if grace is None and (text := request.parameter("gracePeriodSeconds")):
        grace = int(text) if _NUMBER.fullmatch(text) else text
    if not isinstance(grace, int | None):
        raise bad_request("invalid DeleteOptions: gracePeriodSeconds is no number")
    dry = dry_run(request, "DeleteOptions", body.get("dryRun") or ())
    return DeleteOptions(
        propagation=policy or ("Orphan" if orphan else "Background"),
        grace_s=1 if grace is not None and grace < 0 else grace,
        uid=conditions.get("uid") or "",
        version=conditions.get("resourceVersion") or "",
        dry_run=dry,
    )


def _options_problem(body: Json) -> str:
    """Return what of DeleteOptions is of another type than it should be, or ""."""
    conditions, dry = body.get("preconditions") or {}, body.get("dryRun") or []
    if not isinstance(conditions, dict):
        return "preconditions is no object"
    for field in ("uid", "resourceVersion"):
        if not isinstance(conditions.get(field), str | None):
            return f"preconditions.{field} is no string"
    if not isinstance(body.get("propagationPolicy"), str | None):
        return "propagationPolicy is no string"
    if not isinstance(dry, list) or not all(isinstance(each, str) for each in dry):
        return "dryRun is no list of strings"
    return ""
