"""Tables: objects as rows with the columns that kubectl prints."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from kproxy.apiserver.cells import CELLS, Cells, name_and_age
from kproxy.apiserver.conversion import stored
from kproxy.controlplane.plane import Json

_NAME = "Name must be unique within a namespace."
_AGE = "CreationTimestamp is a timestamp representing the server time when this object was created."
_DEFAULT = "Name Age"
_COLUMNS = {  # names with _ for a blank; after | those for -o wide
    "ConfigMap": "Name Data Age",
    "CustomResourceDefinition": "Name Created_At",
    "ControllerRevision": "Name Controller Revision Age",
    "DaemonSet": "Name Desired Current Ready Up-to-date Available Node_Selector Age"
    " | Containers Images Selector",
    "Deployment": "Name Ready Up-to-date Available Age | Containers Images Selector",
    "EndpointSlice": "Name AddressType Ports Endpoints Age",
    "Endpoints": "Name Endpoints Age",
    "Event": "Last_Seen Type Reason Object | Subobject Source | Message | First_Seen Count Name",
    "IPAddress": "Name ParentRef Age",
    "Ingress": "Name Class Hosts Address Ports Age",
    "IngressClass": "Name Controller Parameters Age",
    "Lease": "Name Holder Age",
    "Namespace": "Name Status Age",
    "NetworkPolicy": "Name Pod-Selector Age",
    "Node": "Name Status Roles Age Version"
    " | Internal-IP External-IP OS-Image Kernel-Version Container-Runtime",
    "Pod": "Name Ready Status Restarts Age | IP Node Nominated_Node Readiness_Gates",
    "ReplicaSet": "Name Desired Current Ready Age | Containers Images Selector",
    "Scale": "Name Desired Available Age",
    "Secret": "Name Type Data Age",
    "Service": "Name Type Cluster-IP External-IP Port(s) Age | Selector",
    "ServiceAccount": "Name Secrets Age",
    "ServiceCIDR": "Name CIDRs Age",
    "StatefulSet": "Name Ready Age | Containers Images",
}
_NUMBERS = {"Data", "Revision", "Desired", "Current", "Available", "Up-to-date", "Secrets", "Count"}


def columns(kind: str) -> list[Json]:
    """Return the definitions of a kind's columns; those of priority 1 are for -o wide."""
    found, priority = [], 0
    for word in _COLUMNS.get(kind, _DEFAULT).split():
        if word == "|":
            priority = 1 - priority
            continue
        name = word.replace("_", " ")
        number = name in _NUMBERS or (kind in ("DaemonSet", "ReplicaSet") and name == "Ready")
        found.append(
            {
                "name": name,
                "type": "integer" if number else "string",
                "format": "name" if name == "Name" else "",
                "description": {"Name": _NAME, "Age": _AGE}.get(name, ""),
                "priority": priority,
            }
        )
    return found


def cells(document: Json, now: datetime) -> Cells:
    """Return the cells of an object's row, as many as its kind has columns."""
    return CELLS.get(document["kind"], name_and_age)(stored(document), now)


def row(document: Json, now: datetime, include: str, version: str = "v1") -> Json:
    """Return the row of an object; `include` is None, Metadata or Object.

    `version` is that of the group meta.k8s.io for the metadata.
    """
    made: Json = {"cells": cells(document, now)}
    match include:
        case "Object":
            made["object"] = document
        case "None":
            pass
        case _:
            made["object"] = partial(document, version)
    return made


def partial(document: Json, version: str = "v1") -> Json:
    """Return an object's metadata alone."""
    return {
        "kind": "PartialObjectMetadata",
        "apiVersion": f"meta.k8s.io/{version}",
        "metadata": document["metadata"],
    }


def table(kind: str, rows: Iterable[Json], metadata: Json, version: str, *, headed: bool) -> Json:
    """Return a Table; without columns unless it is `headed`, as later ones of a watch are."""
    return {
        "kind": "Table",
        "apiVersion": f"meta.k8s.io/{version}",
        "metadata": metadata,
        "columnDefinitions": columns(kind) if headed else None,
        "rows": list(rows),
    }
