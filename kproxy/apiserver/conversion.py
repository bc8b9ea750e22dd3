"""Kinds that are served in two versions: stored in one, told in the other.

Only events are so. Source: Kubernetes, pkg/apis/core and pkg/apis/events, conversion of Event
"""

from __future__ import annotations

from kproxy.apiserver.resources import STORED_VERSIONS, Resource
from kproxy.controlplane.plane import Json

_NEW_NAMES = {  # of a field in v1 -> in events.k8s.io/v1
    "involvedObject": "regarding",
    "message": "note",
    "source": "deprecatedSource",
    "firstTimestamp": "deprecatedFirstTimestamp",
    "lastTimestamp": "deprecatedLastTimestamp",
    "count": "deprecatedCount",
    "reportingComponent": "reportingController",
}
_OLD_NAMES = {new: old for old, new in _NEW_NAMES.items()}


def told(document: Json, resource: Resource) -> Json:
    """Return a stored document as a resource tells it."""
    if resource.api_version == document["apiVersion"] or document["kind"] != "Event":
        return document
    names = _NEW_NAMES if resource.group == "events.k8s.io" else _OLD_NAMES
    return _renamed(document, names, resource.api_version)


def stored(document: Json) -> Json:
    """Return a client's document in the version that is stored."""
    version = str(STORED_VERSIONS.get(document["kind"]) or document["apiVersion"])
    if document["apiVersion"] == version:
        return document
    return _renamed(document, _OLD_NAMES, version)


def _renamed(document: Json, names: dict[str, str], version: str) -> Json:
    renamed = {names.get(field, field): value for field, value in document.items()}
    return renamed | {"apiVersion": version}
