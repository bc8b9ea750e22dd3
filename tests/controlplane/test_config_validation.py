"""ConfigMaps and Secrets, and names that are no DNS names: what the API server refuses."""

from __future__ import annotations

from typing import Any

import pytest

from kproxy.controlplane.plane import Json, Refused
from tests.controlplane.api import WORKLOAD, Api, document

KEY = "a valid config key must consist of alphanumeric characters"
FIXED = "field is immutable when `immutable` is set"
TLS = "kubernetes.io/tls"
BASIC = "kubernetes.io/basic-auth"
LABEL = "a lowercase RFC 1123 label must consist of"
REFUSED = [  # kind, parts -> causes: fields with the beginnings of their messages
    ("ConfigMap", {"data": {"a/b": ""}}, {"data[a/b]": f'Invalid value: "a/b": {KEY}'}),
    ("ConfigMap", {"binaryData": {"..": ""}}, {"binaryData[..]": 'Invalid value: "..": must not'}),
    (
        *("ConfigMap", {"data": {"a": ""}, "binaryData": {"a": ""}}),
        {"data[a]": 'Invalid value: "a": duplicate of key present in binaryData'},
    ),
    ("ConfigMap", {"data": {"a": "x" * (2**20 + 1)}}, {"[]": "Too long: may not be more than"}),
    ("Secret", {"stringData": {"x y": ""}}, {"data[x y]": f'Invalid value: "x y": {KEY}'}),
    (
        *("Secret", {"type": TLS}),
        {"data[tls.crt]": "Required value", "data[tls.key]": "Required value"},
    ),
    (
        *("Secret", {"type": BASIC, "data": {}}),
        {"data[username]": "Required value", "data[password]": "Required value"},
    ),
    (
        *("Secret", {"type": "kubernetes.io/ssh-auth", "data": {"ssh-privatekey": ""}}),
        {"data[ssh-privatekey]": "Required value"},
    ),
    (
        *("Secret", {"type": "kubernetes.io/service-account-token"}),
        {"metadata.annotations[kubernetes.io/service-account.name]": "Required value"},
    ),
    (
        *("Namespace", {"metadata": {"name": "a.b"}}),
        {"metadata.name": 'Invalid value: "a.b": must not contain dots'},
    ),
    (
        *("StatefulSet", {"metadata": {"name": "Db"}, "spec": WORKLOAD}),
        {"metadata.name": f'Invalid value: "Db": {LABEL}'},
    ),
]


@pytest.mark.parametrize(("kind", "parts", "causes"), REFUSED)
def test_what_is_refused(kind: str, parts: dict[str, Any], causes: dict[str, str]) -> None:
    with pytest.raises(Refused) as refused:
        Api().verbs.create(document(kind, **parts))
    assert refused.value.status == 422
    found = {each.field: each.message for each in refused.value.causes}
    assert found.keys() == causes.keys()
    assert all(found[field].startswith(told) for field, told in causes.items()), found


@pytest.mark.parametrize(
    ("kind", "parts"),
    [
        ("ConfigMap", {"data": {"a.b_C-1": "x", ".hidden": ""}, "binaryData": {"b": "eA=="}}),
        ("Secret", {"type": TLS, "stringData": {"tls.crt": "a"}, "data": {"tls.key": ""}}),
        ("Secret", {"type": BASIC, "stringData": {"username": "a"}}),
        ("Secret", {"type": "example.com/own"}),
        ("ConfigMap", {"metadata": {"name": "a.b"}}),
    ],
)
def test_what_is_accepted(kind: str, parts: dict[str, Any]) -> None:
    Api().verbs.create(document(kind, **parts))


CHANGES: list[tuple[Json, dict[str, str]]] = [
    ({"data": {"a": "eA=="}}, {"data": f"Forbidden: {FIXED}"}),
    ({"immutable": False}, {"immutable": f"Forbidden: {FIXED}"}),
    ({"type": "other"}, {"type": 'Invalid value: "other": field is immutable'}),
    ({"stringData": {"a": "b"}}, {"data": f"Forbidden: {FIXED}"}),
]


@pytest.mark.parametrize(("change", "causes"), CHANGES)
def test_what_is_immutable_stays(change: Json, causes: dict[str, str]) -> None:
    api = Api()
    stored, _ = api.verbs.create(document("Secret", immutable=True, data={"a": ""}))
    with pytest.raises(Refused) as refused:
        api.verbs.update({**stored, **change})
    assert {each.field: each.message for each in refused.value.causes} == causes
    labelled = {**stored, "metadata": {**stored["metadata"], "labels": {"a": "b"}}}
    assert api.verbs.update(labelled)[0]["metadata"]["labels"] == {"a": "b"}
