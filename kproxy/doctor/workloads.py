"""The Pods that workloads would make, by what their documents say. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec
from msgspec.structs import replace

from kproxy.api.types import Metadata, OwnerReference, Pod, PodTemplateSpec
from kproxy.doctor.facts import Template
from kproxy.typed import converted

_UNCOUNTED = ("Job", "CronJob")  # how many Pods they have at a time, their document does not say


def templates(documents: Iterable[Mapping[str, Any]]) -> Iterator[Template]:
    """Yield the templates of all objects that have one, whatever their kind.

    Those that another one controls are left out, such as the ReplicaSets of a Deployment.
    """
    for each in documents:
        metadata, spec = _mapping(each, "metadata"), _mapping(each, "spec")
        found = _mapping(spec, "template") or _mapping(
            _mapping(_mapping(spec, "jobTemplate"), "spec"), "template"
        )
        if found and not _is_controlled(metadata):
            yield _template(str(each.get("kind", "")), metadata, found, _replicas(each, spec))


def _template(
    kind: str, metadata: Mapping[str, Any], found: Mapping[str, Any], replicas: int | None
) -> Template:
    name = str(metadata.get("name", ""))
    template = _converted(found)
    own = replace(
        template.metadata,
        name="",
        namespace=str(metadata.get("namespace") or "default"),
        owner_references=(OwnerReference(kind=kind, name=name, controller=True),),
    )
    return Template(kind, name, Pod(metadata=own, spec=template.spec), replicas)


def _converted(found: Mapping[str, Any]) -> PodTemplateSpec:
    """Return a template; only its labels, if its Pods have something that has no type here."""
    try:
        return converted(found, PodTemplateSpec)
    except msgspec.ValidationError:
        labels = _mapping(_mapping(found, "metadata"), "labels")
        texts = {key: value for key, value in labels.items() if isinstance(value, str)}
        return PodTemplateSpec(metadata=Metadata(labels=texts))


def _replicas(document: Mapping[str, Any], spec: Mapping[str, Any]) -> int | None:
    kind = document.get("kind")
    if kind in _UNCOUNTED:
        return None
    of_nodes = _mapping(document, "status").get("desiredNumberScheduled")
    number = of_nodes if kind == "DaemonSet" else spec.get("replicas", 1)
    return number if isinstance(number, int) else None


def _is_controlled(metadata: Mapping[str, Any]) -> bool:
    owners = metadata.get("ownerReferences")
    return isinstance(owners, list) and any(
        isinstance(each, dict) and each.get("controller") for each in owners
    )


def _mapping(value: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = value.get(key)
    return found if isinstance(found, dict) else {}
