"""A lab for the report of a test that has failed: objects, endpoints, events, changes. Pure.

It is bounded: of each kind the first objects, of events and changes the last ones. What every lab
has by itself is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime

from kproxy.address import host_port
from kproxy.apiserver.tables import cells, columns
from kproxy.controlplane.plane import Json, Write
from kproxy.report.columns import column_lines
from kproxy.store import SERVICE_NAME_LABEL, ObjectKey

MOST_ROWS = 30  # of a table
MOST_EVENTS = 15
MOST_CHANGES = 20
_MOST_FIELDS = 3  # of a change
_LONGEST_CELL = 100
_FIRST = ("Service", "Ingress", "Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Pod")
_ELSEWHERE = {"EndpointSlice", "Endpoints", "Event"}
_ITS_OWN_KINDS = {"Node", "Namespace", "ServiceAccount", "ServiceCIDR", "IPAddress", "Lease"}
_ITS_OWN_NAMESPACES = {"kube-system", "kube-public", "kube-node-lease"}
_ITS_OWN_NAMES = {"kubernetes", "kube-root-ca.crt"}
_SHOWN_WIDE = {"IP", "Node", "Selector"}  # of the columns for -o wide
_ALWAYS_NEW = {"resourceVersion", "managedFields", "generation"}


def report(
    documents: Mapping[ObjectKey, Json], changes: Sequence[tuple[float, Write]], now: datetime
) -> str:
    """Return the text, "" if there is nothing to tell.

    `documents`: all that are stored. `changes`: each with the seconds since it, the last one last.
    """
    shown = {
        key: each
        for key, each in documents.items()
        if not _is_its_own(key) and not _is_of_the_spec(each)
    }
    kinds = sorted({key[0] for key in shown} - _ELSEWHERE, key=_place)
    blocks = [_objects(kind, shown, now) for kind in kinds]
    blocks.append(_bounded("endpoints", _endpoints(shown)))
    blocks.append(_last("events", _events(shown, now), MOST_EVENTS))
    told = [each for each in changes if not _is_its_own(each[1].key) and each[1].key[0] != "Event"]
    blocks.append(_last("changes", [_HEAD, *map(_change, told)], MOST_CHANGES))
    return "\n\n".join("\n".join(lines) for lines in blocks if lines)


def _is_its_own(key: ObjectKey) -> bool:
    """Tell whether a lab has such an object without being asked."""
    kind, namespace, name = key
    return (
        kind in _ITS_OWN_KINDS
        or namespace in _ITS_OWN_NAMESPACES
        or (name in _ITS_OWN_NAMES and (namespace == "default" or kind == "ConfigMap"))
    )


def _is_of_the_spec(document: Json) -> bool:
    """Tell whether it is a Pod of a lab without a control plane, where it has no state."""
    return document["kind"] == "Pod" and not document["metadata"].get("uid")


def _place(kind: str) -> tuple[int, str]:
    return (_FIRST.index(kind) if kind in _FIRST else len(_FIRST), kind)


def _objects(kind: str, documents: Mapping[ObjectKey, Json], now: datetime) -> list[str]:
    """Return the objects of a kind as `kubectl get` shows them, with their namespaces."""
    found = sorted(item for item in documents.items() if item[0][0] == kind)
    heads = [each["name"] for each in columns(kind)]
    aged = any(each["metadata"].get("creationTimestamp") for _, each in found)
    wanted = [
        place
        for place, each in enumerate(columns(kind))
        if (not each["priority"] and (aged or each["name"] != "Age")) or each["name"] in _SHOWN_WIDE
    ]
    rows = [("NAMESPACE", *(heads[place].upper() for place in wanted))]
    for (_, namespace, _), document in found:
        made = cells(document, now)
        rows.append((namespace, *(_cell(made[place]) for place in wanted)))
    return _bounded(kind, rows)


def _endpoints(documents: Mapping[ObjectKey, Json]) -> list[tuple[str, ...]]:
    """Return the endpoints of EndpointSlices, each with its conditions."""
    rows: list[tuple[str, ...]] = [
        ("NAMESPACE", "SERVICE", "ENDPOINT", "TARGET", "NODE", "CONDITIONS")
    ]
    for (kind, namespace, name), document in sorted(documents.items(), key=lambda item: item[0]):
        if kind != "EndpointSlice":
            continue
        labels = document["metadata"].get("labels") or {}
        service = labels.get(SERVICE_NAME_LABEL) or f"(none: {name})"
        ports = [each.get("port") for each in document.get("ports") or ()]
        for each in document.get("endpoints") or ():
            target = (each.get("targetRef") or {}).get("name") or "-"
            for address in each.get("addresses") or ():
                places = [host_port(address, port) for port in ports if port] or [address]
                found = (", ".join(places), target, each.get("nodeName") or "-", _state(each))
                rows.append((namespace, service, *found))
    return rows


def _state(endpoint: Json) -> str:
    conditions = endpoint.get("conditions") or {}
    ready = "ready" if conditions.get("ready") is not False else "not ready"
    if not conditions.get("terminating"):
        return ready
    serving = "serving" if conditions.get("serving") is not False else "not serving"
    # It is ready, too, only where the Service publishes addresses that are not.
    return f"terminating, {serving}" + (", ready" if ready == "ready" else "")


def _events(documents: Mapping[ObjectKey, Json], now: datetime) -> list[tuple[str, ...]]:
    heads = [each["name"] for each in columns("Event")]
    wanted = [heads.index(each) for each in ("Last Seen", "Type", "Reason", "Object", "Message")]
    rows = [tuple(heads[place].upper() for place in wanted)]
    for (kind, _, _), document in documents.items():  # in the order of creation
        if kind == "Event":
            made = cells(document, now)
            rows.append(tuple(_cell(made[place]) for place in wanted))
    return rows


_HEAD = ("SECONDS AGO", "OBJECT", "CHANGE")


def _change(told: tuple[float, Write]) -> tuple[str, ...]:
    seconds, write = told
    kind, namespace, name = write.key
    where = f"{kind} {namespace}/{name}" if namespace else f"{kind} {name}"
    return (f"{seconds:.2f}", where, _what(write))


def _what(write: Write) -> str:
    if write.document is None:
        return "deleted"
    if write.former is None:
        return "created"
    fields = list(dict.fromkeys(_differing(write.former, write.document, "")))
    more = f" and {len(fields) - _MOST_FIELDS} more" if len(fields) > _MOST_FIELDS else ""
    return f"changed: {', '.join(fields[:_MOST_FIELDS])}{more}" if fields else "written again"


def _differing(former: Json, document: Json, path: str) -> Iterator[str]:
    """Yield the fields that differ, and the new value of those that are short."""
    for name in sorted(former.keys() | document.keys()):
        old, new = former.get(name), document.get(name)
        if old == new or name in _ALWAYS_NEW:
            continue
        if isinstance(old, dict) and isinstance(new, dict):
            yield from _differing(old, new, f"{path}{name}.")
        elif isinstance(new, bool | int | str):
            yield f"{path}{name}={_cell(new)}"
        else:
            yield f"{path}{name}"


def _bounded(kind: str, rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Return a table with its title, without the rows that are too many; nothing without rows."""
    head, *body = rows
    if not body:
        return []
    left = len(body) - MOST_ROWS
    more = [f"... and {left} more"] if left > 0 else []
    return [f"{kind}:", *_lines([head, *body[:MOST_ROWS]]), *more]


def _last(title: str, rows: Sequence[tuple[str, ...]], most: int) -> list[str]:
    """Return the last rows of a table, and how many came before them."""
    head, *body = rows
    if not body:
        return []
    left = len(body) - most
    before = f", the last {most} of {len(body)}" if left > 0 else ""
    return [f"{title}{before}:", *_lines([head, *body[-most:]])]


def _lines(rows: Iterable[tuple[str, ...]]) -> list[str]:
    return [f"  {line}" for line in column_lines(rows)]


def _cell(value: object) -> str:
    text = "<none>" if value is None else str(value).partition("\n")[0]
    return text if len(text) <= _LONGEST_CELL else f"{text[: _LONGEST_CELL - 3]}..."
