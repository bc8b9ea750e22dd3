"""Events: what schedulers, controllers and kubelets tell of an object, the last ones only.

The same event again raises the count of the first. There is one storage for `v1` and
`events.k8s.io/v1`: documents are of `v1`.
Source: client-go tools/record, and pkg/apis/core/types.go of Kubernetes
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

from kproxy.controlplane.plane import Json
from kproxy.store import ObjectKey

MOST = 1000


class Told(NamedTuple):
    """One event of an object: a reason such as `Scheduled`, what happened, and who tells it."""

    of: ObjectKey
    reason: str
    message: str
    component: str
    type: str = "Normal"
    host: str = ""
    field: str = ""


class Events:
    """Makes the documents of events; `forget` is called with the keys of those that are too old."""

    def __init__(
        self,
        document: Callable[[ObjectKey], Json | None],
        put: Callable[[Json], object],
        forget: Callable[[ObjectKey], object],
    ) -> None:
        self._document = document
        self._put = put
        self._forget = forget
        self._number = 0
        self._keys: OrderedDict[Told | ObjectKey, ObjectKey] = OrderedDict()

    def tell(self, told: Told, now: str) -> None:
        """Store an event, or count it once more. One of an object that is not there is dropped."""
        about = self._document(told.of)
        if about is None:
            return
        known = self._keys.get(told)
        former = self._document(known) if known else None
        if known and former and former["involvedObject"]["uid"] == about["metadata"]["uid"]:
            self._keys.move_to_end(told)
            count = former.get("count", 1) + 1
            self._put({**former, "count": count, "lastTimestamp": now})
            return
        self._number += 1
        kind, namespace, name = told.of
        where = namespace or "default"
        event_name = f"{name}.{self._number:016x}"
        reference = {
            "apiVersion": about["apiVersion"],
            "kind": kind,
            "name": name,
            "uid": about["metadata"]["uid"],
            "resourceVersion": about["metadata"]["resourceVersion"],
        }
        if namespace:
            reference["namespace"] = namespace
        if told.field:
            reference["fieldPath"] = told.field
        source = {"component": told.component} | ({"host": told.host} if told.host else {})
        self._keys[told] = ("Event", where, event_name)
        self._put(
            {
                "apiVersion": "v1",
                "kind": "Event",
                "metadata": {"name": event_name, "namespace": where},
                "involvedObject": reference,
                "reason": told.reason,
                "message": told.message,
                "source": source,
                "firstTimestamp": now,
                "lastTimestamp": now,
                "eventTime": None,
                "count": 1,
                "type": told.type,
                "reportingComponent": told.component,
                "reportingInstance": told.host,
            }
        )
        self._forget_oldest()

    def created(self, key: ObjectKey) -> None:
        """Note an event that somebody else has stored: it counts among the last ones, too."""
        self._keys[key] = key
        self._forget_oldest()

    def _forget_oldest(self) -> None:
        while len(self._keys) > MOST:
            self._forget(self._keys.popitem(last=False)[1])


def as_core(event: Json) -> Json:
    """Return an event of `events.k8s.io/v1` as one of `v1`, as it is stored; others as they are."""
    if event.get("apiVersion") != "events.k8s.io/v1":
        return event
    series = event.get("series") or {}
    renamed = {
        "involvedObject": event.get("regarding") or {},
        "message": event.get("note", ""),
        "source": event.get("deprecatedSource") or {},
        "firstTimestamp": event.get("deprecatedFirstTimestamp"),
        "lastTimestamp": event.get("deprecatedLastTimestamp") or series.get("lastObservedTime"),
        "count": event.get("deprecatedCount") or series.get("count"),
        "reportingComponent": event.get("reportingController", ""),
    }
    gone = (
        "regarding",
        "note",
        "deprecatedSource",
        "deprecatedFirstTimestamp",
        "deprecatedLastTimestamp",
        "deprecatedCount",
        "reportingController",
    )
    kept = {key: value for key, value in event.items() if key not in gone}
    found = {key: value for key, value in renamed.items() if value not in (None, "", {})}
    return {**kept, **found, "apiVersion": "v1"}
