"""Events that kube-proxy reports to the API server, as objects of events.k8s.io/v1. Pure.

Reasons, actions and notes are those of kube-proxy v1.36 (cmd/kube-proxy/app/server.go,
pkg/proxy/healthcheck/service_health.go); `invalid_object` is kproxy's own.
"""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
from msgspec import Struct

API_VERSION = "events.k8s.io/v1"
CONTROLLER = "kube-proxy"
NORMAL, WARNING = "Normal", "Warning"
_DEFAULT_NAMESPACE = "default"  # of Events of objects that have none
_NOTE_MAX_BYTES = 1024  # the API server refuses longer ones
_NAME_MAX_CHARACTERS = 253
_CUT = "..."


class Regarding(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """The object that an Event is about."""

    kind: str
    name: str
    namespace: str = ""
    uid: str = ""
    api_version: str = ""
    resource_version: str = ""


class Event(Struct, frozen=True, kw_only=True):
    """One thing that happened. `note`: a text for people, or ""."""

    regarding: Regarding
    reason: str
    action: str
    type: str = WARNING
    note: str = ""

    @property
    def namespace(self) -> str:
        return self.regarding.namespace or _DEFAULT_NAMESPACE

    @property
    def same(self) -> Event:
        """The part that its repetitions share: all but the version of the object."""
        regarding = msgspec.structs.replace(self.regarding, resource_version="")
        return msgspec.structs.replace(self, regarding=regarding)


def starting(node: str) -> Event:
    """Once, when the objects are watched."""
    return Event(regarding=_node(node), reason="Starting", action="StartKubeProxy", type=NORMAL)


def health_server_failed(node: str, error: str) -> Event:
    """With bindAddressHardFail."""
    return Event(
        regarding=_node(node),
        reason="FailedToStartProxierHealthcheck",
        action="StartKubeProxy",
        note=error,
    )


def metrics_server_failed(node: str, error: str) -> Event:
    """With bindAddressHardFail."""
    return Event(
        regarding=_node(node),
        reason="FailedToStartMetricServer",
        action="StartKubeProxy",
        note=error,
    )


def service_health_server_failed(
    node: str, namespace: str, name: str, port: int, error: str
) -> Event:
    """At each attempt to listen on a health check node port."""
    return Event(
        regarding=Regarding(kind="Service", namespace=namespace, name=name, api_version="v1"),
        reason="FailedToStartServiceHealthcheck",
        action="Listen",
        note=f'node {node} failed to start healthcheck "{namespace}/{name}" on port {port}:'
        f" {error}",
    )


def invalid_object(regarding: Regarding, node: str, problem: str) -> Event:
    """For an object of the API server that is not accepted. Its last good version stays in force.

    The action is named for the kind: SyncService, SyncEndpointSlice ...
    """
    return Event(
        regarding=regarding,
        reason="InvalidObject",
        action=f"Sync{regarding.kind}",
        note=f"node {node} keeps what it had of it: {problem}",
    )


def path(event: Event) -> str:
    """Return where to POST an Event."""
    return f"/apis/{API_VERSION}/namespaces/{event.namespace}/events"


def body(event: Event, host_name: str, at_ns: int) -> bytes:
    """Return the Event as JSON. `at_ns`: when it happened, in nanoseconds since the epoch.

    Its name is that of its object and the time, as client-go makes it.
    """
    suffix = f".{at_ns:x}"
    name = event.regarding.name[: _NAME_MAX_CHARACTERS - len(suffix)] + suffix
    document = {
        "apiVersion": API_VERSION,
        "kind": "Event",
        "metadata": {"name": name, "namespace": event.namespace},
        "eventTime": _micro_time(at_ns),
        "reportingController": CONTROLLER,
        "reportingInstance": f"{CONTROLLER}-{host_name}",
        "action": event.action,
        "reason": event.reason,
        "regarding": event.regarding,
        "type": event.type,
    }
    if event.note:
        document["note"] = _cut(event.note)
    return msgspec.json.encode(document)


def _node(name: str) -> Regarding:
    return Regarding(kind="Node", name=name, api_version="v1")


def _micro_time(at_ns: int) -> str:
    seconds, rest_ns = divmod(at_ns, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest_ns // 1000:06}Z"


def _cut(note: str) -> str:
    encoded = note.encode()
    if len(encoded) <= _NOTE_MAX_BYTES:
        return note
    return encoded[: _NOTE_MAX_BYTES - len(_CUT)].decode(errors="ignore") + _CUT
