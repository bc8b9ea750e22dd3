"""Events have the words and fields of kube-proxy's, and fit what an API server accepts."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kproxy.kubernetes import events
from kproxy.kubernetes.events import Event, Regarding

AT_NS = 1_767_323_045_678_901_234
NODE = {"kind": "Node", "name": "node-a", "apiVersion": "v1"}
WEB = {"kind": "Service", "namespace": "shop", "name": "web", "apiVersion": "v1"}
BROKEN = Regarding(
    kind="Service",
    namespace="shop",
    name="web",
    uid="b5f8",
    api_version="v1",
    resource_version="77",
)

EVENTS: list[tuple[Event, str, str, str, dict[str, str], str | None]] = [
    # event, type, reason, action, regarding, note
    (events.starting("node-a"), "Normal", "Starting", "StartKubeProxy", NODE, None),
    (
        events.health_server_failed("node-a", "address in use"),
        "Warning",
        "FailedToStartProxierHealthcheck",
        "StartKubeProxy",
        NODE,
        "address in use",
    ),
    (
        events.metrics_server_failed("node-a", "address in use"),
        "Warning",
        "FailedToStartMetricServer",
        "StartKubeProxy",
        NODE,
        "address in use",
    ),
    (
        events.service_health_server_failed("node-a", "shop", "web", 30100, "address in use"),
        "Warning",
        "FailedToStartServiceHealthcheck",
        "Listen",
        WEB,
        'node node-a failed to start healthcheck "shop/web" on port 30100: address in use',
    ),
    (
        events.invalid_object(BROKEN, "node-a", "spec.clusterIP: not an address"),
        "Warning",
        "InvalidObject",
        "SyncService",
        WEB | {"uid": "b5f8", "resourceVersion": "77"},
        "node node-a keeps what it had of it: spec.clusterIP: not an address",
    ),
]


@pytest.mark.parametrize(("event", "kind", "reason", "action", "regarding", "note"), EVENTS)
def test_an_event(
    event: Event, kind: str, reason: str, action: str, regarding: dict[str, str], note: str | None
) -> None:
    namespace = regarding.get("namespace", "default")
    assert events.path(event) == f"/apis/events.k8s.io/v1/namespaces/{namespace}/events"
    assert decoded(event) == {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": f"{regarding['name']}.1886caf2450d67f2", "namespace": namespace},
        "eventTime": "2026-01-02T03:04:05.678901Z",
        "reportingController": "kube-proxy",
        "reportingInstance": "kube-proxy-host-1",
        "action": action,
        "reason": reason,
        "regarding": regarding,
        "type": kind,
    } | ({"note": note} if note else {})


def decoded(event: Event) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(events.body(event, "host-1", AT_NS))
    return document


def test_a_long_note_is_cut() -> None:
    """The API server refuses more than 1,024 bytes, which need not end where a character ends."""
    for text in ("x" * 2000, "é" * 2000, "x" + "é" * 2000):
        note = decoded(events.metrics_server_failed("node-a", text))["note"]
        assert 1022 <= len(note.encode()) <= 1024
        assert text.startswith(note.removesuffix("..."))
    assert decoded(events.metrics_server_failed("n", "x" * 1024))["note"] == "x" * 1024


def test_a_long_name_is_cut() -> None:
    name = decoded(events.starting("n" * 253))["metadata"]["name"]
    assert len(name) == 253
    assert name.endswith("n.1886caf2450d67f2")


def test_another_version_of_an_object_is_the_same() -> None:
    newer = Regarding(kind="Service", namespace="shop", name="web", uid="b5f8", api_version="v1")
    one = events.invalid_object(BROKEN, "node-a", "why")
    assert one.same == events.invalid_object(newer, "node-a", "why").same
    assert one.same != events.invalid_object(newer, "node-a", "why else").same
