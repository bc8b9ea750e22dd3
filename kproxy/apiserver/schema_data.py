"""The schemas of the Kubernetes API, read from `data` when they are first asked for.

A definition is a schema in the form of OpenAPI v3 with Kubernetes' extensions, by a name such as
`io.k8s.api.core.v1.Service`. Kubernetes names packages after groups, so that is found by rule.
"""

from __future__ import annotations

from functools import cache, cached_property, lru_cache
from gzip import decompress
from importlib.resources import files
from typing import Any

from msgspec.json import decode

from kproxy.controlplane.plane import Json

META = "io.k8s.apimachinery.pkg.apis.meta.v1"
REFERENCE = "#/components/schemas/"
_DATA = files("kproxy.apiserver") / "data"


@cache
def data(name: str) -> Json:
    """Return the content of one file of `data`, or nothing if there is none. Not to be modified."""
    file = _DATA / f"{name}.json.gz"
    content: Json = decode(decompress(file.read_bytes())) if file.is_file() else {}
    return content


def data_bytes() -> list[tuple[str, bytes]]:
    """Return all files of `data`, compressed, in the order of their names."""
    found = [(file.name, file.read_bytes()) for file in _DATA.iterdir()]
    return sorted(each for each in found if each[0].endswith(".gz"))


def definition(name: str) -> Json | None:
    """Return the definition of this full name. Not to be modified."""
    found: Json | None = data(name.rpartition(".")[0]).get(name)
    return found


def definition_name(group: str, version: str, kind: str) -> str:
    """Return the full name of a kind's definition, or "" if the data have none.

    Kinds of the machinery, such as DeleteOptions, belong to every group.
    """
    package = f"io.k8s.api.{group.partition('.')[0] or 'core'}.{version}"
    for name in (f"{package}.{kind}", f"{META}.{kind}"):
        if definition(name) is not None:
            return name
    return ""


class Schema:
    """One node of a schema, with references followed. Unknown parts are `UNKNOWN`, never an error.

    `type` is the type in JSON: "object", "array", "string", "integer", "number", "boolean",
    "int-or-string", "quantity", or "" for a value of any type.
    """

    def __init__(self, json: Json, name: str = "") -> None:
        self._json = json
        self.name = name  # of its definition, or ""

    @cached_property
    def type(self) -> str:
        """Return the type in JSON, as above."""
        if "oneOf" in self._json:
            return "int-or-string" if "format" in self._json else "quantity"
        return str(self._json.get("type", ""))

    @cached_property
    def format(self) -> str:
        """Return `int32`, `int64`, `double`, `byte`, `date-time` or ""."""
        return str(self._json.get("format", ""))

    @cached_property
    def takes_text(self) -> bool:
        """Say whether any text is a value."""
        return (self.type == "string" and not self.format) or self.type == "int-or-string"

    @cached_property
    def fields(self) -> dict[str, Schema]:
        """Return the schemas of the fields that are known; a map or a scalar has none."""
        properties = self._json.get("properties", {})
        return {name: _resolved(schema) for name, schema in properties.items()}

    @cached_property
    def values(self) -> Schema | None:
        """Return the schema of a map's values, or None for what is no map."""
        values = self._json.get("additionalProperties")
        return _resolved(values) if isinstance(values, dict) else None

    @cached_property
    def items(self) -> Schema:
        """Return the schema of a list's items."""
        return _resolved(self._json.get("items", {}))

    def field(self, name: str) -> Schema:
        """Return the schema of a field, or of a map's value."""
        return self.fields.get(name) or self.values or UNKNOWN

    @property
    def open(self) -> bool:
        """Say whether an object may have any field: a map, or JSON of someone else."""
        return not self.fields

    @cached_property
    def list_type(self) -> str:
        """Return how server-side apply takes a list: "atomic", "set" or "map"."""
        return str(self._json.get("x-kubernetes-list-type", "atomic"))

    @cached_property
    def list_keys(self) -> list[str]:
        """Return the fields that tell the items of a list of type "map" apart."""
        return list(self._json.get("x-kubernetes-list-map-keys", ()))

    @cached_property
    def atomic_map(self) -> bool:
        """Say whether server-side apply takes an object as one value."""
        return self._json.get("x-kubernetes-map-type") == "atomic"

    @property
    def strategies(self) -> list[str]:
        """Return how a strategic merge patch takes a field: "merge", "replace", "retainKeys"."""
        return [
            each for each in self._json.get("x-kubernetes-patch-strategy", "").split(",") if each
        ]

    @property
    def merge_key(self) -> str:
        """Return the field by which a strategic merge patch tells items apart, or ""."""
        return str(self._json.get("x-kubernetes-patch-merge-key", ""))

    def default(self, name: str) -> Any:
        """Return a field's default value, or None."""
        return self._json.get("properties", {}).get(name, {}).get("default")


UNKNOWN = Schema({})


def _resolved(json: Json) -> Schema:
    references = [json, *json.get("allOf", ())]
    name = next((each["$ref"] for each in references if "$ref" in each), "")
    if not name:
        return Schema(json)
    own = {key: value for key, value in json.items() if key not in ("$ref", "allOf", "description")}
    full = name.removeprefix(REFERENCE)
    return Schema({**(definition(full) or {}), **own}, full) if own else _named(full)


@cache
def _named(name: str) -> Schema:
    return Schema(definition(name) or {}, name)


@lru_cache(maxsize=256)  # clients may ask for any kind
def schema_of(group: str, version: str, kind: str) -> Schema:
    """Return the schema of a kind, or `UNKNOWN`."""
    name = definition_name(group, version, kind)
    return _named(name) if name else UNKNOWN
