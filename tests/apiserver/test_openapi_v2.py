"""The OpenAPI v2 document, read as kubectl 1.20 reads it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from msgspec.json import decode

from kproxy.apiserver.openapi_v2 import CONTENT_TYPE, openapi_v2_protobuf
from kproxy.apiserver.protobuf import parts
from kproxy.apiserver.schemas import openapi_v3


def all_of(raw: bytes, *numbers: int) -> Iterator[bytes]:
    """Yield what stands at a path of field numbers."""
    for number, value in parts(raw):
        if number == numbers[0] and isinstance(value, bytes):
            if len(numbers) == 1:
                yield value
            else:
                yield from all_of(value, *numbers[1:])


def named(raw: bytes, *numbers: int) -> dict[str, bytes]:
    pairs = [dict(parts(each)) for each in all_of(raw, *numbers)]
    found = [(pair[1], pair[2]) for pair in pairs]
    return {
        name.decode(): value
        for name, value in found
        if isinstance(name, bytes) and isinstance(value, bytes)
    }


DOCUMENT = openapi_v2_protobuf()
DEFINITIONS = named(DOCUMENT, 9, 1)


def test_it_has_the_definitions_of_version_3() -> None:
    schemas = decode(openapi_v3("v1"))["components"]["schemas"]
    machinery = {"WatchEvent", "Patch", "Scale", "Eviction"}
    assert {name for name in schemas if name.rpartition(".")[2] in DEFINITIONS} <= {*DEFINITIONS}
    missing = {name for name in schemas if name not in DEFINITIONS}
    assert {name.rpartition(".")[2] for name in missing} <= {
        *machinery,
        *("RawExtension", "ScaleSpec", "ScaleStatus"),
    }


def test_a_definition() -> None:
    service = DEFINITIONS["io.k8s.api.core.v1.Service"]
    (extension,) = named(service, 31).values()
    (text,) = all_of(extension, 2)
    assert decode(text) == [{"group": "", "kind": "Service", "version": "v1"}]
    spec = named(service, 25, 1)["spec"]
    assert [*all_of(spec, 1)] == [b"#/definitions/io.k8s.api.core.v1.ServiceSpec"]
    ports = named(DEFINITIONS["io.k8s.api.core.v1.ServiceSpec"], 25, 1)["ports"]
    assert [*all_of(ports, 22, 1)] == [b"array"]
    assert [*all_of(ports, 23, 1, 1)] == [b"#/definitions/io.k8s.api.core.v1.ServicePort"]
    assert [*all_of(named(ports, 31)["x-kubernetes-patch-merge-key"], 2)] == [b'"port"\n']
    port = DEFINITIONS["io.k8s.api.core.v1.ServicePort"]
    assert [*all_of(port, 19)] == [b"port"]
    target = DEFINITIONS["io.k8s.apimachinery.pkg.util.intstr.IntOrString"]
    assert [*all_of(target, 2), *all_of(target, 22, 1)] == [b"int-or-string", b"string"]
    selector = named(DEFINITIONS["io.k8s.api.core.v1.ServiceSpec"], 25, 1)["selector"]
    assert [*all_of(selector, 21, 1, 22, 1)] == [b"string"]


def test_a_dry_run_is_offered() -> None:
    path = named(DOCUMENT, 8, 2)["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]
    (text,) = all_of(named(path, 8, 13)["x-kubernetes-group-version-kind"], 2)
    assert decode(text)["kind"] == "Deployment"
    assert b"dryRun" in [*all_of(path, 8, 8, 1, 2, 3, 4)]


def test_its_media_type_is_one() -> None:
    """kubectl 1.20 parses it, by the rules of RFC 2045; it asks for one that breaks them."""
    assert re.fullmatch(r"[\w.+-]+/[\w.+-]+", CONTENT_TYPE)
