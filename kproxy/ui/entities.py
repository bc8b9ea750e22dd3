"""Entities of the page, made from documents and from what a lab tells of itself. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kproxy.lab.names import interface

Json = dict[str, Any]
Entities = dict[str, Json]

_SYSTEM = "kube-system"


def of_host(values: Mapping[str, Any]) -> Entities:
    """Return the entity of a host that stays, as `telling.fixed_hosts` describes it."""
    return {f"host/{values['name']}": dict(values)}


def of_document(document: Mapping[str, Any], pods_on: str) -> Entities:
    """Return the entity of a document; none if the page does not show it. `pods_on`: where the
    links of pods lead, "node" or "router".
    """
    kind = document["kind"]
    make = {"Pod": _pod, "Service": _service, "EndpointSlice": _slice, "Event": _event}.get(kind)
    if kind == "Node":
        return {f"node/{document['metadata']['name']}": _node(document)}
    if make is None:
        return {}
    meta = document["metadata"]
    values: Json = make(document)
    if kind == "Pod":
        values["to"] = values["node"] if pods_on == "node" else "router"
        values["there"] = "" if values["hostNetwork"] else interface(values["name"])
    return {name_of((kind, meta.get("namespace", ""), meta["name"])): values}


def name_of(key: Sequence[str]) -> str:
    """Return the name of a document's entity, by its key (kind, namespace, name)."""
    kind, namespace, name = key
    match kind:
        case "Pod":
            return f"host/{name}" + ("" if namespace == "default" else f".{namespace}")
        case "Node":
            return f"node/{name}"
        case "EndpointSlice":
            return f"slice/{namespace}/{name}"
        case _:
            return f"{kind.lower()}/{namespace}/{name}"


def _node(document: Mapping[str, Any]) -> Json:
    ready = _condition(document, "Ready")
    return {"name": document["metadata"]["name"], "ready": ready is not False}


def _pod(document: Mapping[str, Any]) -> Json:
    meta, spec, status = _parts(document)
    namespace = meta.get("namespace", "default")
    addresses = [each["ip"] for each in status.get("podIPs", ())]
    return {
        "kind": "pod",
        "name": name_of(("Pod", namespace, meta["name"])).partition("/")[2],
        "namespace": namespace,
        "system": namespace == _SYSTEM,
        "node": spec.get("nodeName", ""),
        "addresses": addresses or [*filter(None, [status.get("podIP")])],
        "hostNetwork": bool(spec.get("hostNetwork")),
        "phase": status.get("phase", "Pending"),
        "ready": _condition(document, "Ready") is True,
        "terminating": "deletionTimestamp" in meta,
    }


def _service(document: Mapping[str, Any]) -> Json:
    meta, spec, status = _parts(document)
    ingress = status.get("loadBalancer", {}).get("ingress") or ()
    return {
        "name": meta["name"],
        "namespace": meta.get("namespace", "default"),
        "system": _is_system(meta),
        "type": spec.get("type", "ClusterIP"),
        "clusterIPs": [*(spec.get("clusterIPs") or filter(None, [spec.get("clusterIP")]))],
        "externalIPs": [*(spec.get("externalIPs") or ())],
        "balancerIPs": [each["ip"] for each in ingress if "ip" in each],
        "externalName": spec.get("externalName", ""),
        "ports": [
            {
                "name": each.get("name", ""),
                "port": each["port"],
                "protocol": each.get("protocol", "TCP"),
                "nodePort": each.get("nodePort", 0),
            }
            for each in spec.get("ports") or ()
        ],
        "policies": {
            field: spec.get(field, "")
            for field in (
                "externalTrafficPolicy",
                "internalTrafficPolicy",
                "sessionAffinity",
                "trafficDistribution",
            )
        },
    }


def _slice(document: Mapping[str, Any]) -> Json:
    meta = document["metadata"]
    namespace = meta.get("namespace", "default")
    owner = meta.get("labels", {}).get("kubernetes.io/service-name", "")
    endpoints = [
        {
            "address": address,
            "node": each.get("nodeName", ""),
            "pod": _pod_of(each, namespace),
            "ready": each.get("conditions", {}).get("ready") is not False,
            "serving": each.get("conditions", {}).get("serving") is not False,
            "terminating": bool(each.get("conditions", {}).get("terminating")),
        }
        for each in document.get("endpoints") or ()
        for address in each.get("addresses") or ()
    ]
    return {
        "service": f"{namespace}/{owner}",
        "family": document.get("addressType", ""),
        "endpoints": endpoints,
        "ports": [each.get("port") for each in document.get("ports") or ()],
    }


def _event(document: Mapping[str, Any]) -> Json:
    about = document.get("regarding") or document.get("involvedObject") or {}
    when = document.get("lastTimestamp") or document.get("eventTime")
    return {
        "time": when or document["metadata"].get("creationTimestamp", ""),
        "type": document.get("type", "Normal"),
        "reason": document.get("reason", ""),
        "about": f"{about.get('kind', '')} {about.get('name', '')}".strip(),
        "text": document.get("message") or document.get("note") or "",
    }


def _pod_of(endpoint: Mapping[str, Any], namespace: str) -> str:
    """Return the host name of an endpoint's Pod; "" if it is no Pod."""
    target = endpoint.get("targetRef") or {}
    if target.get("kind") != "Pod":
        return ""
    key = ("Pod", target.get("namespace", namespace), target["name"])
    return name_of(key).partition("/")[2]


def _is_system(meta: Mapping[str, Any]) -> bool:
    namespace = meta.get("namespace", "default")
    return namespace == _SYSTEM or (namespace, meta["name"]) == ("default", "kubernetes")


def _parts(document: Mapping[str, Any]) -> tuple[Json, Json, Json]:
    return document["metadata"], document.get("spec") or {}, document.get("status") or {}


def _condition(document: Mapping[str, Any], wanted: str) -> bool | None:
    for each in (document.get("status") or {}).get("conditions") or ():
        if each.get("type") == wanted:
            return bool(each.get("status") == "True")
    return None
