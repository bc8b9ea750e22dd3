"""Schemas as data, and the documents of OpenAPI v3 that are made of them."""

from __future__ import annotations

import re
from typing import Any

import pytest
from msgspec.json import decode

from kproxy.apiserver.resources import GROUP_VERSIONS, RESOURCES
from kproxy.apiserver.schema_data import data, data_bytes, schema_of
from kproxy.apiserver.schemas import openapi_v3, openapi_v3_index

UNKNOWN_GROUPS = {"apiextensions.k8s.io/v1", "autoscaling/v1", "autoscaling/v2", "batch/v1"}
MOST_BYTES = 1_500_000
TYPE_META = {"apiVersion", "kind"}


@pytest.mark.parametrize("group_version", GROUP_VERSIONS)
def test_a_document_is_complete(group_version: str) -> None:
    text = openapi_v3(group_version)
    document = decode(text)
    schemas = document["components"]["schemas"]
    referred = set(re.findall(r'"#/components/schemas/([^"]+)"', text.decode()))
    assert referred <= schemas.keys()
    kinds = {
        (kind["group"], kind["kind"])
        for schema in schemas.values()
        for kind in schema.get("x-kubernetes-group-version-kind", ())
    }
    for each in RESOURCES:
        if each.api_version == group_version and group_version not in UNKNOWN_GROUPS:
            assert (each.group, each.kind) in kinds


@pytest.mark.parametrize(
    ("group_version", "path"),
    [
        ("v1", "/api/v1/namespaces/{namespace}/services/{name}"),
        ("v1", "/api/v1/nodes/{name}"),
        ("apps/v1", "/apis/apps/v1/namespaces/{namespace}/deployments/{name}"),
        ("apps/v1", "/apis/apps/v1/namespaces/{namespace}/deployments/{name}/scale"),
    ],
)
def test_kubectl_finds_the_parameters_that_it_asks_for(group_version: str, path: str) -> None:
    operation = decode(openapi_v3(group_version))["paths"][path]["patch"]
    names = {each["name"] for each in operation["parameters"]}
    assert {"dryRun", "fieldValidation", "fieldManager", "force"} <= names
    kind = operation["x-kubernetes-group-version-kind"]
    assert kind["kind"] == ("Scale" if path.endswith("scale") else kind["kind"])


def test_the_index_names_each_document() -> None:
    paths = openapi_v3_index(["v1", "apps/v1"])["paths"]
    assert [*paths] == ["api/v1", "apis/apps/v1"]
    urls = {each["serverRelativeURL"] for each in paths.values()}
    assert all(
        re.fullmatch(r"/openapi/v3/(api/v1|apis/apps/v1)\?hash=[0-9A-F]{128}", url) for url in urls
    )


def test_lookups_follow_references() -> None:
    spec = schema_of("", "v1", "Service").field("spec")
    ports = spec.field("ports")
    assert (ports.type, ports.list_type, ports.merge_key) == ("array", "map", "port")
    assert ports.list_keys == ["port", "protocol"]
    assert ports.items.default("protocol") == "TCP"
    assert ports.items.field("targetPort").type == "int-or-string"
    assert spec.field("selector").atomic_map
    assert (
        spec.field("sessionAffinityConfig").field("clientIP").field("timeoutSeconds").type
        == "integer"
    )
    strategy = schema_of("apps", "v1", "Deployment").field("spec").field("strategy")
    assert strategy.strategies == ["retainKeys"]
    assert strategy.field("rollingUpdate").field("maxSurge").type == "int-or-string"


def test_an_unknown_kind_has_no_schema_and_no_error() -> None:
    toy = schema_of("example.com", "v1", "Toy")
    assert toy.field("spec").field("ports").items.field("port").type == ""
    assert toy.open


def test_kinds_of_the_machinery_belong_to_every_group() -> None:
    assert schema_of("apps", "v1", "DeleteOptions").field("propagationPolicy").type == "string"


def test_the_data_are_small() -> None:
    assert sum(len(content) for _, content in data_bytes()) < MOST_BYTES


def test_both_sources_of_the_data_know_the_same_fields() -> None:
    messages = data("protobuf")

    def fields(name: str) -> set[str]:
        rows: list[Any] = messages[name]
        nested = [fields(row[2]) for row in rows if not row[1]]
        return {row[1] for row in rows if row[1]}.union(*nested)

    compared = 0
    for file, _ in data_bytes():
        for name, definition in data(file.removesuffix(".json.gz")).items():
            if name in messages and "properties" in definition:
                assert {*definition["properties"]} - TYPE_META == fields(name) - TYPE_META
                compared += 1
    assert compared > 300
