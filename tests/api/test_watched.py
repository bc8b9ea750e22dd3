"""Objects of an API server: what no proxy reads of them takes no memory, and is no change."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from msgspec import Raw

from kproxy.api.typed_kinds import stored
from kproxy.api.types import EndpointSlice, KubernetesObject, Service
from kproxy.api.watched_types import TYPES

NAME = "kubernetes.io/service-name"
TRIGGER_TIME = "endpoints.kubernetes.io/last-change-trigger-time"


def slice_(
    labels: dict[str, str], annotations: dict[str, str], **fields: object
) -> KubernetesObject:
    metadata = {"labels": labels, "annotations": annotations}
    return _read({"kind": "EndpointSlice", "addressType": "IPv4", **fields}, metadata)


def service(labels: dict[str, str], annotations: dict[str, str]) -> KubernetesObject:
    spec = {"clusterIP": "10.96.0.10", "ports": [{"port": 80}], "selector": {"app": "web"}}
    return _read({"kind": "Service", "spec": spec}, {"labels": labels, "annotations": annotations})


def _read(obj: dict[str, Any], metadata: dict[str, Any]) -> KubernetesObject:
    named = {"name": "web", "namespace": "shop", **metadata}
    found, problems = stored(obj["kind"], Raw(json.dumps({**obj, "metadata": named}).encode()))
    assert not problems
    return found


def test_labels_and_annotations_that_are_read_are_kept() -> None:
    read = {NAME: "web", "service.kubernetes.io/headless": ""}
    found = slice_({**read, "app": "web"}, {TRIGGER_TIME: "2027-01-15T08:00:00Z", "note": "long"})
    assert found.metadata.labels == read
    assert found.metadata.annotations == {TRIGGER_TIME: "2027-01-15T08:00:00Z"}
    other_proxy = {"service.kubernetes.io/service-proxy-name": "mesh"}
    assert service({**other_proxy, "app": "web"}, {}).metadata.labels == other_proxy


def test_a_change_of_what_nobody_reads_is_none() -> None:
    assert slice_({NAME: "web", "app": "a"}, {}) == slice_({NAME: "web", "app": "b"}, {"x": "y"})
    assert service({"app": "a"}, {"x": "y"}) == service({"app": "b"}, {})


def test_what_most_objects_have_is_there_once() -> None:
    first, second = service({"app": "a"}, {}), service({}, {"x": "y"})
    assert first.metadata.labels is second.metadata.labels
    assert first.metadata.annotations is second.metadata.annotations
    assert first.metadata.namespace is slice_({}, {}).metadata.namespace


def test_equal_ports_are_there_once() -> None:
    services = service({}, {}), service({}, {})
    assert isinstance(services[0], Service)
    assert isinstance(services[1], Service)
    assert services[0].spec.ports is services[1].spec.ports
    slices = slice_({}, {}, ports=[{"port": 80}]), slice_({}, {}, ports=[{"port": 80}])
    assert isinstance(slices[0], EndpointSlice)
    assert isinstance(slices[1], EndpointSlice)
    assert slices[0].ports is slices[1].ports
    assert slices[0].ports[0].port == 80


def test_another_version_that_says_the_same_is_no_change() -> None:
    def version(number: str) -> dict[str, Any]:
        return {"labels": {}, "annotations": {}, "resourceVersion": number, "uid": f"u-{number}"}

    for obj in (
        {"kind": "Service", "spec": {"clusterIP": "10.96.0.10", "ports": [{"port": 80}]}},
        {"kind": "EndpointSlice", "addressType": "IPv4"},
    ):
        assert _read(obj, version("1")) == _read(obj, version("2"))


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize(
    "metadata",
    [{"name": "web", "namespace": "shop"}, {"name": "web"}, {"name": "Web!"}, {}],
    ids=["usual", "no namespace", "wrong name", "no name"],
)
def test_a_decoded_object_is_judged_as_its_json_is(kind: str, metadata: dict[str, str]) -> None:
    data = json.dumps(
        {
            "metadata": {**metadata, "resourceVersion": "7", "uid": "u"},
            "spec": {"clusterIP": "10.96.0.10", "ports": [{"port": 80}]},
            "addressType": "IPv4",
            "endpoints": [{"addresses": ["10.244.0.1"], "nodeName": "node-a"}],
        }
    ).encode()
    decoded = msgspec.json.decode(data, type=TYPES[kind])
    assert stored(kind, decoded) == stored(kind, Raw(data))
