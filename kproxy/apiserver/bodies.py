"""Bodies of requests: JSON, YAML or protobuf, and what every object has to say about itself.

Source: apiserver, pkg/endpoints/handlers/create.go, update.go and rest.go
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec.json import decode, encode

from kproxy.api.depth import is_deep
from kproxy.api.go import quoted
from kproxy.api.yaml_documents import documents
from kproxy.apiserver.negotiation import JSON, PROTOBUF, YAML
from kproxy.apiserver.protobuf import decoded
from kproxy.apiserver.request import Request
from kproxy.apiserver.resources import Resource
from kproxy.apiserver.routes import Route
from kproxy.apiserver.status import bad_request
from kproxy.controlplane.plane import Json, Refused

MOST_BYTES = 3 << 20  # of a body, as the API server takes


def content_type(request: Request) -> str:
    """Return the media type of a request's body without parameters; JSON if it says none."""
    told = request.headers.get("content-type", JSON).partition(";")[0].strip().lower()
    return told or JSON


def too_large() -> Refused:
    message = f"Request entity too large: limit is {MOST_BYTES}"
    return Refused(message, status=413, reason="RequestEntityTooLarge")


def unsupported(accepted: tuple[str, ...]) -> Refused:
    return Refused(
        "the body of the request was in an unknown format - accepted media types include: "
        + ", ".join(accepted),
        status=415,
        reason="UnsupportedMediaType",
    )


def body_document(request: Request) -> Json:
    """Return the object in the body of a request. Raises Refused (400, 413, 415)."""
    match content_type(request):
        case "application/json":
            value = json_value(request.body)
        case "application/yaml" | "application/yml":
            value = yaml_value(request.body)
        case "application/vnd.kubernetes.protobuf":
            value = decoded(request.body)
        case _:
            raise unsupported((JSON, YAML, PROTOBUF))
    if not isinstance(value, dict):
        raise bad_request("the object provided is unrecognized: it is not an object")
    return value


def json_value(body: bytes) -> Any:
    """Return the value of a JSON text. Raises Refused (400, 413)."""
    text = _text(body)
    if is_deep(text):
        raise bad_request("the object provided is unrecognized: it is nested too deeply")
    try:
        return decode(text)
    except msgspec.DecodeError as problem:
        raise bad_request(f"the object provided is unrecognized: {problem}") from None


def yaml_value(body: bytes) -> Any:
    """Return the value of a YAML text of one document. Raises Refused (400, 413)."""
    text = _text(body)
    if text.lstrip().startswith("{") and not is_deep(text):
        try:
            return decode(text)  # clients send JSON under the name of YAML
        except msgspec.DecodeError:
            pass
    found = list(documents(text))
    if len(found) != 1:
        raise bad_request("error converting YAML to JSON: one document is expected")
    if found[0].problems:
        raise bad_request(f"error converting YAML to JSON: {found[0].problems[0].at('')}")
    return found[0].value


def keys_set_twice(body: bytes) -> tuple[str, ...]:
    """Return the words of the server's YAML decoder for keys that a mapping has twice."""
    text = _text(body)
    if text.lstrip().startswith("{") and not is_deep(text):
        try:
            if ink(encode(decode(text))) == ink(body):
                return ()
        except msgspec.DecodeError:
            pass
    found = [each for document in documents(text) for each in document.repeated]
    return tuple(
        f"line {each.line}: key {quoted(each.field.rpartition('.')[2])} already set in map"
        for each in found
    )


def ink(text: bytes) -> int:
    """Return the length of a text without white space: that of JSON whose fields are there once
    is that of the value written again.
    """
    return len(text.translate(None, b" \t\r\n"))


def _text(body: bytes) -> str:
    if len(body) > MOST_BYTES:
        raise too_large()
    try:
        return body.decode()
    except UnicodeDecodeError:
        raise bad_request("the object provided is unrecognized: it is not UTF-8") from None


def completed(document: Json, route: Route) -> Json:
    """Return an object as its path completes it: kind, API version, namespace, name.

    Raises Refused (400) if both disagree.
    """
    resource = route.resource
    kind, version = document.get("kind") or resource.kind, document.get("apiVersion")
    if version and version != resource.api_version:
        raise bad_request(
            f"the API version in the data ({version}) does not match the expected API version"
            f" ({resource.api_version})"
        )
    if kind != resource.kind:
        raise _cannot_be(document.get("kind"), resource, "unknown conversion")
    given = document.get("metadata")
    metadata = {} if given is None else given
    if not isinstance(metadata, dict):
        raise _cannot_be(kind, resource, "json: metadata is not an object")
    for field in ("name", "namespace", "generateName", "resourceVersion", "uid"):
        if not isinstance(metadata.get(field, ""), str | None):
            raise _cannot_be(kind, resource, f"json: metadata.{field} is not a string")
    for field in ("labels", "annotations"):
        if not isinstance(metadata.get(field) or {}, dict):
            raise _cannot_be(kind, resource, f"json: metadata.{field} is not an object")
    metadata = dict(metadata)
    metadata["name"] = agreed_name(metadata.get("name") or "", route)
    namespace = metadata.pop("namespace", "") or ""
    if resource.namespaced:
        check_namespace(namespace, route)
        metadata["namespace"] = route.namespace
    about = {"kind": resource.kind, "apiVersion": resource.api_version}
    rest = {key: value for key, value in document.items() if key not in (*about, "metadata")}
    return {**about, "metadata": metadata, **rest}


def check_namespace(namespace: str, route: Route) -> None:
    """Raise Refused (400) if an object states another namespace than its path."""
    if namespace and namespace != route.namespace:
        raise bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )


def without_nulls(value: Any) -> Any:
    """Return a value without nulls, which the API server reads as if they were not there."""
    if isinstance(value, dict):
        return {key: without_nulls(each) for key, each in value.items() if each is not None}
    if isinstance(value, list):
        return [without_nulls(each) for each in value if each is not None]
    return value


def agreed_name(name: str, route: Route) -> str:
    """Return the name of an object, which its path may state as well. Raises Refused (400)."""
    if not route.name:
        return name
    if not name:
        raise bad_request(
            f"the name of the object ({route.name} based on URL) was undeterminable: name must be"
            " provided"
        )
    if name != route.name:
        raise bad_request(
            f"the name of the object ({name}) does not match the name on the URL ({route.name})"
        )
    return name


def _cannot_be(kind: Any, resource: Resource, why: str) -> Refused:
    shown = kind if isinstance(kind, str) else resource.kind
    return bad_request(
        f"{shown} in version {quoted(resource.version)} cannot be handled as a {resource.kind}:"
        f" {why}"
    )
