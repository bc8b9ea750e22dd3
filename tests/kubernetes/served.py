"""A collection of Services as an API server keeps it: versions, watches, pages. Without HTTP."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

Json = dict[str, Any]


class Answer(NamedTuple):
    """The answer to a request: a status, and all that a watch brings before it ends."""

    code: int
    body: bytes
    headers: Mapping[str, str] = {}


class Served:
    """Services by name, each with a version. Events before `compacted` are forgotten."""

    def __init__(self, *names: str, watch_lists: str = "supported") -> None:
        """`watch_lists`: supported, refused (422) or failing (an ERROR event, as with etcd 3.4)."""
        self.watch_lists = watch_lists
        self.version = 100
        self.compacted = 0
        self.objects: dict[str, Json] = {}
        self.events: list[tuple[int, Json]] = []
        self.pages: dict[str, tuple[int, list[Json]]] = {}
        for name in names:
            self.put(name)

    def put(self, name: str, port: int = 80, **spec: Any) -> None:
        """Create or change a Service."""
        kind = "MODIFIED" if name in self.objects else "ADDED"
        self.version += 1
        self.objects[name] = service(name, self.version, port, **spec)
        self.events.append((self.version, {"type": kind, "object": self.objects[name]}))

    def remove(self, name: str) -> None:
        self.version += 1
        gone = service(name, self.version)
        del self.objects[name]
        self.events.append((self.version, {"type": "DELETED", "object": gone}))

    def compact(self) -> None:
        """Forget all events and pages so far, as a restarted API server does."""
        self.compacted = self.version
        self.pages.clear()

    def answer(self, query: Mapping[str, str]) -> Answer:
        """Answer a request as of now: what a watch would wait for is not in it."""
        if "watch" not in query:
            return self._list(query)
        if "sendInitialEvents" in query:
            return self._watch_list(query)
        since = int(query["resourceVersion"])
        if since < self.compacted:
            return Answer(200, lines(expired()))
        return Answer(200, lines(*(event for version, event in self.events if version > since)))

    def bookmark(self, **annotations: str) -> Json:
        metadata = {"resourceVersion": str(self.version), "annotations": annotations}
        return {"type": "BOOKMARK", "object": {"kind": "Service", "metadata": metadata}}

    def _watch_list(self, query: Mapping[str, str]) -> Answer:
        if self.watch_lists == "refused":
            return Answer(422, json.dumps(status(422, "Invalid", "sendInitialEvents: no")).encode())
        if self.watch_lists == "failing":
            error = status(500, "InternalError", "RequestWatchProgress is disabled")
            return Answer(200, lines({"type": "ERROR", "object": error}))
        assert query["resourceVersionMatch"] == "NotOlderThan"
        assert query["allowWatchBookmarks"] == "true"
        added = ({"type": "ADDED", "object": each} for each in self.objects.values())
        end = self.bookmark(**{"k8s.io/initial-events-end": "true"})
        return Answer(200, lines(*added, end))

    def _list(self, query: Mapping[str, str]) -> Answer:
        if token := query.get("continue"):
            if token not in self.pages:
                return Answer(410, json.dumps(status(410, "Expired", "continue: too old")).encode())
            version, items = self.pages.pop(token)
        else:
            version, items = self.version, [*self.objects.values()]
        size = int(query.get("limit", len(items) or 1))
        metadata: Json = {"resourceVersion": str(version)}
        if rest := items[size:]:
            metadata["continue"] = f"{version}-{len(rest)}"
            self.pages[metadata["continue"]] = (version, rest)
        body = {"kind": "ServiceList", "metadata": metadata, "items": items[:size]}
        return Answer(200, json.dumps(body).encode())


def service(name: str, version: int, port: int = 80, **spec: Any) -> Json:
    return {
        "kind": "Service",
        "metadata": {
            "name": name,
            "namespace": "shop",
            "uid": f"uid-{name}",
            "resourceVersion": str(version),
            "managedFields": [{"manager": "kubectl", "fieldsV1": {"f:spec": {}}}],
        },
        "spec": {"clusterIP": "10.96.0.9", "ports": [{"port": port}], **spec},
    }


def status(code: int, reason: str, message: str, **details: Any) -> Json:
    return {
        "kind": "Status",
        "status": "Failure",
        "code": code,
        "reason": reason,
        "message": message,
        "details": details,
    }


def expired() -> Json:
    return {"type": "ERROR", "object": status(410, "Expired", "too old resource version: 5 (554)")}


def lines(*events: Json) -> bytes:
    return b"".join(json.dumps(each).encode() + b"\n" for each in events)
