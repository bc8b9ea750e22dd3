"""Server-side apply states the type and the fields of an object, each once."""

from __future__ import annotations

import pytest
from msgspec.json import encode

from kproxy.controlplane.plane import Json
from tests.apiserver.asking import SERVICES, Api, service

APPLY = "application/apply-patch+yaml"
ABOUT = {"apiVersion": "v1", "kind": "Service"}
UNTYPED = [  # apiVersion and kind of what is applied to a Service -> as the refusal shows them
    ({"kind": "Service"}, "/, Kind=Service"),
    ({"apiVersion": "v1"}, "/v1, Kind="),
    ({"apiVersion": "v1", "kind": "Secret"}, "/v1, Kind=Secret"),
    ({"apiVersion": "apps/v1", "kind": "Service"}, "apps/v1, Kind=Service"),
    ({"apiVersion": 5, "kind": "Service"}, "/, Kind=Service"),
]


@pytest.mark.parametrize(("about", "shown"), UNTYPED)
def test_what_is_applied_states_its_type(about: Json, shown: str) -> None:
    api = Api(service("web"))
    body = {**about, "metadata": {"name": "web"}}
    refused = api.answer("PATCH", f"{SERVICES}/web?fieldManager=me", body, content_type=APPLY)
    assert (refused.status, refused.body["message"]) == (400, f"invalid object type: {shown}")


def test_only_what_an_apply_creates_needs_its_name() -> None:
    api = Api(service("web"))
    body = {**ABOUT, "spec": {"type": "NodePort", "ports": [{"port": 80}]}}
    query = {"fieldManager": "me", "force": "true"}
    web = api.answer("PATCH", f"{SERVICES}/web", body, content_type=APPLY, query=query)
    assert web.status == 200, web.body
    assert web.body["spec"]["type"] == "NodePort"
    for method, content_type in (("PATCH", APPLY), ("PUT", "application/json")):
        new = api.answer(method, f"{SERVICES}/new", body, content_type=content_type, query=query)
        assert (new.status, new.body["message"]) == (400, NAMELESS)


NAMELESS = "the name of the object (new based on URL) was undeterminable: name must be provided"
YAML = b"""apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  ports: [{port: 80}]
  type: NodePort
  type: ClusterIP
kind: Service
"""
TOLD = ['line 7: key "type" already set in map', 'line 8: key "kind" already set in map']
JSON = b"""{"apiVersion": "v1", "kind": "Service",


"metadata": {"name": "web"}, "spec": {
"ports": [{"port": 80}],
"type": "NodePort",
"type": "ClusterIP"},
"kind": "Service"}"""
TWICE = "error strict decoding YAML: error converting YAML to JSON: yaml: unmarshal errors:\n  "


@pytest.mark.parametrize("text", [YAML, JSON])
def test_a_key_that_an_apply_has_twice(text: bytes) -> None:
    """As in Kubernetes' test/integration/apiserver/field_validation_test.go."""
    api = Api()
    path, query = f"{SERVICES}/web", {"fieldManager": "me", "fieldValidation": "Strict"}
    refused = api.answer("PATCH", path, text, content_type=APPLY, query=query)
    assert (refused.status, refused.body["message"]) == (400, TWICE + "\n  ".join(TOLD))
    assert api.get(path).status == 404
    for status in (201, 200):
        made = api.answer("PATCH", path, text, content_type=APPLY, fieldManager="me")
        assert (made.status, made.body["spec"]["type"]) == (status, "ClusterIP")
        assert made.warnings == [f"299 - {encode(each).decode()}" for each in TOLD]
    query["fieldValidation"] = "Ignore"
    assert not api.answer("PATCH", path, text, content_type=APPLY, query=query).warnings
