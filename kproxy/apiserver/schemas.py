"""The OpenAPI v3 documents of the API: an index, and a document for each group version.

`kubectl explain` reads the schemas, and finds the kind of a resource by its path. `apply`, `create`
and `diff` look for the parameters `fieldValidation` and `dryRun` of an operation that bears a kind.
Source: kube-openapi, and the documents of the API server.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from hashlib import sha512

from msgspec.json import encode

from kproxy.apiserver.resources import GROUP_VERSIONS, RESOURCES, Resource
from kproxy.apiserver.schema_data import (
    META,
    REFERENCE,
    data_bytes,
    definition,
    definition_name,
)
from kproxy.controlplane.plane import Json

VERSION = "v1.37.1"
JSON_TYPE = "application/json"
PROTOBUF_TYPE = "application/vnd.kubernetes.protobuf"
PATCH_TYPES = (
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
)
_INTEGERS = ("limit", "timeoutSeconds", "gracePeriodSeconds")
_BOOLEANS = ("watch", "allowWatchBookmarks", "sendInitialEvents", "orphanDependents", "force")
_LIST = (
    *("allowWatchBookmarks", "continue", "fieldSelector", "labelSelector", "limit"),
    *("resourceVersion", "resourceVersionMatch", "sendInitialEvents", "timeoutSeconds", "watch"),
)
_DELETE = ("dryRun", "gracePeriodSeconds", "orphanDependents", "propagationPolicy")
_WRITE = ("dryRun", "fieldManager", "fieldValidation")
_METHODS = {  # verb on one object or a collection: method, action, parameters
    "list": ("get", "list", _LIST),
    "create": ("post", "post", _WRITE),
    "deletecollection": ("delete", "deletecollection", (*_LIST[1:-1], *_DELETE)),
    "get": ("get", "get", ()),
    "update": ("put", "put", _WRITE),
    "patch": ("patch", "patch", (*_WRITE, "force")),
    "delete": ("delete", "delete", _DELETE),
}
_COLLECTION = ("list", "create", "deletecollection")


def openapi_v3_index(group_versions: Iterable[str] = GROUP_VERSIONS) -> Json:
    """Return the answer to `/openapi/v3`: for each group version the URL of its document."""
    return {
        "paths": {
            _root(each): {"serverRelativeURL": f"/openapi/v3/{_root(each)}?hash={_digest(each)}"}
            for each in group_versions
        }
    }


@cache
def openapi_v3(group_version: str) -> bytes:
    """Return the document of a group version such as `v1` or `apps/v1`, in JSON.

    It has the paths of all its resources, and every schema that they refer to.
    """
    served = [each for each in RESOURCES if each.api_version == group_version]
    paths = {path: item for each in served for path, item in paths_of(each)}
    kinds = {
        definition_name(each.group, each.version, kind)
        for each in served
        for kind in (each.kind, f"{each.kind}List")
    }
    kinds |= {
        definition_name(part.group, part.version, part.kind)
        for each in served
        for part in each.subresources
        if part.version
    }
    machinery = {f"{META}.{kind}" for kind in ("DeleteOptions", "Status", "WatchEvent", "Patch")}
    return encode(
        {
            "openapi": "3.0.0",
            "info": {"title": "Kubernetes", "version": VERSION},
            "paths": dict(sorted(paths.items())),
            "components": {"schemas": definitions_of(kinds | machinery)},
        }
    )


def definitions_of(names: Iterable[str]) -> dict[str, Json]:
    """Return these definitions and all that they refer to, by their full names in order."""
    found: dict[str, Json] = {}
    waiting = [*names]
    while waiting:
        name = waiting.pop()
        if name not in found and (one := definition(name)) is not None:
            found[name] = one
            waiting += _references(one)
    return dict(sorted(found.items()))


def _references(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for key, each in value.items():
            if key == "$ref" and isinstance(each, str):
                yield each.removeprefix(REFERENCE)
            else:
                yield from _references(each)
    elif isinstance(value, list):
        for each in value:
            yield from _references(each)


def _root(group_version: str) -> str:
    return f"apis/{group_version}" if "/" in group_version else f"api/{group_version}"


@cache
def _data_digest() -> bytes:
    digest = sha512(VERSION.encode())
    for name, content in data_bytes():
        digest.update(name.encode() + content)
    return digest.digest()


@cache
def _digest(group_version: str) -> str:
    """Hash of what the document is made of: clients keep a document as long as it stays."""
    served = encode([each for each in RESOURCES if each.api_version == group_version])
    return sha512(_data_digest() + served).hexdigest().upper()


def paths_of(resource: Resource) -> Iterator[tuple[str, Json]]:
    """Return the paths of a resource with their operations, in the form of OpenAPI v3."""
    root = f"/{_root(resource.api_version)}"
    within = f"{root}/namespaces/{{namespace}}" if resource.namespaced else root
    collection = f"{within}/{resource.plural}"
    one = f"{collection}/{{name}}"
    kind = (resource.group, resource.version, resource.kind)
    verbs = [verb for verb in resource.verbs if verb in _COLLECTION]
    if resource.namespaced and "list" in verbs:
        yield f"{root}/{resource.plural}", _item(resource, kind, ["list"], ())
    scope = ("namespace",) if resource.namespaced else ()
    yield collection, _item(resource, kind, verbs, scope)
    verbs = [verb for verb in resource.verbs if verb in _METHODS and verb not in _COLLECTION]
    if verbs:
        yield one, _item(resource, kind, verbs, ("name", *scope))
    for part in resource.subresources:
        kind = (
            (part.group, part.version, part.kind)
            if part.version
            else (resource.group, resource.version, part.kind or resource.kind)
        )
        item = _item(resource, kind, part.verbs, ("name", *scope), part.name)
        yield f"{one}/{part.name}", item


def _item(
    resource: Resource,
    kind: tuple[str, str, str],
    verbs: Iterable[str],
    in_path: tuple[str, ...],
    part: str = "",
) -> Json:
    operations = {
        _METHODS[verb][0]: _operation(resource, kind, verb, in_path, part) for verb in verbs
    }
    named = [_parameter(name, "path") for name in in_path]
    return {**operations, "parameters": [*named, _parameter("pretty", "query")]}


def _operation(
    resource: Resource, kind: tuple[str, str, str], verb: str, in_path: tuple[str, ...], part: str
) -> Json:
    _, action, parameters = _METHODS[verb]
    group, version, name = kind
    answer = f"{name}List" if verb == "list" else name
    if verb in ("delete", "deletecollection"):
        answer = "Status"
    # As the API server names them: listCoreV1NamespacedService
    title = (resource.group.partition(".")[0] or "core").capitalize() + version.capitalize()
    scope = "Namespaced" if "namespace" in in_path else ""
    word = {"get": "read", "post": "create", "put": "replace"}.get(action, action)
    operation: Json = {
        "operationId": f"{word}{title}{scope}{resource.kind}{part.capitalize()}",
        "tags": [f"{title[: -len(version)].lower()}_{version}"],
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": {"group": group, "version": version, "kind": name},
        "parameters": [_parameter(each, "query") for each in parameters],
        "responses": {
            "200": {"description": "OK", "content": _content((JSON_TYPE,), _name(kind, answer))},
            "401": {"description": "Unauthorized"},
        },
    }
    if verb in ("create", "update"):
        body = _content((JSON_TYPE, PROTOBUF_TYPE), _name(kind, name))
    elif verb == "patch":
        body = _content(PATCH_TYPES, f"{META}.Patch")
    elif verb in ("delete", "deletecollection"):
        body = _content((JSON_TYPE, PROTOBUF_TYPE), f"{META}.DeleteOptions")
    else:
        return operation
    return {**operation, "requestBody": {"content": body}}


def _name(kind: tuple[str, str, str], answer: str) -> str:
    return definition_name(kind[0], kind[1], answer)


def _content(types: Iterable[str], name: str) -> Json:
    schema = {"$ref": REFERENCE + name} if name else {"type": "object"}
    return {each: {"schema": schema} for each in types}


def _parameter(name: str, where: str) -> Json:
    kind = "integer" if name in _INTEGERS else "boolean" if name in _BOOLEANS else "string"
    one = {"name": name, "in": where, "schema": {"type": kind, "uniqueItems": True}}
    return {**one, "required": True} if where == "path" else one
