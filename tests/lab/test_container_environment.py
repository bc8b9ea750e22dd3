"""The environment of a container, from its Pod's document and what it refers to."""

from __future__ import annotations

from base64 import b64encode

import pytest

from kproxy.controlplane.plane import Json
from kproxy.errors import BadInput
from kproxy.lab.pods.environment import environment
from kproxy.store import ObjectKey

POD: Json = {
    "metadata": {
        "name": "web",
        "namespace": "prod",
        "uid": "u-1",
        "labels": {"app": "web", "a.b/c": "d"},
    },
    "spec": {"nodeName": "node-a"},
    "status": {"podIP": "10.244.1.2", "podIPs": [{"ip": "10.244.1.2"}, {"ip": "fd00::2"}]},
}
DOCUMENTS: dict[ObjectKey, Json] = {
    ("ConfigMap", "prod", "settings"): {"data": {"color": "green", "size": "3"}},
    ("Secret", "prod", "keys"): {"data": {"token": b64encode(b"s3same").decode()}},
}


def variables(*env: Json, sources: tuple[Json, ...] = ()) -> dict[str, str]:
    container = {"name": "c", "env": list(env), "envFrom": list(sources)}
    return environment(POD, container, {"PATH": "/bin"}, DOCUMENTS.get)


def source(**source: Json) -> Json:
    return {"name": "X", "valueFrom": source}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("metadata.name", "web"),
        ("metadata.namespace", "prod"),
        ("metadata.uid", "u-1"),
        ("spec.nodeName", "node-a"),
        ("status.podIP", "10.244.1.2"),
        ("status.podIPs", "10.244.1.2,fd00::2"),
        ("metadata.labels['a.b/c']", "d"),
        ("metadata.labels", 'a.b/c="d"\napp="web"'),
        ("metadata.annotations['none']", ""),
        ("spec.serviceAccountName", ""),
    ],
)
def test_fields_of_the_pod(path: str, value: str) -> None:
    assert variables(source(fieldRef={"fieldPath": path}))["X"] == value


def test_values_refer_to_those_before() -> None:
    found = variables(
        {"name": "A", "value": "1"},
        {"name": "B", "value": "$(A)2 $(PATH) $(C) $$(A) $"},
        {"name": "C"},
    )
    assert found == {"PATH": "/bin", "A": "1", "B": "12 /bin $(C) $(A) $", "C": ""}


def test_config_maps_and_secrets() -> None:
    found = variables(
        source(secretKeyRef={"name": "keys", "key": "token"}),
        {"name": "color", "value": "red"},
        sources=({"configMapRef": {"name": "settings"}, "prefix": ""},),
    )
    assert found == {"PATH": "/bin", "color": "red", "size": "3", "X": "s3same"}


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ({"configMapKeyRef": {"name": "none", "key": "k"}}, 'configmap "none" not found'),
        (
            {"configMapKeyRef": {"name": "settings", "key": "k"}},
            "couldn't find key k in ConfigMap prod/settings",
        ),
        ({"secretKeyRef": {"name": "none", "key": "k"}}, 'secret "none" not found'),
    ],
)
def test_what_is_missing_is_an_error_unless_it_is_optional(reference: Json, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        variables(source(**reference))
    ((kind, wanted),) = reference.items()
    assert variables(source(**{kind: {**wanted, "optional": True}})) == {"PATH": "/bin"}
