"""Paths, read: each names a resource, one of its objects, or a part of that.

/api/v1/namespaces/NS/RESOURCE/NAME/SUBRESOURCE, /apis/GROUP/VERSION/...
"""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import unquote

from kproxy.apiserver.resources import BY_PATH, Resource, Subresource
from kproxy.apiserver.status import no_resource


class Route(NamedTuple):
    """`namespace` is "" for all of them, or if there are none; `name` "" for the collection."""

    resource: Resource
    namespace: str = ""
    name: str = ""
    subresource: Subresource | None = None
    watch: bool = False  # by the older form of path: /api/v1/watch/...


def segments_of(path: str) -> list[str]:
    """Return the parts of a path, decoded; empty ones are left out."""
    return [unquote(each) for each in path.split("/") if each]


def route(segments: list[str]) -> Route:
    """Read a path below /api or /apis. Raises Refused (404)."""
    if segments[0] == "api":
        api_version, rest = "/".join(segments[1:2]), segments[2:]
    else:
        api_version, rest = "/".join(segments[1:3]), segments[3:]
    watch = rest[:1] == ["watch"]
    if watch:
        rest = rest[1:]
    namespace = ""
    is_namespaced = rest[:1] == ["namespaces"] and len(rest) > 2
    if is_namespaced and (api_version != "v1" or rest[2] != "status"):
        namespace, rest = rest[1], rest[2:]
    if not rest or len(rest) > 3:
        raise no_resource()
    resource = BY_PATH.get((api_version, rest[0]))
    if resource is None:
        raise no_resource(f"{rest[0]} of {api_version}")
    if namespace and not resource.namespaced:
        raise no_resource()
    name, part = ([*rest[1:], "", ""])[:2]
    if name and resource.namespaced and not namespace:
        raise no_resource()
    subresource = resource.subresource(part) if part else None
    if part and subresource is None:
        raise no_resource(f"{resource.plural}/{part} of {api_version}")
    return Route(resource, namespace, name, subresource, watch)
