"""The subresource scale: how many replicas there are to be, for every workload alike.

Source: Kubernetes, pkg/registry/apps/deployment/storage (scaleFromDeployment)
"""

from __future__ import annotations

from kproxy.apiserver.bodies import agreed_name, check_namespace
from kproxy.apiserver.routes import Route
from kproxy.apiserver.status import bad_request
from kproxy.controlplane.plane import Cause, Json, Refused

_ABOUT = {"kind": "Scale", "apiVersion": "autoscaling/v1"}
_TOLD = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")


def scale_of(document: Json) -> Json:
    """Return the Scale of a workload."""
    metadata = document["metadata"]
    replicas = document.get("spec", {}).get("replicas")
    selector = document.get("spec", {}).get("selector") or {}
    status: Json = {"replicas": document.get("status", {}).get("replicas", 0)}
    labels = selector.get("matchLabels") or {}
    if labels:
        status["selector"] = ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
    return {
        **_ABOUT,
        "metadata": {key: metadata[key] for key in _TOLD if key in metadata},
        "spec": {"replicas": 1 if replicas is None else replicas},
        "status": status,
    }


def scaled(document: Json, scale: Json) -> Json:
    """Return a workload with the replicas of a Scale. Raises Refused (400, 422)."""
    replicas = _replicas(scale, document["metadata"]["name"])
    return {**document, "spec": {**document.get("spec", {}), "replicas": replicas}}


def check_scale(scale: Json, route: Route) -> None:
    """Raise Refused (400) if an object is no Scale, or that of another workload than its path's."""
    kind, version = (scale.get(each) or _ABOUT[each] for each in ("kind", "apiVersion"))
    if version != _ABOUT["apiVersion"]:
        raise bad_request(
            f"the API version in the data ({version}) does not match the expected API version"
            f" ({_ABOUT['apiVersion']})"
        )
    if kind != _ABOUT["kind"]:
        raise bad_request(
            f'{kind} in version "v1" cannot be handled as a Scale: unknown conversion'
        )
    metadata = scale.get("metadata") or {}
    if not isinstance(metadata, dict):
        raise bad_request("Scale.metadata is not an object")
    agreed_name(metadata.get("name") or "", route)
    check_namespace(metadata.get("namespace") or "", route)


def workload_of(scale: Json, name: str) -> Json:
    """Return what an applied Scale states of its workload, for the managers of that one's fields.

    Raises Refused (400, 422).
    """
    metadata = scale.get("metadata") or {}
    if not isinstance(metadata, dict):
        raise bad_request("Scale.metadata is not an object")
    kept = {key: metadata[key] for key in ("resourceVersion", "managedFields") if key in metadata}
    return {
        "metadata": {**kept, "name": metadata.get("name") or name},
        "spec": {"replicas": _replicas(scale, name)},
    }


def _replicas(scale: Json, name: str) -> int:
    spec = scale.get("spec") or {}
    replicas = spec.get("replicas", 0) if isinstance(spec, dict) else None
    if not isinstance(replicas, int) or isinstance(replicas, bool):
        raise bad_request("Scale.spec.replicas is not a number")
    if replicas < 0:
        words = f"Invalid value: {replicas}: must be greater than or equal to 0"
        raise Refused(
            f'Scale.autoscaling "{name}" is invalid: spec.replicas: {words}',
            status=422,
            reason="Invalid",
            group="autoscaling",
            kind="Scale",
            name=name,
            causes=(Cause("FieldValueInvalid", "spec.replicas", words),),
        )
    return replicas
