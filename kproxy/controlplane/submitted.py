"""Submitted documents, judged: what kproxy has a type for, and what it has not."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from msgspec.structs import replace

from kproxy.api.checks import MAX_REPLICAS, TOO_MANY_REPLICAS, altered
from kproxy.api.manifests import checked
from kproxy.api.null_fields import without_null_fields
from kproxy.api.problems import Problem, shown
from kproxy.api.strict import refusal
from kproxy.api.types import (
    Deployment,
    Ingress,
    KubernetesObject,
    Metadata,
    Node,
    OwnerReference,
    Pod,
)
from kproxy.controlplane.api_kinds import kind_of
from kproxy.controlplane.config_validation import config_problems
from kproxy.controlplane.document_defaults import decoded
from kproxy.controlplane.field_errors import FieldValue, invalid, invalid_object, required
from kproxy.controlplane.metadata_validation import metadata_problems
from kproxy.controlplane.networking_validation import networking_problems
from kproxy.controlplane.plane import Json
from kproxy.controlplane.pod_spec_validation import unread_problems
from kproxy.controlplane.pod_templates import plain_spec
from kproxy.controlplane.refusals import bad_request
from kproxy.controlplane.replica_sets import selects
from kproxy.controlplane.stored_documents import Documents, owner_key, placeholder
from kproxy.controlplane.value_problems import label_problems
from kproxy.controlplane.workload_specs import WorkloadSpec
from kproxy.typed import converted

_TEMPLATED = ("ReplicaSet", "StatefulSet", "DaemonSet")
_NOT_ENFORCED = "nothing in this cluster enforces a NetworkPolicy"
_EXPRESSIONS = "spec.selector.matchExpressions"  # which documents have, and types have not
_MISSING = re.compile(r"Object missing required field `(?P<field>\w+)` - at `\$\.(?P<path>.+)`")
_PERCENTAGE = re.compile(r"[0-9]{1,9}%")
_NEGATIVE = "must be greater than or equal to 0"
_NO_PERCENTAGE = (
    "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%', or"
    " '93%', regex used for validation is '[0-9]+%')"
)
# What judges names, where it is not a DNS name: of a StatefulSet, those of its Pods are hosts.
_NAMES = {"Namespace": label_problems, "StatefulSet": label_problems}
_STATEFUL_FIELDS = (
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
)
_FIXED_STATEFUL = (
    "spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals',"
    " 'template', 'updateStrategy', 'revisionHistoryLimit',"
    " 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"
)


def typed(document: Json, documents: Documents, former: Json | None = None) -> KubernetesObject:
    """Return the typed object of a document, which replaces `former`.

    Raises Refused if it cannot be read, BadInput if it is invalid; the control plane judges the
    rest.
    """
    kind = document["kind"]
    if faults := [*unread_problems(document, former), *networking_problems(document, former)]:
        name = document["metadata"].get("name", "")
        raise invalid_object(kind, kind_of(kind).group, name, faults)
    try:
        obj, problems = checked(document, kind)
    except msgspec.ValidationError as error:
        try:
            obj, problems = checked(without_null_fields(document), kind)
        except msgspec.ValidationError:
            if missing := _MISSING.match(str(error)):
                name = document["metadata"].get("name", "")
                faults = [required(f"{missing['path']}.{missing['field']}")]
                raise invalid_object(kind, kind_of(kind).group, name, faults) from None
            told, _ = refusal(document, kind, kind_of(kind).api_version)
            raise bad_request(told or str(error)) from None
    if kind == "Deployment":
        problems = [each for each in problems if each.field != _EXPRESSIONS]
        workload_spec(kind, document.get("spec") or {})
    if problems:
        about = kind_of(kind)
        faults = [_fault(document, each) for each in problems]
        raise invalid_object(kind, about.group, obj.metadata.name, faults)
    return _with_own_references(without_shown_defaults(obj), documents)


def without_shown_defaults(obj: KubernetesObject) -> KubernetesObject:
    """Return the object without the defaults that documents show and manifests do not state."""
    match obj:
        case Pod():
            return altered(obj, spec=plain_spec(obj.spec))
        case Deployment():
            template = altered(obj.spec.template, spec=plain_spec(obj.spec.template.spec))
            return altered(obj, spec=altered(obj.spec, template=template))
    return obj


def judge(document: Json, former: Json | None) -> None:
    """Judge a document of a kind that has no type. Raises BadInput."""
    kind = document["kind"]
    about = kind_of(kind, document["apiVersion"])
    stand_in, before = (
        _stand_in(each, namespaced=about.namespaced) if each else None
        for each in (document, former)
    )
    faults = [*metadata_problems(stand_in, before, _NAMES.get(kind))] if stand_in else []
    if kind in _TEMPLATED:
        faults += unread_problems(document, former) or _workload_faults(document, former)
    faults += config_problems(decoded(document), former)
    faults += networking_problems(document, former)
    if faults:
        raise invalid_object(kind, about.group, document["metadata"].get("name", ""), faults)


def replica_faults(replicas: int) -> list[str]:
    """Return what is wrong with the number of Pods of a workload."""
    told = _NEGATIVE if replicas < 0 else TOO_MANY_REPLICAS if replicas > MAX_REPLICAS else ""
    return [invalid("spec.replicas", replicas, told)] if told else []


def warnings(document: Json) -> tuple[str, ...]:
    """Return warnings about a document of a kind that has no type."""
    return (_NOT_ENFORCED,) if document["kind"] == "NetworkPolicy" else ()


def _stand_in(document: Json, *, namespaced: bool) -> KubernetesObject:
    """Return an object of a type that has the metadata of the document."""
    try:
        metadata = converted(without_null_fields(document["metadata"]), Metadata)
    except msgspec.ValidationError as error:
        raise bad_request(f"metadata: {error}") from None
    if namespaced:
        return Ingress(metadata=metadata)
    return Node(metadata=replace(metadata, namespace=""))


def _workload_faults(document: Json, former: Json | None) -> Iterator[str]:
    spec = document.get("spec") or {}
    typed_spec = workload_spec(document["kind"], spec)
    yield from replica_faults(typed_spec.replicas)
    for field, number in (
        ("spec.minReadySeconds", typed_spec.min_ready_seconds),
        ("spec.revisionHistoryLimit", typed_spec.revision_history_limit),
    ):
        if number < 0:
            yield invalid(field, number, _NEGATIVE)
    rolling = typed_spec.update_strategy.rolling_update
    if isinstance(rolling.max_unavailable, str) and not _PERCENTAGE.fullmatch(
        rolling.max_unavailable
    ):
        field = "spec.updateStrategy.rollingUpdate.maxUnavailable"
        yield invalid(field, rolling.max_unavailable, _NO_PERCENTAGE)
    template = spec.get("template") or {}
    selector = spec.get("selector") or {}
    if not selector.get("matchLabels") and not selector.get("matchExpressions"):
        yield required("spec.selector")
        return
    labels = (template.get("metadata") or {}).get("labels") or {}
    if not selects(document, labels):
        told = "`selector` does not match template `labels`"
        yield invalid("spec.template.metadata.labels", labels, told)
    stand_in = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "any", "labels": labels},
        "spec": template.get("spec") or {},
    }
    try:
        _, problems = checked(without_null_fields(stand_in), "Pod")
    except msgspec.ValidationError as error:
        raise bad_request(f"spec.template: {error}") from None
    for each in problems:
        yield _fault(document, each._replace(field=f"spec.template.{each.field}"))
    yield from _changed(document["kind"], spec, (former or {}).get("spec") or {})


def workload_spec(kind: str, spec: Mapping[str, Any]) -> WorkloadSpec:
    """Return what controllers read of a spec, so that they meet no value of another type.

    Raises Refused if there is one.
    """
    try:
        return converted(without_null_fields(spec), WorkloadSpec)
    except msgspec.ValidationError as error:
        raise bad_request(f"{kind}: spec: {error}") from None


def _changed(kind: str, spec: Json, former: Json) -> Iterator[str]:
    if not former:
        return
    if kind == "StatefulSet":
        fixed = (former.keys() | spec.keys()) - {*_STATEFUL_FIELDS, "podManagementPolicy"}
        fixed -= {"serviceName"} if not former.get("serviceName") else set()
        if any(spec.get(each) != former.get(each) for each in fixed if each in spec):
            yield _FIXED_STATEFUL
    elif spec.get("selector") != former.get("selector"):
        yield invalid("spec.selector", spec.get("selector"), "field is immutable")


def _fault(document: Json, problem: Problem) -> str:
    """Return a problem that kproxy words itself in the form of the API server."""
    if not problem.field:
        return problem.text
    value = _at(document, problem.field)
    if value is None and problem.text == "missing":
        return required(problem.field)
    return invalid(problem.field, value, problem.text.removeprefix(f"{shown(value)} "))


def _at(document: Json, path: str) -> FieldValue:
    value: Any = document
    for step in path.replace("[", ".[").split("."):
        if step.startswith("[") and isinstance(value, list) and step[1:-1].isdecimal():
            number = int(step[1:-1])
            value = value[number] if number < len(value) else None
        elif isinstance(value, dict):
            value = value.get(step)
        else:
            return None
    found: FieldValue = value
    return found


def _with_own_references(obj: KubernetesObject, documents: Documents) -> KubernetesObject:
    """Return the object with its references to what is here as controllers here write them."""
    owners = obj.metadata.owner_references
    if not owners:
        return obj
    own = tuple(_own(obj.metadata.namespace, each, documents) for each in owners)
    return replace(obj, metadata=replace(obj.metadata, owner_references=own))


def _own(namespace: str, reference: OwnerReference, documents: Documents) -> OwnerReference:
    key = owner_key(namespace, reference.kind, reference.name)
    if reference.uid and reference.uid == documents.uid(key):
        return replace(reference, uid=placeholder(key))
    return reference
