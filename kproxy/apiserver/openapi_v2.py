"""The OpenAPI v2 document in protobuf: what kubectl before 1.27 reads instead of OpenAPI v3.

It validates, explains and merges by the definitions. `apply --dry-run=server` and `diff` look in
the paths for an operation `patch` of the kind with the parameter `dryRun`. So all definitions are
there, and of the paths these operations. Source: OpenAPIv2.proto of google/gnostic-models.
"""

from __future__ import annotations

from functools import cache

from msgspec.json import encode

from kproxy.apiserver.resources import RESOURCES
from kproxy.apiserver.schema_data import REFERENCE, definition_name
from kproxy.apiserver.schemas import VERSION, definitions_of, paths_of
from kproxy.controlplane.plane import Json

# Clients ask for `v2@v1.0`, but "@" is no character of a media type, and they parse this one.
CONTENT_TYPE = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
# Field numbers
_DOCUMENT = {"swagger": 1, "info": 2, "paths": 8, "definitions": 9}
_INFO = {"title": 1, "version": 2}
_PATH, _PATCH = 2, 8  # of Paths, of PathItem
_OPERATION = {"parameters": 8, "vendor_extension": 13}
_PARAMETER = {"in": 2, "name": 4, "type": 6}  # of QueryParameterSubSchema
_SCHEMA = {
    "$ref": 1,
    "format": 2,
    "description": 4,
    "required": 19,
    "additionalProperties": 21,
    "type": 22,
    "items": 23,
    "properties": 25,
    "vendor_extension": 31,
}


@cache
def openapi_v2_protobuf() -> bytes:
    """Return the answer to `/openapi/v2`: a gnostic `openapi.v2.Document` in protobuf."""
    names = {
        name
        for each in RESOURCES
        for kind in (each.kind, f"{each.kind}List", "DeleteOptions", "Status")
        if (name := definition_name(each.group, each.version, kind))
    }
    definitions = b"".join(
        _field(1, _named(name, _schema(schema))) for name, schema in definitions_of(names).items()
    )
    paths = b"".join(
        _field(_PATH, _named(path, _field(_PATCH, _operation(item["patch"]))))
        for each in RESOURCES
        for path, item in paths_of(each)
        if "patch" in item
    )
    info = _field(_INFO["title"], "Kubernetes") + _field(_INFO["version"], VERSION)
    return (
        _field(_DOCUMENT["swagger"], "2.0")
        + _field(_DOCUMENT["info"], info)
        + _field(_DOCUMENT["paths"], paths)
        + _field(_DOCUMENT["definitions"], definitions)
    )


def _operation(operation: Json) -> bytes:
    parameters = b"".join(
        _field(_OPERATION["parameters"], _parameter(each["name"], each["schema"]["type"]))
        for each in operation["parameters"]
    )
    return parameters + _extensions(operation, _OPERATION["vendor_extension"])


def _parameter(name: str, kind: str) -> bytes:
    stated = {"in": "query", "name": name, "type": kind}
    schema = b"".join(_field(_PARAMETER[key], value) for key, value in stated.items())
    # ParametersItem.parameter, Parameter.non_body_parameter, .query_parameter_sub_schema
    return _field(1, _field(2, _field(3, schema)))


def _schema(schema: Json) -> bytes:
    """Encode a schema; what OpenAPI v2 lacks is told as the API server tells it there."""
    made = b""
    reference = next((each["$ref"] for each in schema.get("allOf", ()) if "$ref" in each), None)
    if reference := reference or schema.get("$ref"):
        made += _field(_SCHEMA["$ref"], f"#/definitions/{reference.removeprefix(REFERENCE)}")
    for key in ("format", "description"):
        if key in schema:
            made += _field(_SCHEMA[key], schema[key])
    made += b"".join(_field(_SCHEMA["required"], name) for name in schema.get("required", ()))
    if isinstance(values := schema.get("additionalProperties"), dict):
        made += _field(_SCHEMA["additionalProperties"], _field(1, _schema(values)))
    kind = "string" if "oneOf" in schema else schema.get("type")
    if kind:
        made += _field(_SCHEMA["type"], _field(1, kind))
    if "items" in schema:
        made += _field(_SCHEMA["items"], _field(1, _schema(schema["items"])))
    if "properties" in schema:
        fields = schema["properties"].items()
        properties = b"".join(_field(1, _named(name, _schema(each))) for name, each in fields)
        made += _field(_SCHEMA["properties"], properties)
    return made + _extensions(schema, _SCHEMA["vendor_extension"])


def _extensions(of: Json, number: int) -> bytes:
    """Encode `x-` members as NamedAny, whose values are YAML."""
    return b"".join(
        _field(number, _named(name, _field(2, encode(value).decode() + "\n")))
        for name, value in of.items()
        if name.startswith("x-")
    )


def _named(name: str, value: bytes) -> bytes:
    return _field(1, name) + _field(2, value)


def _field(number: int, value: bytes | str) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(raw)) + raw


def _varint(value: int) -> bytes:
    made = bytearray()
    while value > 127:
        made.append(value & 127 | 128)
        value >>= 7
    made.append(value)
    return bytes(made)
